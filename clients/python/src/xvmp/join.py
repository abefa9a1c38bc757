# SPDX-License-Identifier: MIT OR Apache-2.0
"""Enrolment: from a token to a credentials directory (section 8).

    token -> authority, by its pin -> manager -> Join -> certificate -> files

The first connection only looks: which certificates does the server show, and
is the last one the authority that the token names? The second one trusts this
authority and nothing else, so that TLS verifies the chain and the dates as it
does for every other connection; over it goes the one request.

The new keys lie in ``joining`` of the directory until the certificate is
there. Whoever is cut off calls ``join`` again: the manager gives the same keys
their certificate again, and no others.

It fails by ``WrongPeer``, by ``JoinRefused``, by the ``Fault`` with which the
manager denies, by ``CredentialsError`` and as every connection does.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import ssl
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from . import certify, codec, handshake, keys, store
from .certify import NewKeys
from .credentials import Credentials, Identity, bare_tls, verify_certificate
from .faults import (
    ConnectionLost,
    CredentialsError,
    DeadlinePassed,
    JoinRefused,
    WrongPeer,
)
from .model import Admitted, Denied, JoinRequest
from .transport import (
    AGAIN_MAX,
    Connection,
    Deadline,
    parse_address,
    pause,
    typed,
)

ALPN = "xvmp-join/1"
JOIN_PATH = "/xvmp/1/join"
NOISE = b"Noise_IKpsk1_25519_AESGCM_SHA256"
#: How long it may take if the caller does not say.
TIMEOUT_S = 30.0

_TOKEN = re.compile(
    r"xvmpj1\.([0-9a-f]{16})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})"
)


@dataclass(frozen=True)
class Token:
    """An invitation: 16 of ``0-9a-f``, and twice 32 bytes."""

    id: str
    secret: bytes = field(repr=False)
    pin: bytes  # SHA-256 of the authority's SubjectPublicKeyInfo

    @classmethod
    def read(cls, text: str) -> Token:
        """``ValueError`` when this is no token; it never says the text."""
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise ValueError(
                "this is no token: one is xvmpj1.ID.SECRET.PIN, in one line"
            )
        return cls(match[1], _bytes(match[2]), _bytes(match[3]))

    @property
    def psk(self) -> bytes:
        return hashlib.sha256(b"xvmp1 join" + self.secret).digest()


def join(
    address: str,
    token: str,
    directory: Path | str,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Credentials:
    """Becomes whom the token is for; the credentials are in the directory.

    ``address`` is HOST:PORT of the manager; ``timeout_s`` is for all of it.
    The directory is made; one with credentials in it is a
    ``CredentialsError``, unless a call that was cut off has brought them.
    ``ValueError`` when the token or the address is none.
    """
    invited = Token.read(token)
    where = parse_address(address)
    folder = Path(directory)
    joining = folder / "joining"
    try:
        credentials = _joined_before(folder, joining)
        if credentials is None:
            deadline = Deadline.after(timeout_s)
            authority = _authority(where, invited, deadline)
            new = _kept_keys(joining)
            certificate = _certificate(
                where, invited, authority, new, deadline
            )
            store.install(folder, certify.files(certificate, authority, new))
            credentials = Credentials.load(folder)
        shutil.rmtree(joining, ignore_errors=True)
    except OSError as error:
        raise CredentialsError(f"{folder}: {error}") from error
    return credentials


def _joined_before(folder: Path, joining: Path) -> Credentials | None:
    """What a call that was cut off at its very end has brought."""
    store.settle(folder)
    if not (folder / store.CERTIFICATE).exists():
        return None
    credentials = Credentials.load(folder)
    if joining.exists():
        kept = NewKeys.load(joining)
        if kept.inner_public == credentials.identity.inner_key:
            return credentials
    raise CredentialsError(
        f"{folder} has the credentials of {credentials.identity.principal};"
        " name another directory"
    )


def _kept_keys(joining: Path) -> NewKeys:
    """Those of an attempt that was cut off, or new ones."""
    if not joining.exists():
        store.write_folder(joining, NewKeys.make().files())
    return NewKeys.load(joining)


def _authority(
    where: tuple[str, int], token: Token, deadline: Deadline
) -> x509.Certificate:
    """The pool's authority as the server shows it, if the pin is its own."""
    context = bare_tls(ALPN)
    context.verify_mode = ssl.CERT_NONE  # nothing of ours is said here
    try:
        left_s = deadline.remaining_s(maybe_done=False)
        with socket.create_connection(where, left_s) as tcp:
            with context.wrap_socket(tcp) as tls:
                if tls.selected_alpn_protocol() != ALPN:
                    raise ConnectionLost(
                        f"the server does not speak {ALPN}", maybe_done=False
                    )
                chain = shown_certificates(tls)
    except TimeoutError as error:
        raise DeadlinePassed(
            "the server does not answer", maybe_done=False
        ) from error
    except OSError as error:
        raise ConnectionLost(
            f"cannot connect to {where[0]}:{where[1]}: {error}",
            maybe_done=False,
        ) from error
    try:
        last = x509.load_der_x509_certificate(chain[-1] if chain else b"")
        pin = hashlib.sha256(certify.spki(last)).digest()
    except ValueError as error:
        raise WrongPeer(f"the server's authority: {error}") from error
    if pin != token.pin:
        raise WrongPeer("the server's authority is not the one of the token")
    return last


def shown_certificates(tls: ssl.SSLSocket) -> list[bytes]:
    """What a server shows, verified or not: DER, its own first."""
    if sys.version_info >= (3, 13):
        return tls.get_unverified_chain()
    # Python 3.10 to 3.12 have the same method without a public name.
    chain = getattr(tls, "_sslobj").get_unverified_chain() or []
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain]


def _certificate(
    where: tuple[str, int],
    token: Token,
    authority: x509.Certificate,
    new: NewKeys,
    deadline: Deadline,
) -> bytes:
    """Asks until there is an answer; the certificate (DER)."""
    context = bare_tls(ALPN)
    context.load_verify_locations(cadata=authority.public_bytes(Encoding.DER))

    def accept(certificate: bytes | None) -> Identity:
        server = verify_certificate(certificate)
        if server.role != "manager":
            raise WrongPeer(f"the server is {server.principal}, no manager")
        leaf = x509.load_der_x509_certificate(server.certificate)
        certify.check_issuer(leaf, authority)
        return server

    again = 0
    while True:
        connection = Connection(where, context, ALPN, accept, deadline)
        try:
            application = _Application(token, connection.server, new)
            answer = typed(
                connection.post(JOIN_PATH, application.ask(), deadline)
            )
        except ConnectionLost:
            # The same keys may ask again.
            if again == AGAIN_MAX:
                raise
        else:
            if answer.status == 200:
                certificate = application.read(answer.body)
                certify.granted(certificate, authority, new)
                return certificate
            if answer.status == 400:
                raise JoinRefused
            pause(answer, again, deadline)
        finally:
            connection.close()
        again += 1


class _Application:
    """One handshake: ``ask``, then ``read``."""

    def __init__(self, token: Token, server: Identity, new: NewKeys) -> None:
        self._token = token
        self._request = new.signing_request()
        self._noise = handshake.initiator(
            NOISE,
            keys.join_prologue(
                server.principal, server.certificate, token.id
            ),
            new.inner.private_bytes_raw(),
            server.inner_key,
            token.psk,
        )

    def ask(self) -> bytes:
        """The document with message 1."""
        request = codec.write(JoinRequest(signing_request=self._request))
        payload = etree.tostring(request, encoding="utf-8")
        return handshake.message_1(
            self._noise, payload, "Join", token=self._token.id
        )

    def read(self, document: bytes) -> bytes:
        """The certificate; raises the fault with which we are denied."""
        reply = handshake.message_2(self._noise, document, "Joined")
        if etree.QName(reply).localname == Denied.tag:
            raise codec.read(Denied, reply).fault.error()
        return codec.read(Admitted, reply).certificate


def _bytes(text: str) -> bytes:
    """32 bytes of base64url without padding, in their one form."""
    data = urlsafe_b64decode(text + "=")
    if urlsafe_b64encode(data).decode("ascii") != text + "=":
        raise ValueError("this is no token: it is not in its one form")
    return data

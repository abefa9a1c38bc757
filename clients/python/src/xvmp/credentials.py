# SPDX-License-Identifier: MIT OR Apache-2.0
"""Who we are, and whether a server is whom we mean (sections 1 and 2).

A credentials directory holds four files:

========= ==========================================================
ca.pem    the certificate of the pool's authority
cert.pem  our certificate; its URI names are our principal and the
          public half of our inner key
key.pem   the private key of the certificate
inner.key the private half of the inner key: 32 bytes of X25519, as
          one line of base64
========= ==========================================================

This room reads; ``store`` writes, for ``join`` and for renewals. A directory
that does not hold together is a ``CredentialsError`` that says which file; a
server that is somebody else is a ``WrongPeer``.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from . import store
from .faults import CredentialsError, WrongPeer
from .keys import KEY_BYTES

#: The principal of a pool's manager, when nobody says otherwise.
MANAGER = "xvmp://smps-vmm/manager/manager"

_PRINCIPAL_PREFIX = "xvmp://"
_KEY_PREFIX = "xvmp-key:x25519:"
_PRINCIPAL = re.compile(
    r"xvmp://smps-vmm/(?:manager|agent|admin|operator|viewer)"
    r"/[A-Za-z0-9._-]{1,128}"
)
_INNER_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
#: Whose certificates their own clients renew; a manager sees to the others.
_USERS = ("admin", "operator", "viewer")
#: A certificate is renewed when this share of its time is over.
RENEW_AT = 0.5
#: How often credentials are read that somebody else is renewing.
_TRIES = 100


@dataclass(frozen=True)
class Identity:
    """What a certificate binds together."""

    principal: str
    inner_key: bytes  # public, X25519
    certificate: bytes  # DER

    @classmethod
    def read(cls, certificate: bytes) -> Identity:
        """From a leaf in DER; ``ValueError`` when it does not bind both."""
        parsed = x509.load_der_x509_certificate(certificate)
        names = _uris(parsed)
        principal = _only(names, _PRINCIPAL_PREFIX)
        if not _PRINCIPAL.fullmatch(principal):
            raise ValueError(f"{principal!r} is not a principal")
        key = _only(names, _KEY_PREFIX).removeprefix(_KEY_PREFIX)
        return cls(principal, _public_key(key), certificate)

    @property
    def role(self) -> str:
        """``manager``, ``agent``, ``admin``, ``operator`` or ``viewer``."""
        return self.principal.split("/")[3]


@dataclass(frozen=True, repr=False)
class Credentials:
    """A credentials directory that holds together."""

    directory: Path
    identity: Identity
    inner_key: bytes  # private, X25519
    authority: x509.Certificate
    valid_from: datetime.datetime  # UTC, like all times here
    valid_until: datetime.datetime
    _tls: ssl.SSLContext

    @classmethod
    def load(cls, directory: Path | str) -> Credentials:
        """Reads the four files and sees that they belong together.

        A new set whose move was cut off is moved into place first.
        """
        folder = Path(directory)
        for _ in range(_TRIES):
            try:
                store.settle(folder)
            except OSError as error:
                raise CredentialsError(
                    f"{folder / 'next'}: {error}"
                ) from error
            before = store.state(folder)
            try:
                credentials = cls._read(folder)
            except CredentialsError:
                if store.state(folder) == before:
                    raise
            else:
                if store.state(folder) == before:
                    return credentials
            # Somebody has renewed them just now: this may be a mixture.
        raise CredentialsError(f"{folder} is written all the time")

    @classmethod
    def _read(cls, folder: Path) -> Credentials:
        identity = _read_identity(folder / store.CERTIFICATE)
        inner_key = read_inner_key(folder / store.INNER_KEY)
        private = X25519PrivateKey.from_private_bytes(inner_key)
        if private.public_key().public_bytes_raw() != identity.inner_key:
            raise CredentialsError(
                f"{folder / store.INNER_KEY} is not the key that"
                f" {store.CERTIFICATE} names"
            )
        leaf = x509.load_der_x509_certificate(identity.certificate)
        return cls(
            folder,
            identity,
            inner_key,
            _read_authority(folder / store.CA),
            leaf.not_valid_before_utc,
            leaf.not_valid_after_utc,
            _tls(folder),
        )

    def tls(self) -> ssl.SSLContext:
        """TLS 1.3 with our certificate, trusting our authority alone.

        As the files were when they were read. Host names play no part:
        ``verify_server`` looks at the principal.
        """
        return self._tls

    def due(self, now: datetime.datetime) -> bool:
        """Whether it is time for their client to have them renewed."""
        life = self.valid_until - self.valid_from
        return (
            self.identity.role in _USERS
            and now >= self.valid_from + life * RENEW_AT
        )


def bare_tls(alpn: str) -> ssl.SSLContext:
    """TLS 1.3 that trusts nobody yet and asks for no host name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([alpn])
    return context


def _tls(folder: Path) -> ssl.SSLContext:
    context = bare_tls("http/1.1")
    try:
        context.load_verify_locations(folder / store.CA)
        context.load_cert_chain(folder / store.CERTIFICATE, folder / store.KEY)
    except (OSError, ssl.SSLError) as error:
        raise CredentialsError(
            f"the certificates and the key in {folder} do not fit: {error}"
        ) from error
    return context


def verify_certificate(certificate: bytes | None) -> Identity:
    """Whom a server's certificate (DER) names; ``WrongPeer`` if nobody.

    TLS has already verified the chain to the authority and the dates.
    """
    try:
        return Identity.read(certificate or b"")
    except ValueError as error:
        raise WrongPeer(f"the server's certificate: {error}") from error


def verify_server(certificate: bytes | None, principal: str) -> Identity:
    """The server's identity, if it is the one principal that we mean."""
    identity = verify_certificate(certificate)
    if identity.principal != principal:
        raise WrongPeer(
            f"the server is {identity.principal}, not {principal}"
        )
    return identity


def _read_identity(path: Path) -> Identity:
    try:
        pem = path.read_text("ascii")
        return Identity.read(ssl.PEM_cert_to_DER_cert(pem))
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{path}: {error}") from error


def read_inner_key(path: Path) -> bytes:
    """The 32 bytes of a private X25519 key, from a line of base64."""
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except (OSError, binascii.Error) as error:
        raise CredentialsError(f"{path}: {error}") from error
    if len(key) != KEY_BYTES:
        raise CredentialsError(f"{path}: not {KEY_BYTES} bytes of base64")
    return key


def _read_authority(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{path}: {error}") from error


def key_uri(public: bytes) -> str:
    """The name by which a certificate binds a public X25519 key."""
    text = base64.urlsafe_b64encode(public).decode("ascii")
    return _KEY_PREFIX + text.rstrip("=")


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(
        x509.UniformResourceIdentifier
    )


def _only(names: list[str], prefix: str) -> str:
    found = [name for name in names if name.startswith(prefix)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} names begin with {prefix}, not one")
    return found[0]


def _public_key(text: str) -> bytes:
    """Base64url without padding; a second form of the same is refused."""
    if not _INNER_KEY.fullmatch(text):
        raise ValueError("the inner key is not 32 bytes of base64url")
    key = base64.urlsafe_b64decode(text + "=")
    if base64.urlsafe_b64encode(key).decode("ascii") != text + "=":
        raise ValueError("the inner key is not in its one form")
    return key

# SPDX-License-Identifier: MIT OR Apache-2.0
"""New keys, the request to certify them, and what came of it.

    NewKeys.make -> signing_request -> manager -> granted -> files

Enrolment and renewal both go this way. ``granted`` believes no certificate
that is not of these keys, of the authority and valid now; what it refuses is
a ``WrongPeer`` that says why.
"""

from __future__ import annotations

import base64
import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from . import store
from .credentials import Identity, key_uri, read_inner_key
from .faults import CredentialsError, WrongPeer


@dataclass(frozen=True, repr=False)
class NewKeys:
    """A P-256 key for TLS and an X25519 key for the inner layer."""

    outer: ec.EllipticCurvePrivateKey
    inner: X25519PrivateKey

    @classmethod
    def make(cls) -> NewKeys:
        return cls(
            ec.generate_private_key(ec.SECP256R1()),
            X25519PrivateKey.generate(),
        )

    @classmethod
    def load(cls, folder: Path) -> NewKeys:
        """From the files that ``files`` names; ``CredentialsError``."""
        path = folder / store.KEY
        try:
            outer = serialization.load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise CredentialsError(f"{path}: {error}") from error
        if not isinstance(outer, ec.EllipticCurvePrivateKey):
            raise CredentialsError(f"{path}: not a P-256 key")
        inner = read_inner_key(folder / store.INNER_KEY)
        return cls(outer, X25519PrivateKey.from_private_bytes(inner))

    @property
    def inner_public(self) -> bytes:
        return self.inner.public_key().public_bytes_raw()

    def files(self) -> dict[str, bytes]:
        """``key.pem`` and ``inner.key``, as they stand on the disk."""
        return {
            store.KEY: self.outer.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            store.INNER_KEY: (
                base64.b64encode(self.inner.private_bytes_raw()) + b"\n"
            ),
        }

    def signing_request(self) -> bytes:
        """PKCS#10, DER: the inner key is its one alternative name."""
        name = x509.UniformResourceIdentifier(key_uri(self.inner_public))
        return (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(
                x509.SubjectAlternativeName([name]), critical=False
            )
            .sign(self.outer, hashes.SHA256())
            .public_bytes(serialization.Encoding.DER)
        )


def granted(
    certificate: bytes, authority: x509.Certificate, keys: NewKeys
) -> Identity:
    """Whom a new certificate (DER) names, if it is good for these keys."""
    try:
        identity = Identity.read(certificate)
    except ValueError as error:
        raise WrongPeer(f"the new certificate: {error}") from error
    parsed = x509.load_der_x509_certificate(certificate)
    if (
        parsed.public_key() != keys.outer.public_key()
        or identity.inner_key != keys.inner_public
    ):
        raise WrongPeer("the new certificate is of other keys than ours")
    check_issuer(parsed, authority)
    check_valid_now(parsed)
    return identity


def check_issuer(
    certificate: x509.Certificate, authority: x509.Certificate
) -> None:
    """``WrongPeer``, unless the authority itself has signed it."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise WrongPeer(
            "the certificate is not signed by the authority"
        ) from error


def check_valid_now(certificate: x509.Certificate) -> None:
    """``WrongPeer``, if it is not by our clock."""
    now = datetime.datetime.now(datetime.UTC)
    begin = certificate.not_valid_before_utc
    end = certificate.not_valid_after_utc
    if not begin <= now <= end:
        raise WrongPeer(
            f"the certificate is valid from {begin} to {end}, and not now;"
            " is the clock right?"
        )


def files(
    certificate: bytes, authority: x509.Certificate, keys: NewKeys
) -> dict[str, bytes]:
    """All four files of a credentials directory; ``certificate`` is DER."""
    pem = serialization.Encoding.PEM
    parsed = x509.load_der_x509_certificate(certificate)
    return {
        store.CA: authority.public_bytes(pem),
        store.CERTIFICATE: parsed.public_bytes(pem),
        **keys.files(),
    }


def spki(certificate: x509.Certificate) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )

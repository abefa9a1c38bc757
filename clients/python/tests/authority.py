# SPDX-License-Identifier: MIT OR Apache-2.0
"""A pool's authority for tests: certificates and keys, made when they run."""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = datetime.timedelta(days=1)
MINUTES = datetime.timedelta(minutes=5)
PEM = serialization.Encoding.PEM


class Authority:
    """Signs leaves with the names that it is told, good or bad."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")]
        )
        self.certificate = (
            self._builder(self._name, self._key.public_key(), MINUTES)
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pin(self) -> bytes:
        """What a token says of this authority."""
        public = self._key.public_key().public_bytes(
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
        return hashlib.sha256(public).digest()

    def sign(self, signing_request: bytes, principal: str) -> bytes:
        """A certificate (DER) for the keys of a PKCS#10 request (DER)."""
        request = x509.load_der_x509_csr(signing_request)
        assert request.is_signature_valid
        (extension,) = request.extensions
        assert isinstance(extension.value, x509.SubjectAlternativeName)
        (name,) = extension.value
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)
        leaf = self.leaf([principal, str(name.value)], key)
        return leaf.public_bytes(serialization.Encoding.DER)

    def credentials(
        self,
        directory: Path,
        principal: str,
        ago: datetime.timedelta = MINUTES,
    ) -> Path:
        """A directory with the four files, made some time ago."""
        inner = X25519PrivateKey.generate()
        public = inner.public_key().public_bytes_raw()
        key = ec.generate_private_key(ec.SECP256R1())
        uris = [principal, key_uri(public)]
        leaf = self.leaf(uris, key.public_key(), ago)
        directory.mkdir(parents=True, exist_ok=True)
        files = {
            "ca.pem": self.certificate.public_bytes(PEM),
            "cert.pem": leaf.public_bytes(PEM),
            "key.pem": key.private_bytes(
                PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            "inner.key": base64.b64encode(inner.private_bytes_raw()) + b"\n",
        }
        for name, content in files.items():
            (directory / name).write_bytes(content)
        return directory

    def leaf(
        self,
        uris: list[str],
        key: ec.EllipticCurvePublicKey | None = None,
        ago: datetime.timedelta = MINUTES,
    ) -> x509.Certificate:
        name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "a leaf of a test")]
        )
        other = ec.generate_private_key(ec.SECP256R1()).public_key()
        builder = self._builder(name, key or other, ago)
        if uris:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier(uri) for uri in uris]
                ),
                critical=False,
            )
        usage = x509.ExtendedKeyUsage(
            [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        )
        return builder.add_extension(usage, critical=False).sign(
            self._key, hashes.SHA256()
        )

    def _builder(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        ago: datetime.timedelta,
    ) -> x509.CertificateBuilder:
        begin = datetime.datetime.now(datetime.UTC) - ago
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + LIFE)
        )


def key_uri(public: bytes) -> str:
    text = base64.urlsafe_b64encode(public).decode().rstrip("=")
    return f"xvmp-key:x25519:{text}"


def random_key_uri() -> str:
    return key_uri(os.urandom(32))

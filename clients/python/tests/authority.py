# SPDX-License-Identifier: MIT OR Apache-2.0
"""A pool's authority for tests: certificates and keys, made when they run."""

from __future__ import annotations

import base64
import datetime
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM


class Authority:
    """Signs leaves with the names that it is told, good or bad."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")]
        )
        self.certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def credentials(self, directory: Path, principal: str) -> Path:
        """A directory with the four files."""
        inner = X25519PrivateKey.generate()
        public = inner.public_key().public_bytes_raw()
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self.leaf([principal, key_uri(public)], key)
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
        self, uris: list[str], key: ec.EllipticCurvePrivateKey | None = None
    ) -> x509.Certificate:
        name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "a leaf of a test")]
        )
        builder = self._builder(
            name, key or ec.generate_private_key(ec.SECP256R1())
        )
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
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


def key_uri(public: bytes) -> str:
    text = base64.urlsafe_b64encode(public).decode().rstrip("=")
    return f"xvmp-key:x25519:{text}"


def random_key_uri() -> str:
    return key_uri(os.urandom(32))

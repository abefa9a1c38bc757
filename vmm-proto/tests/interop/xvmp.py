"""The protocol's inner layer, written from docs/protocol.md: Noise by the `noiseprotocol` package, AES by `cryptography`.

Reads one command a line from standard input, as JSON, and answers each with one line. Bytes are base64. Keys are the caller's: made for
one test.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import struct
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from noise.connection import Keypair, NoiseConnection

NAMESPACE = "urn:smps-vmm:xvmp:1"
CONTENT_TYPE = "application/vnd.smps-vmm.xvmp+xml;charset=utf-8"
XENC = "http://www.w3.org/2001/04/xmlenc#"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def lp(data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">I", len(data)) + data


def expand(key: bytes, info: bytes) -> bytes:
    """HKDF-Expand of RFC 5869 with SHA-256, one block."""
    return hmac.new(key, info + b"\x01", hashlib.sha256).digest()


def message_key(session: dict, direction: str, seq: int, request_id: str) -> bytes:
    fields = lp(session["id"]) + lp(direction) + struct.pack(">Q", seq) + lp(request_id)
    fields += lp("POST") + lp("/xvmp/1/rpc") + lp(CONTENT_TYPE)
    key = session["k1"] if direction == "c2s" else session["k2"]
    part = lp("xvmp1 rpc") + lp(direction) + lp("aes256-gcm") + lp(session["hash"])
    return expand(expand(key, part), b"xvmp1 msg\0" + hashlib.sha256(fields).digest())


def seal(session: dict, direction: str, seq: int, request_id: str, plaintext: str) -> str:
    iv = os.urandom(12)
    key = message_key(session, direction, seq, request_id)
    value = iv + AESGCM(key).encrypt(iv, plaintext.encode(), None)
    return (
        f'<m:Message xmlns:m="{NAMESPACE}" id="{request_id}" seq="{seq}" dir="{direction}" '
        f'session="{session["id"]}" version="1">\n <EncryptedData xmlns="{XENC}">\n'
        '  <EncryptionMethod Algorithm="http://www.w3.org/2009/xmlenc11#aes256-gcm"></EncryptionMethod>\n'
        f"  <CipherData><CipherValue>{base64.encodebytes(value).decode()}</CipherValue></CipherData>\n"
        " </EncryptedData>\n</m:Message>"
    )


def unseal(session: dict, document: str) -> dict:
    header = {name: re.search(rf' {name}="([^"]*)"', document)[1] for name in ("session", "dir", "seq", "id")}
    value = unb64(re.search(r"<xenc:CipherValue>([^<]*)<", document)[1])
    key = message_key({**session, "id": header["session"]}, header["dir"], int(header["seq"]), header["id"])
    return {**header, "plaintext": AESGCM(key).decrypt(value[:12], value[12:], None).decode()}


def noise(command: dict) -> NoiseConnection:
    connection = NoiseConnection.from_name(b"Noise_IK_25519_AESGCM_SHA256")
    connection.set_prologue(unb64(command["prologue"]))
    connection.set_keypair_from_private_bytes(Keypair.STATIC, unb64(command["private"]))
    return connection


def keys(connection: NoiseConnection, initiator: bool) -> dict:
    """The two keys of Split: the first is the initiator's to encrypt with."""
    protocol = connection.noise_protocol
    pair = [protocol.cipher_state_encrypt.k, protocol.cipher_state_decrypt.k]
    k1, k2 = pair if initiator else reversed(pair)
    return {"hash": protocol.handshake_hash, "k1": k1, "k2": k2}


class Peer:
    """One party, in at most one handshake at a time."""

    def __init__(self) -> None:
        self.connection = None
        self.session = {}

    def start(self, command: dict) -> dict:
        self.connection = noise(command)
        self.connection.set_as_initiator()
        self.connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, unb64(command["server"]))
        self.connection.start_handshake()
        return {"message": b64(self.connection.write_message(command["payload"].encode()))}

    def finish(self, command: dict) -> dict:
        payload = bytes(self.connection.read_message(unb64(command["message"]))).decode()
        self.session = keys(self.connection, True)
        found = re.search(r' session="([0-9a-f]{32})"', payload)
        self.session["id"] = found[1] if found else ""
        return {"payload": payload, **self.shown()}

    def answer(self, command: dict) -> dict:
        self.connection = noise(command)
        self.connection.set_as_responder()
        self.connection.start_handshake()
        payload = bytes(self.connection.read_message(unb64(command["message"]))).decode()
        client = self.connection.noise_protocol.handshake_state.rs.public_bytes
        message = self.connection.write_message(command["payload"].encode())
        self.session = {**keys(self.connection, False), "id": command.get("session", "")}
        return {"payload": payload, "client": b64(client), "message": b64(message), **self.shown()}

    def shown(self) -> dict:
        return {name: b64(self.session[name]) for name in ("hash", "k1", "k2")}

    def seal(self, command: dict) -> dict:
        fields = (command["dir"], command["seq"], command["id"], command["plaintext"])
        return {"document": seal(self.session, *fields)}

    def unseal(self, command: dict) -> dict:
        return unseal(self.session, command["document"])


def main() -> None:
    peer = Peer()
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(peer, command["do"])(command)), flush=True)


main()

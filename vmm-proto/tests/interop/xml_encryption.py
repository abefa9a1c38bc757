"""XML Encryption by the `xmlsec` package: opens what we sealed and encrypts for us, all cases of a directory in one go.

    python3 xml_encryption.py DIRECTORY

For each NAME.key: NAME.sealed becomes NAME.opened, and NAME.plain becomes NAME.encrypted. What cannot be opened gives no file.
"""

import pathlib
import sys

import xmlsec
from lxml import etree

PARSER = etree.XMLParser(huge_tree=True, resolve_entities=False)


def context(key: bytes, name: str) -> xmlsec.EncryptionContext:
    manager = xmlsec.KeysManager()
    aes = xmlsec.Key.from_binary_data(xmlsec.constants.KeyDataAes, key)
    aes.name = name
    manager.add_key(aes)
    return xmlsec.EncryptionContext(manager)


def open_sealed(path: pathlib.Path, key: bytes) -> None:
    document = etree.parse(str(path.with_suffix(".sealed")), PARSER)
    data = document.find(".//{http://www.w3.org/2001/04/xmlenc#}EncryptedData")
    name = data.findtext(".//{http://www.w3.org/2000/09/xmldsig#}KeyName")
    try:
        opened = context(key, name).decrypt(data)
    except xmlsec.Error as refused:
        print(f"{path.stem}: {refused}", file=sys.stderr)
        return
    if not isinstance(opened, bytes):
        opened = etree.tostring(document)
    path.with_suffix(".opened").write_bytes(opened)


def encrypt(path: pathlib.Path, key: bytes) -> None:
    template = xmlsec.template.encrypted_data_create(
        etree.Element("unused"),
        xmlsec.constants.TransformAes256Gcm,
        type=xmlsec.constants.TypeEncElement,
        ns="xenc",
    )
    xmlsec.template.encrypted_data_ensure_cipher_value(template)
    info = xmlsec.template.encrypted_data_ensure_key_info(template, ns="ds")
    xmlsec.template.add_key_name(info, path.with_suffix(".name").read_text())
    plain = path.with_suffix(".plain").read_bytes()
    encrypted = context(key, path.with_suffix(".name").read_text()).encrypt_binary(template, plain)
    path.with_suffix(".encrypted").write_bytes(etree.tostring(encrypted))


for path in pathlib.Path(sys.argv[1]).glob("*.key"):
    key = path.read_bytes()
    open_sealed(path, key)
    encrypt(path, key)

# SPDX-License-Identifier: MIT OR Apache-2.0
"""Values in text: each has one form, and any other is a ``ValueError``.

Pure functions, for headers and for everything inside (section 3).
"""

from __future__ import annotations

import base64
import re
from decimal import Decimal

_WHOLE = re.compile(r"0|[1-9][0-9]{0,19}")
_WHOLE_END = 1 << 64
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_SESSION = re.compile(r"[0-9a-f]{32}")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_WITHOUT_SPACE = str.maketrans("", "", " \t\r\n")


def whole(text: str) -> int:
    """A number from 0 to 2**64 - 1: digits, the first not 0 but for 0."""
    number = int(_matching(_WHOLE, text))
    if number >= _WHOLE_END:
        raise ValueError(f"{text} has more than 64 bits")
    return number


def write_whole(number: int) -> str:
    if not 0 <= number < _WHOLE_END:
        raise ValueError(f"{number} is not a whole number below 2**64")
    return str(number)


def fraction(text: str) -> Decimal:
    """Maybe ``-``, digits, maybe ``.`` and digits; no exponent."""
    return Decimal(_matching(_FRACTION, text))


def write_fraction(number: Decimal) -> str:
    return _matching(_FRACTION, format(number, "f"))


def boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def write_boolean(value: bool) -> str:
    return "true" if value else "false"


def unbase64(text: str) -> bytes:
    """White space is ignored; padding is needed, its spare bits are 0."""
    compact = text.translate(_WITHOUT_SPACE)
    data = base64.b64decode(compact, validate=True)
    if write_base64(data) != compact:
        raise ValueError("base64 in a second form")
    return data


def write_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def session_id(text: str) -> str:
    """32 of ``0-9a-f``."""
    return _matching(_SESSION, text)


def message_id(text: str) -> str:
    """1 to 128 of ``A-Z a-z 0-9 . _ : -``."""
    return _matching(_MESSAGE_ID, text)


def _matching(form: re.Pattern[str], text: str) -> str:
    if not form.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not in its one form")
    return text

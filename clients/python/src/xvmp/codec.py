# SPDX-License-Identifier: MIT OR Apache-2.0
"""Dataclasses to elements and back, by the types of their fields.

A field is an attribute of its name, with ``-`` for ``_``:

=============== =====================================================
int             digits, the first not 0; below 2**64
Decimal         maybe ``-``, digits, maybe ``.`` and digits
bool            ``true``, ``false``
str, StrEnum    as it is
bytes           base64
=============== =====================================================

A field of a dataclass is a child with that class's ``tag``; a tuple of them
is any number of such children. A field with a default may be missing; one
that is ``None`` is not written. Fields stand in the order of the schema.

Attributes and elements without a field are ignored, so that a manager may say
more than we understand. A value in a second form, or one that is missing, is
``UnexpectedReply``.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from lxml import etree

from . import values
from .faults import UnexpectedReply
from .gate import NAMESPACE, NSMAP, carriable

T = TypeVar("T")

#: How a value is read and written; all others are text.
_FORMS: dict[type[Any], tuple[Callable[[str], Any], Callable[[Any], str]]] = {
    int: (values.whole, values.write_whole),
    Decimal: (values.fraction, values.write_fraction),
    bool: (values.boolean, values.write_boolean),
    bytes: (values.unbase64, values.write_base64),
}


@dataclasses.dataclass(frozen=True)
class _Field:
    """How one field stands on the wire."""

    name: str
    kind: type[Any]
    child: bool
    many: bool
    required: bool

    @property
    def attribute(self) -> str:
        return self.name.replace("_", "-")


def write(value: Any) -> etree._Element:
    """The element of a dataclass that has a ``tag``."""
    element = etree.Element(_name(type(value)), nsmap=NSMAP)
    for field in _fields(type(value)):
        content = getattr(value, field.name)
        if content is None:
            continue
        if field.child:
            each = content if field.many else (content,)
            element.extend([write(child) for child in each])
        else:
            element.set(field.attribute, _text(content))
    return element


def read(kind: type[T], element: etree._Element) -> T:
    """The dataclass in an element; ``UnexpectedReply`` if it is another."""
    if element.tag != _name(kind):
        raise UnexpectedReply(
            f"a {etree.QName(element).localname} came, not a {_tag(kind)}"
        )
    content: dict[str, Any] = {}
    for field in _fields(kind):
        found = _children(field, element) if field.child else _attribute(
            field, element
        )
        if found is not None:
            content[field.name] = found
        elif field.required:
            raise UnexpectedReply(f"{_tag(kind)} has no {field.attribute}")
    return kind(**content)


def _children(field: _Field, element: etree._Element) -> Any:
    found = [
        read(field.kind, child) for child in element.iterchildren(
            _name(field.kind)
        )
    ]
    if field.many:
        return tuple(found)
    if len(found) > 1:
        raise UnexpectedReply(f"more than one {_tag(field.kind)}")
    return found[0] if found else None


def _attribute(field: _Field, element: etree._Element) -> Any:
    text = element.get(field.attribute)
    if text is None:
        return None
    try:
        return _value(field.kind, text)
    except ValueError:
        raise UnexpectedReply(
            f"{field.attribute} is not a {field.kind.__name__}"
        ) from None


def _value(kind: type[Any], text: str) -> Any:
    read_value, _ = _FORMS.get(kind, (kind, str))
    return read_value(text)


def _text(value: Any) -> str:
    _, write_value = _FORMS.get(type(value), (str, carriable))
    return write_value(value)


def _tag(kind: type[Any]) -> str:
    return str(kind.tag)


def _name(kind: type[Any]) -> str:
    return f"{{{NAMESPACE}}}{_tag(kind)}"


def _fields(kind: Any) -> tuple[_Field, ...]:
    return _resolved(kind)


@cache
def _resolved(kind: Any) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(kind)
    return tuple(
        _field(each, hints[each.name]) for each in dataclasses.fields(kind)
    )


def _field(field: dataclasses.Field[Any], hint: Any) -> _Field:
    many = typing.get_origin(hint) is tuple
    if many or typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(
            each for each in typing.get_args(hint)
            if each not in (type(None), Ellipsis)
        )
    required = field.default is dataclasses.MISSING and not many
    child = dataclasses.is_dataclass(hint)
    if not child and not issubclass(
        hint, (bool, int, Decimal, bytes, str, StrEnum)
    ):
        raise TypeError(f"{field.name}: {hint} has no form on the wire")
    return _Field(field.name, hint, child, many, required)

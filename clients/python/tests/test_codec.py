# SPDX-License-Identifier: MIT OR Apache-2.0
"""Verbs and replies against the published golden messages and schemas."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from lxml import etree

from xvmp import codec, gate, model, session, verbs
from xvmp.faults import UnexpectedReply
from xvmp.gate import NAMESPACE
from xvmp.keys import Direction, Header

PUBLISHED = Path(__file__).parents[3] / "docs/schema/xvmp-1.0"
HEADER = Header("000102030405060708090a0b0c0d0e0f", Direction.C2S, 7, "m-7")
AGENT_ONLY = {
    "AwaitReport", "BuildVm", "AgentReport", "ShowCertificate",
    "PrepareKeys", "InstallCertificate", "SigningRequest", "ReceiveVm",
    "SendVm", "SettleMigration", "AwaitMigration", "Receiving", "Offered",
    "MigrationState",
}


def classes(module: Any, names: set[str]) -> dict[str, type[Any]]:
    """The classes of a module by tag; of two with one, the plain one."""
    found = {
        str(getattr(each, "tag")): each
        for each in reversed(list(vars(module).values()))
        if isinstance(each, type) and isinstance(getattr(each, "tag", 0), str)
    }
    return {tag: each for tag, each in found.items() if tag in names}


REQUESTS = {
    path.stem: path
    for path in sorted((PUBLISHED / "golden/request").iterdir())
    if path.stem not in AGENT_ONLY
}
REPLIES = {
    path.stem: path
    for path in sorted((PUBLISHED / "golden/response").iterdir())
    if path.stem not in AGENT_ONLY
}
VERBS = classes(verbs, set(REQUESTS))
MODELS = classes(model, set(REPLIES))


#: The golden messages of these are dry runs.
DRY_RUNS: dict[str, type[Any]] = {
    "CreateVm": verbs.TryCreateVm, "CreateVms": verbs.TryCreateVms,
    "EvacuateHost": verbs.TryEvacuateHost,
}


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(PUBLISHED / "xvmp.xsd")))


def inner(path: Path) -> etree._Element:
    golden = gate.parse_plain(path.read_bytes().rstrip(b"\n"), gate.CONTENT)
    return golden[0]


@pytest.mark.parametrize("name", REQUESTS)
def test_every_verb_of_a_manager_is_written_as_published(
    name: str, schema: etree.XMLSchema
) -> None:
    published = REQUESTS[name].read_bytes().rstrip(b"\n")
    kind = DRY_RUNS.get(name, VERBS[name])
    element = inner(REQUESTS[name])
    fields = {
        field.name: getattr(read_loosely(kind, element), field.name)
        for field in kind.__dataclass_fields__.values() if field.init
    }
    verb = kind(**fields)
    idem = "once-0001" if verb.changes else None
    written = session.request_bytes(HEADER, codec.write(verb), idem, 30_000)
    schema.assertValid(etree.fromstring(written))
    assert written == published


def read_loosely(kind: type[Any], element: etree._Element) -> Any:
    """A verb read back; fields that a verb sets by itself are left out."""
    values = {}
    for field in codec._fields(kind):
        if not kind.__dataclass_fields__[field.name].init:
            continue
        found = (
            codec._children(field, element) if field.child
            else codec._attribute(field, element)
        )
        if found is not None:
            values[field.name] = found
    return kind(**values)


@pytest.mark.parametrize("name", REPLIES)
def test_every_reply_of_a_manager_is_read_and_loses_nothing(
    name: str,
) -> None:
    element = inner(REPLIES[name])
    value = codec.read(MODELS[name], element)
    again = codec.write(value)
    assert etree.tostring(again, method="c14n", exclusive=True) == (
        etree.tostring(element, method="c14n", exclusive=True)
    )


@dataclass(frozen=True, kw_only=True)
class Sample:
    tag: ClassVar[str] = "Sample"
    whole: int = 0
    fraction: Decimal = Decimal(0)
    flag: bool = False
    data: bytes = b""
    phase: model.Phase = model.Phase.NEW


def sample(attributes: str) -> etree._Element:
    return etree.fromstring(f'<Sample xmlns="{NAMESPACE}" {attributes}/>')


@pytest.mark.parametrize(
    "attributes",
    [
        *(f'whole="{text}"' for text in (
            "", "00", "01", "+1", "-1", " 1", "1 ", "1.0", "1e3", "٣",
            "18446744073709551616", "1_0", "0x1",
        )),
        *(f'fraction="{text}"' for text in (
            "", ".5", "5.", "01.5", "+1", "1e3", "inf", "NaN", "--1", "1_0",
        )),
        *(f'flag="{text}"' for text in (
            "", "1", "0", "True", "yes", " true",
        )),
        *(f'data="{text}"' for text in ("A", "AB==", "AA=", "-_-_")),
        *(f'phase="{text}"' for text in ("", "running", "Asleep")),
    ],
)
def test_a_value_has_one_form(attributes: str) -> None:
    with pytest.raises(UnexpectedReply):
        codec.read(Sample, sample(attributes))


def test_what_is_read() -> None:
    read = codec.read(Sample, sample(
        'whole="18446744073709551615" fraction="-0.25" flag="true"'
        ' data="AAE=" phase="Lost" more="ignored"'
    ))
    assert read == Sample(
        whole=(1 << 64) - 1, fraction=Decimal("-0.25"), flag=True,
        data=b"\0\1", phase=model.Phase.LOST,
    )


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_a_number_that_does_not_fit_is_not_sent(number: int) -> None:
    with pytest.raises(ValueError, match="whole number"):
        codec.write(verbs.SetVcpus(vm="web", vcpus=number))


def test_a_text_that_xml_cannot_carry_is_sent_with_a_replacement() -> None:
    element = codec.write(verbs.Ping(text='a\0<&">'))
    assert element.get("text") == 'a\ufffd<&">'


def test_another_reply_than_promised_is_named() -> None:
    with pytest.raises(UnexpectedReply, match="a Sample came, not a Done"):
        codec.read(model.Done, sample(""))


def test_what_is_missing_is_named() -> None:
    element = etree.fromstring(f'<HostRef xmlns="{NAMESPACE}"/>')
    with pytest.raises(UnexpectedReply, match="HostRef has no host"):
        codec.read(model.HostRef, element)


def test_what_is_not_known_in_a_reply_is_passed_over() -> None:
    element = inner(REPLIES["Events"])
    expected = codec.read(model.Events, element)
    for each in list(element.iter()):
        each.set("unknown", "attribute")
        etree.SubElement(each, f"{{{NAMESPACE}}}Unknown", more="of it")
    assert codec.read(model.Events, element) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('phase="Saved"', 'phase="Asleep"'),
        ('code="TimedOut"', 'code="Tired"'),
        ('health="Up"', 'health="Well"'),
        ('state="Failed"', 'state="Sad"'),
        ('object="Vm"', 'object="Cloud"'),
    ],
)
def test_an_unknown_word_of_a_closed_list_is_an_error(
    old: str, new: str
) -> None:
    text = etree.tostring(inner(REPLIES["Events"])).decode()
    assert old in text
    with pytest.raises(UnexpectedReply):
        codec.read(model.Events, etree.fromstring(text.replace(old, new)))

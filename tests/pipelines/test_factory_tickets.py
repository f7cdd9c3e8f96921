"""A line becomes a ticket, an invalid ticket with every reason, or an unreadable line; it never disappears."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines import tickets
from pipelines.tickets import (
    CONTRACT,
    MAX_LINE_BYTES,
    REQUIRED_FIELDS,
    InvalidTicket,
    Ticket,
    UnreadableLine,
    parse_ticket,
    read_tickets,
)
from run_evidence.ledger.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_characters = st.characters(codec="utf-8", exclude_characters="\0")


def _breaches(record: dict[str, Any]) -> list[tuple[str, str]]:
    result = parse_ticket(json.dumps(record).encode())
    assert isinstance(result, InvalidTicket), result
    return [(violation.field, violation.code) for violation in result.violations]


def test_the_contract_has_the_required_fields_of_ticket_v1() -> None:
    """The course contract's list."""
    assert set(REQUIRED_FIELDS) == {
        *("ticket_id", "schema_version", "source_id", "ingest_batch_id", "customer_id", "status", "priority"),
        *("product_line", "created_at", "pii_level", "quality_gate", "owner"),
    }


def test_a_full_ticket_is_read(parsed: Callable[..., Ticket]) -> None:
    """Optional fields may be there, and times become UTC."""
    result = parsed(
        org_id="org_1",
        category="billing",
        subject="x" * 512,
        error_codes=["NS-1"],
        tags=[],
        pii_redacted=False,
        sla_tier="free",
        assignee_id=None,
        created_at="2026-04-18T01:30:00+08:00",
        updated_at="2026-04-18T02:00:00+08:00",
        resolved_at=None,
    )
    assert result.created_at.isoformat() == "2026-04-17T17:30:00+00:00"
    assert result.version_at == result.updated_at


@pytest.mark.parametrize("field", REQUIRED_FIELDS)
def test_every_required_field_is_required(ticket: Callable[..., dict[str, Any]], field: str) -> None:
    """Left out, null and blank are three different breaches of one field."""
    record = ticket()
    del record[field]
    assert _breaches(record) == [(field, "missing")]
    assert _breaches(ticket(**{field: None})) == [(field, "null")]
    assert [name for name, _ in _breaches(ticket(**{field: " "}))] == [field]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ticket_id": "TKT-2026-1"}, ("ticket_id", "malformed")),
        ({"ticket_id": "TKT-٢٠٢٦٠٤١٧-000001"}, ("ticket_id", "malformed")),
        ({"ticket_id": 7}, ("ticket_id", "wrong_type")),
        ({"schema_version": "ticket_v2"}, ("schema_version", "not_allowed")),
        ({"status": "waiting"}, ("status", "not_allowed")),
        ({"priority": "P1"}, ("priority", "not_allowed")),
        ({"product_line": "northstar"}, ("product_line", "not_allowed")),
        ({"category": "misc"}, ("category", "not_allowed")),
        ({"sla_tier": "gold"}, ("sla_tier", "not_allowed")),
        ({"pii_level": "medium"}, ("pii_level", "not_allowed")),
        ({"quality_gate": "ok"}, ("quality_gate", "not_allowed")),
        ({"created_at": "2026-04-17 10:00"}, ("created_at", "malformed")),
        ({"created_at": 1776412800}, ("created_at", "wrong_type")),
        ({"updated_at": "soon"}, ("updated_at", "malformed")),
        ({"org_id": None}, ("org_id", "null")),
        ({"subject": "x" * 513}, ("subject", "too_long")),
        ({"error_codes": "NS-1"}, ("error_codes", "wrong_type")),
        ({"tags": ["a", 1]}, ("tags", "wrong_type")),
        ({"pii_redacted": "true"}, ("pii_redacted", "wrong_type")),
        ({"pii_redacted": 1}, ("pii_redacted", "wrong_type")),
        ({"internal_score": "7"}, ("internal_score", "unknown_field")),
        ({"owner": "a\0b"}, ("owner", "malformed")),
        ({"tags": ["a\0b"]}, ("tags", "malformed")),
        ({"description": "half \ud83d"}, ("description", "malformed")),
        ({"\ud83d": 1}, ("\\ud83d", "unknown_field")),
        ({"customer_id": "cus_e\u0301"}, ("customer_id", "not_normalized")),
        ({"source_id": "\u212bngstrom"}, ("source_id", "not_normalized")),
        ({"assignee_id": "e\u0301"}, ("assignee_id", "not_normalized")),
        ({"ticket_id": "TKT-20260417-000001\n"}, ("ticket_id", "malformed")),
        ({"ticket_id": "\uff34KT-20260417-000001"}, ("ticket_id", "malformed")),
        ({"created_at": "2026-06-30T23:59:60Z"}, ("created_at", "malformed")),
        ({"created_at": "2026-04-17T10:00:00"}, ("created_at", "malformed")),
    ],
)
def test_each_breach_of_the_contract_is_named(
    ticket: Callable[..., dict[str, Any]], changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Field and code of the one thing that is wrong."""
    assert _breaches(ticket(**changes)) == [expected]


def test_all_breaches_are_reported_at_once(ticket: Callable[..., dict[str, Any]]) -> None:
    """In the contract's order, unknown fields last; the id and time that could be read are kept."""
    record = ticket(status="waiting", owner=None, extra=1)
    assert [code for _, code in _breaches(record)] == ["not_allowed", "null", "unknown_field"]
    result = parse_ticket(json.dumps(record).encode())
    assert isinstance(result, InvalidTicket)
    assert result.ticket_id == "TKT-20260417-000001"
    assert result.created_at is not None


def test_a_field_given_twice_is_a_breach(ticket: Callable[..., dict[str, Any]]) -> None:
    """JSON readers disagree about which one counts, so two payloads could share a fingerprint."""
    twice = json.dumps(ticket())[:-1] + ', "owner": "somebody-else"}'
    result = parse_ticket(twice.encode())
    assert isinstance(result, InvalidTicket)
    assert [(v.field, v.text) for v in result.violations] == [("owner", "given more than once")]


@pytest.mark.parametrize(
    "raw", [b"not json", b"[]", b'"text"', b"null", b'{"a": ', b"\xff{}", b"\xef\xbb\xbf{}", b"[" * 50_000]
)
def test_a_line_that_is_no_object_is_unreadable(raw: bytes) -> None:
    """Whatever the bytes are, the parser answers and does not raise."""
    assert isinstance(parse_ticket(raw), UnreadableLine)


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(raw: bytes) -> None:
    """No input makes the parser raise."""
    assert isinstance(parse_ticket(raw), Ticket | InvalidTicket | UnreadableLine)


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=5,
)


@given(field=st.sampled_from(list(CONTRACT.fields)) | st.text(st.characters()), value=_json_values)
def test_any_value_in_any_field_gets_an_answer_that_can_be_stored(
    ticket: Callable[..., dict[str, Any]], field: str, value: object
) -> None:
    """A ticket's payload and an invalid ticket's reasons are always valid UTF-8."""
    result = parse_ticket(json.dumps(ticket(**{field: value})).encode())
    if isinstance(result, Ticket):
        result.payload.encode()
    elif isinstance(result, InvalidTicket):
        for violation in result.violations:
            str(violation).encode()


_texts = st.fixed_dictionaries(
    {"owner": st.text(_characters, min_size=1).filter(str.strip)},
    optional={
        "description": st.text(_characters),
        "tags": st.lists(st.text(_characters), max_size=3),
        "pii_redacted": st.booleans(),
        "resolved_at": st.none(),
    },
)


@given(changes=_texts, data=st.data())
def test_a_fingerprint_depends_on_values_only(
    ticket: Callable[..., dict[str, Any]], changes: dict[str, Any], data: st.DataObject
) -> None:
    """Order of fields, spaces and escapes of the same values give the same fingerprint."""
    record = ticket(**changes)
    names = data.draw(st.permutations(list(record)))
    written = json.dumps(
        {name: record[name] for name in names},
        ensure_ascii=data.draw(st.booleans()),
        indent=data.draw(st.sampled_from([None, 2])),
    )
    one, other = parse_ticket(json.dumps(record).encode()), parse_ticket(written.encode())
    assert isinstance(one, Ticket)
    assert isinstance(other, Ticket)
    assert one.fingerprint == other.fingerprint
    assert json.loads(one.payload) == record


@given(changes=_texts, other=_texts)
def test_different_values_have_different_fingerprints(
    parsed: Callable[..., Ticket], changes: dict[str, Any], other: dict[str, Any]
) -> None:
    """Equal fingerprints mean equal payloads, and the other way round."""
    one, two = parsed(**changes), parsed(**other)
    assert (one.fingerprint == two.fingerprint) == (changes == other)


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path, ticket: Callable[..., dict[str, Any]]) -> None:
    """Blank lines are passed over but counted; a last line without a line end is a line; CRLF is a line end."""
    line = json.dumps(ticket()).encode()
    path = tmp_path / "tickets.jsonl"
    path.write_bytes(b"\n" + line + b"\r\n  \nnot json\n" + line)
    assert [(found.number, type(found.content)) for found in read_tickets(path)] == [
        (2, Ticket),
        (4, UnreadableLine),
        (5, Ticket),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_line(
    tmp_path: Path, ticket: Callable[..., dict[str, Any]]
) -> None:
    """Windows tools write one; in front of any other line it is no JSON."""
    line = json.dumps(ticket()).encode()
    path = tmp_path / "tickets.jsonl"
    mark = b"\xef\xbb\xbf"
    path.write_bytes(mark + line + b"\n" + mark + line + b"\n" + line)
    assert [type(found.content) for found in read_tickets(path)] == [Ticket, UnreadableLine, Ticket]
    path.write_bytes(mark)
    assert list(read_tickets(path)) == []


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, ticket: Callable[..., dict[str, Any]]) -> None:
    """A line beyond the limit is one unreadable line; reading goes on behind it."""
    line = json.dumps(ticket()).encode()
    path = tmp_path / "tickets.jsonl"
    path.write_bytes(b"x" * (3 * MAX_LINE_BYTES) + b"\n" + line + b"\n" + b"y" * (MAX_LINE_BYTES + 1))
    found = list(read_tickets(path))
    assert [type(line.content) for line in found] == [UnreadableLine, Ticket, UnreadableLine]
    assert [line.number for line in found] == [1, 2, 3]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Not an empty list."""
    with pytest.raises(InputError, match=r"gone\.jsonl: the tickets file cannot be read: No such file"):
        list(read_tickets(tmp_path / "gone.jsonl"))


_PIECES = st.sampled_from(
    [
        *('"', '\\"', "\\\\", "\\u0022", "\\u0000", "\\ud83d", "\\ud83d\\ude80", "\\u00e9", "\\/", "\\n", "\\x"),
        *("é", "e\u0301", "🛰", "\x7f", "\u2028", "\t", "a", " ", "{", "}", ",", ":", "\x00", "1"),
    ]
)
_VALUES = st.one_of(
    st.lists(_PIECES, max_size=6).map(lambda pieces: '"' + "".join(pieces) + '"'),
    st.sampled_from(
        ["null", "true", "1", "1e400", "NaN", "[]", '["a", "b"]', '["a", null]', "{}", '{"a": "b"}', '""']
    ),
    st.sampled_from(['"2026-04-17T08:15:00.1234567Z"', '"2026-04-17t08:15:00z"', '"2026-04-17T23:59:60Z"']),
    st.sampled_from(['"2026-04-17 08:15:00+02:00"', '"20260417T081500Z"', '"2026-02-31T00:00:00Z"', '"open"']),
)


@given(
    changed=st.dictionaries(
        st.sampled_from([*CONTRACT.fields, "unknown", "own\\u0065r", "statu\\u0073"]), _VALUES, max_size=3
    ),
    space=st.sampled_from(["", " ", "\n  ", "\u00a0"]),
    end=st.sampled_from(["", "\n", " x", ",", "\r\n"]),
)
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(changed={"owner": '"a","owner":"b"'}, space="", end="")
@example(changed={"owner": '"\\\\","owner":"b\\""'}, space="", end="")
@example(changed={"own\\u0065r": '"b"'}, space="", end="")
@example(changed={"subject": f'"{"🛰" * 512}"'}, space="", end="")
@example(changed={"subject": f'"{"🛰" * 513}"'}, space="", end="")
@example(changed={"tags": '["a", "a"]', "subject": '"a\\"b"'}, space="", end="")
def test_the_fast_path_says_what_the_strict_one_says(
    ticket: Callable[..., dict[str, Any]], changed: dict[str, str], space: str, end: str
) -> None:
    """Of any line, the ticket and its digest, or every reason: names given twice, odd escapes, broken JSON."""
    texts = [f'{space}"{name}":{json.dumps(value)}' for name, value in ticket().items() if name not in changed]
    texts += [f'"{name}"{space}:{value}' for name, value in changed.items()]
    raw = ("{" + ",".join(texts) + "}" + end).encode("utf-8", "surrogatepass")
    assert parse_ticket(raw) == tickets.parse_any(raw)


def test_an_ordinary_ticket_takes_the_fast_path(ticket: Callable[..., dict[str, Any]]) -> None:
    """Else all the speed is lost and nothing is wrong."""
    every = ticket(subject='a "quote"', tags=["é", "b"], pii_redacted=True, updated_at="2026-04-17T10:00:00+02:00")
    for record in (ticket(), every):
        raw = json.dumps(record, ensure_ascii=False).encode()
        assert tickets.parse_sound(raw) == tickets.parse_any(raw)
        assert tickets.parse_sound(raw) is not None

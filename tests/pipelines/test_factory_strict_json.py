"""Tickets and manifests are read by one strict reader: what one refuses the other refuses, with the same place."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.manifests import scan_manifests
from pipelines.strict_json import NotAnObjectError, read_object
from pipelines.tickets import InvalidTicket, UnreadableLine, parse_ticket

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = "2026-04-17"
FAULTY = [
    ('"owner": "a"', "owner", "given more than once"),
    ('"x": {"a": 1, "b": [{"c": 1, "c": 2}]}', "x.b[0].c", "given more than once"),
    ('"x": [1, NaN]', "x[1]", "NaN is no JSON number"),
    ('"x": {"y": -Infinity}', "x.y", "-Infinity is no JSON number"),
    ('"x": "\\ud800"', "x", "half of a surrogate pair"),
    ('"\\udfff": 1', "\\udfff", "half of a surrogate pair"),
    ('"x": ["a\\u0000b"]', "x[0]", "NUL"),
]
UNREADABLE = [b"", b"\xff\xfe{}", b"[" * 5000, b"[1]", b"NaN", b'"x"', b"{} {}", b'{"a": 1}\0', b'{"a": "\n"}']


def _with(text: str, member: str) -> bytes:
    """Add a member to a JSON object."""
    return f"{text.rstrip()[:-1]}, {member}}}".encode()


@pytest.mark.parametrize(("member", "path", "why"), FAULTY)
def test_a_fault_is_refused_in_both_with_its_place(
    tmp_path: Path,
    deliver: Callable[..., Any],
    ticket: Callable[..., dict[str, Any]],
    member: str,
    path: str,
    why: str,
) -> None:
    """However deep it is; nothing is guessed, and no later value wins."""
    found = parse_ticket(_with(json.dumps(ticket()), member))
    assert isinstance(found, InvalidTicket)
    field = path.partition(".")[0].partition("[")[0]
    assert any(v.field == field and (why in v.text or v.code == "unknown_field") for v in found.violations)
    manifest = deliver(tmp_path, DAY, [])
    manifest.write_bytes(_with(manifest.read_text(), member))
    scan = scan_manifests(tmp_path)
    assert scan.manifests == ()
    (problem,) = scan.problems
    assert problem.delivery_day == DAY
    assert f"{manifest}: field '{path}': " in str(problem.error)
    assert why in str(problem.error)


@pytest.mark.parametrize("data", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_is_no_object_is_refused_in_both(tmp_path: Path, deliver: Callable[..., Any], data: bytes) -> None:
    """With what it is instead, and where."""
    assert isinstance(parse_ticket(data), UnreadableLine)
    deliver(tmp_path, DAY, []).write_bytes(data)
    (problem,) = scan_manifests(tmp_path).problems
    assert "expected a JSON object" in str(problem.error)


def test_a_byte_order_mark_is_no_part_of_a_manifest(tmp_path: Path, deliver: Callable[..., Any]) -> None:
    """As of no tickets file."""
    manifest = deliver(tmp_path, DAY, [])
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes())
    assert len(scan_manifests(tmp_path).manifests) == 1


def test_a_day_that_is_stated_twice_is_not_known(tmp_path: Path, deliver: Callable[..., Any]) -> None:
    """A manifest with two ids may be of any day, so it stops every one."""
    manifest = deliver(tmp_path, DAY, [])
    manifest.write_bytes(_with(manifest.read_text(), '"manifest_id": "manifest-tickets-20260101-001"'))
    (problem,) = scan_manifests(tmp_path).problems
    assert problem.delivery_day is None


def test_another_programs_file_is_left_alone(tmp_path: Path, deliver: Callable[..., Any]) -> None:
    """Faults in a file that is no manifest are not the factory's."""
    deliver(tmp_path, DAY, [])
    (tmp_path / "results.json").write_text('{"schema_version": "mine", "x": NaN}')
    assert scan_manifests(tmp_path).problems == ()
    (tmp_path / "results.json").write_text('{"schema_version": "source_manifest_v1", "schema_version": "mine"}')
    assert len(scan_manifests(tmp_path).problems) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.soak
@given(st.dictionaries(st.text(), VALUES))
def test_what_has_no_fault_is_read_as_it_is(values: dict[str, Any]) -> None:
    """And what cannot be written as UTF-8 or as JSON has one."""
    found = read_object(json.dumps(values).encode())
    try:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False)
        clean = "\\u0000" not in text and text.encode() is not None
    except ValueError:
        clean = False
    assert (not found.faults) == clean
    assert not clean or found.values == values


@given(st.binary(max_size=40))
def test_any_bytes_are_an_object_or_are_not(data: bytes) -> None:
    """No other error leaves the reader."""
    with contextlib.suppress(NotAnObjectError):
        read_object(data)

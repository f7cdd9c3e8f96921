"""An event has one id and one sequence of bytes, its columns follow from these, and nothing else passes for one."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import replace
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger import OUTCOMES, Event, IntegrityError, UsageError
from run_evidence.ledger.model.canonical import MAX_INT, canonical
from run_evidence.ledger.model.event import (
    EVENT_FIELDS,
    MAX_DATA_BYTES,
    MAX_ENTRY_BYTES,
    MAX_TIME,
    blob_name,
    decode_entry,
    encode,
)
from run_evidence.ledger.model.names import digested, is_utf8
from run_evidence.ledger.model.schema import COLUMNS
from tests.ledger.samples import NOON, events, own, record

moments = st.integers(0, MAX_TIME)


@given(events(), moments)
def test_columns_follow_from_the_bytes_of_any_event(event: Event, recorded_at: int) -> None:
    """What is encoded can be read back: every column is the event's own value, or its digest if it is no text."""
    encoded = encode(event, recorded_at)
    row = decode_entry(encoded.entry)
    stored = dict(zip(COLUMNS, row.values, strict=True))
    assert stored["event_id"] == encoded.event_id == row.event_id
    assert stored["recorded_at"] == recorded_at
    for name in EVENT_FIELDS:
        value = getattr(event, name)
        if name == "data" or (name == "source_digest" and event.storage_id is None):
            continue
        if isinstance(value, str) and not is_utf8(value):
            value = digested(value)
        assert stored[name] == value
    assert stored["data"] == canonical(json.loads(encoded.entry)["data"]).decode()
    assert row.entry == encoded.entry == canonical(json.loads(encoded.entry))


@given(events(), moments, moments)
def test_an_id_is_a_uuid_that_does_not_depend_on_when_it_was_recorded(event: Event, one: int, other: int) -> None:
    """Two captures of the same thing agree on what it is; RFC 9562 version 8, variant 10."""
    event_id = encode(event, one).event_id
    assert encode(event, other).event_id == event_id
    parsed = uuid.UUID(event_id)
    assert str(parsed) == event_id
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
    assert parsed.int >> 80 == event.occurred_at // 1000


@pytest.mark.soak
@given(events(), events())
def test_ids_sort_by_the_millisecond_they_happened_in(one: Event, other: Event) -> None:
    """Looking ids up by time opens few segments, because their order is that of time."""
    first, second = (encode(event, 0).event_id for event in (one, other))
    if one.occurred_at // 1000 != other.occurred_at // 1000:
        assert (first < second) == (one.occurred_at < other.occurred_at)


def test_a_record_is_identified_by_where_it_was_stored_alone() -> None:
    """Another digest or other data keeps the id; another place in the log gives another one."""
    first = encode(record(7), NOON).event_id
    assert encode(record(7, source_digest="f" * 64, data={"other": True}, step_key=None), NOON).event_id == first
    others = [record(8, occurred_at=NOON + 7_000), record(7, run_id="another"), record(7, store_id="store-2")]
    assert first not in {encode(event, NOON).event_id for event in others}


@pytest.mark.soak
@given(st.data())
def test_an_own_event_is_identified_by_its_content(data: st.DataObject) -> None:
    """Its digest is the SHA-256 of what it says: all but what the recording adds and what it is correlated with."""
    event = data.draw(events().filter(lambda e: e.storage_id is None))
    encoded = encode(event, NOON)
    body = json.loads(encoded.entry)
    aside = {"event_id", "recorded_at", "source_digest", "trace_id", "release_id", "batch_id"}
    content = {name: value for name, value in body.items() if name not in aside}
    assert body["source_digest"] == hashlib.sha256(canonical(content)).hexdigest()
    assert encode(replace(event, data={**event.data, "one more": "member"}), NOON).event_id != encoded.event_id
    correlated = replace(event, trace_id="another", release_id="another", batch_id="another")
    assert encode(correlated, NOON).event_id == encoded.event_id


@given(st.integers(MAX_DATA_BYTES - 200, MAX_DATA_BYTES + 200))
def test_a_large_payload_lies_beside_its_entry(size: int) -> None:
    """From the limit on the entry names the payload by its SHA-256 and size, and nothing of it is lost."""
    data: dict[str, Any] = {"text": "x" * size}
    encoded = encode(own("plan.committed.v1", data=data), NOON)
    text = canonical(data)
    stated = str(dict(zip(COLUMNS, decode_entry(encoded.entry).values, strict=True))["data"])
    if len(text) <= MAX_DATA_BYTES:
        assert (encoded.blob, encoded.blob_sha256, blob_name(stated)) == (None, None, None)
        assert stated == text.decode()
    else:
        assert encoded.blob == text
        assert blob_name(stated) == encoded.blob_sha256 == hashlib.sha256(text).hexdigest()
        assert json.loads(stated) == {"blob_sha256": encoded.blob_sha256, "blob_size_bytes": len(text)}


@pytest.mark.parametrize(
    "data",
    [
        {"blob_sha256": "0" * 64, "blob_size_bytes": 1},
        {"blob_sha256": "../../etc/passwd", "blob_size_bytes": 1},
        {"blob_sha256": 5},
    ],
)
def test_data_that_imitates_a_payload_name_is_kept_as_a_payload(data: dict[str, Any]) -> None:
    """An event cannot make an entry point at a payload that is not its own."""
    encoded = encode(own("plan.committed.v1", data=data), NOON)
    assert encoded.blob == canonical(data)
    assert json.loads(encoded.entry)["data"]["blob_sha256"] == encoded.blob_sha256


class _Word(str, Enum):  # noqa: UP042 - whose str() is `_Word.PASSED`
    PASSED = "passed"


def test_the_member_of_an_enum_counts_as_its_text() -> None:
    """A caller's constant is recorded as what it stands for."""
    assert encode(own("run.seen.v1", outcome=_Word.PASSED), NOON) == encode(
        own("run.seen.v1", outcome="passed"), NOON
    )


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"event_type": "StepStarted"}, "event_type"),
    ({"event_type": "step.started"}, "event_type"),
    ({"event_type": "step.started.v0"}, "event_type"),
    ({"event_type": "started.v1"}, "event_type"),
    ({"event_type": "step.started.v1\n"}, "event_type"),
    ({"event_type": None}, "event_type"),
    ({"occurred_at": -1}, "occurred_at"),
    ({"occurred_at": MAX_TIME + 1}, "occurred_at"),
    ({"occurred_at": 1.5}, "occurred_at"),
    ({"occurred_at": True}, "occurred_at"),
    ({"occurred_at": None}, "occurred_at"),
    ({"storage_id": -1}, "storage_id"),
    ({"storage_id": MAX_INT + 1}, "storage_id"),
    ({"storage_id": 2**70}, "storage_id"),
    ({"storage_id": True}, "storage_id"),
    ({"storage_id": "7"}, "storage_id"),
    ({"attempt": -1}, "attempt"),
    ({"attempt": 2**31}, "attempt"),
    ({"attempt": False}, "attempt"),
    ({"run_id": 5}, "run_id"),
    ({"run_id": None}, "run_id"),
    ({"run_id": "a\0b"}, "NUL"),
    ({"store_id": "a\0b"}, "NUL"),
    ({"store_id": ""}, "store_id"),
    ({"store_id": None}, "store_id"),
    ({"source_digest": None}, "source_digest"),
    ({"source_digest": "F" * 64}, "source_digest"),
    ({"source_digest": "f" * 63}, "source_digest"),
    ({"job_name": b"bytes"}, "job_name"),
    ({"job_name": ["a"]}, "job_name"),
    ({"data": [1]}, "data"),
    ({"data": None}, "data"),
    ({"outcome": "great", "reason_code": "x"}, "outcome"),
    ({"outcome": True}, "outcome"),
    *[({"outcome": outcome}, "reason_code") for outcome in OUTCOMES if outcome != "passed"],
    ({"outcome": "failed", "reason_code": ""}, "reason_code"),
    ({"asset_key": "k" * MAX_ENTRY_BYTES}, "bytes; an entry has at most"),
]


@pytest.mark.parametrize(("changes", "named"), REFUSED, ids=range(len(REFUSED)))
def test_an_event_that_breaks_the_model_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    """The message names the member, and there is a next step."""
    with pytest.raises(UsageError, match=named) as caught:
        encode(replace(record(7), **changes), NOON)
    assert caught.value.next_step


@pytest.mark.parametrize("recorded_at", [-1, MAX_TIME + 1, True, 1.0])
def test_a_recording_time_out_of_range_is_refused(recorded_at: Any) -> None:
    """An object's name holds the time in 16 digits, and a segment holds microseconds."""
    with pytest.raises(UsageError, match="recorded_at"):
        encode(record(7), recorded_at)


def test_an_own_event_cannot_bring_its_own_digest() -> None:
    """The digest of what the ledger itself says is made here, from what it says."""
    with pytest.raises(UsageError, match="source_digest belongs to a record"):
        encode(own("run.seen.v1", source_digest="0" * 64), NOON)


def _entry(event: Event, **changes: Any) -> bytes:
    """Return an event's entry with members put in; `...` takes a member out. Ids are not made again."""
    body = {**json.loads(encode(event, NOON).entry), **changes}
    return canonical({name: value for name, value in body.items() if value is not ...})


BROKEN: list[tuple[bytes, str]] = [
    (b'{"data":{"x":"' + b"x" * MAX_ENTRY_BYTES + b'"}}', "at most 65535"),
    (b"", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b"[]", "a JSON list"),
    (encode(record(7), NOON).entry + b" ", "not canonical"),
    (encode(record(7), NOON).entry.replace(b'{"data"', b'{"data":{},"data"', 1), "not canonical"),
    (encode(record(7), NOON).entry.replace(b"record 7", b"record\xff7"), "not JSON"),
    (_entry(record(7), colour="red"), "unknown member 'colour'"),
    (_entry(record(7), index=1), "unknown member 'index'"),
    (_entry(record(7), event_type=...), "event_type is missing"),
    (_entry(record(7), data=...), "data is missing"),
    (_entry(record(7), recorded_at=...), "recorded_at is missing"),
    (_entry(record(7), event_id=...), "event_id None; its content gives"),
    (_entry(own("run.seen.v1"), source_digest=...), "source_digest None; its content gives"),
    (_entry(record(7), data=[]), "data is not dict"),
    (_entry(record(7), attempt=True), "attempt is not int"),
    (_entry(record(7), storage_id=False), "storage_id is not int"),
    (_entry(record(7), attempt="1"), "attempt is not int"),
    (_entry(record(7), step_key=None), "step_key is not str"),
    (_entry(record(7), step_key=1), "step_key is not str"),
    (_entry(record(7), attempt=2**31), "attempt"),
    (_entry(record(7), recorded_at=-1), "recorded_at"),
    (_entry(record(7), outcome="great"), "outcome"),
    (_entry(record(7), outcome="failed"), "reason_code"),
    (_entry(record(7), event_type="x"), "event_type"),
    (_entry(record(7), source_digest=""), "source_digest"),
    (_entry(record(7), store_id=...), "store_id"),
    (_entry(record(7), run_id="other"), "event_id .*; its content gives"),
    (_entry(record(7), occurred_at=NOON - 5_000), "event_id .*; its content gives"),
    (_entry(record(7), event_id="x"), "event_id x; its content gives"),
    (_entry(own("run.seen.v1"), run_id="other"), "event_id .*; its content gives"),
    (_entry(own("run.seen.v1"), source_digest="0" * 64), "source_digest 0.*; its content gives"),
]


@pytest.mark.parametrize(("entry", "problem"), BROKEN, ids=range(len(BROKEN)))
def test_an_entry_that_is_not_an_events_is_refused(entry: bytes, problem: str) -> None:
    """Reading is as strict as writing, and a broken entry is always an integrity failure."""
    with pytest.raises(IntegrityError, match=problem):
        decode_entry(entry)


@given(events(), st.data())
def test_no_single_changed_byte_of_an_entry_keeps_its_identity_unseen(event: Event, data: st.DataObject) -> None:
    """A changed entry is refused, or (a record's free members) differs in its columns."""
    entry = encode(event, NOON).entry
    position = data.draw(st.integers(0, len(entry) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda v: v != entry[position]))
    changed = entry[:position] + bytes([value]) + entry[position + 1 :]
    try:
        row = decode_entry(changed)
    except IntegrityError:
        return
    assert row.values != decode_entry(entry).values

"""Rows are sound exactly when their columns are those that follow from their entries."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from run_evidence.ledger import Event
from run_evidence.ledger.model.event import INTEGERS, decode_entry, encode
from run_evidence.ledger.model.schema import COLUMNS
from run_evidence.ledger.storage.rows import SCHEMA, table
from run_evidence.ledger.storage.sound import are_sound
from tests.ledger.samples import NOON, events, own, record, records, texts


def rows_of(several: list[Event]) -> pa.RecordBatch:
    """Return the rows that follow from events."""
    (batch,) = table([decode_entry(encode(event, NOON).entry) for event in several]).to_batches()
    return batch


def with_column(rows: pa.RecordBatch, name: str, values: list[Any]) -> pa.RecordBatch:
    """Return rows with other values in a column; text may be given as bytes, also when it is not UTF-8."""
    kind = SCHEMA.field(name).type
    if pa.types.is_string(kind):
        raw = [value.encode() if isinstance(value, str) else value for value in values]
        column = pa.array(raw, pa.binary()).view(pa.string())
    else:
        column = pa.array(values, pa.int64() if pa.types.is_timestamp(kind) else kind).cast(kind)
    return rows.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)


def plain(rows: pa.RecordBatch, name: str) -> list[Any]:
    """Return a column's values, times in microseconds."""
    column = rows.column(name)
    found: list[Any] = (column.view(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return found


@pytest.mark.soak
@given(st.lists(events(), min_size=1, max_size=6), st.data())
def test_what_follows_from_entries_is_sound_in_any_piece(several: list[Event], data: st.DataObject) -> None:
    """Records and own events, any text and payload, also in a slice that starts in the middle of its memory."""
    rows = rows_of(several)
    start = data.draw(st.integers(0, len(rows) - 1))
    assert are_sound(rows)
    assert are_sound(rows.slice(start, data.draw(st.integers(0, len(rows) - start))))


@pytest.mark.soak
@given(st.lists(events(), min_size=1, max_size=4), st.sampled_from(COLUMNS), st.data())
def test_no_other_value_in_a_column_is_sound(several: list[Event], name: str, data: st.DataObject) -> None:
    """A value is put in, taken out or exchanged, in one row, and the entry left as it was."""
    rows = rows_of(several)
    number = data.draw(st.integers(0, len(rows) - 1))
    values = plain(rows, name)
    others = st.integers(0, 2**31 - 1) if name in INTEGERS else texts | st.sampled_from(["", "{}", "passed"])
    value = data.draw(st.none() | others | st.sampled_from(values))
    assume(value != values[number])
    assert not are_sound(with_column(rows, name, [*values[:number], value, *values[number + 1 :]]))


@pytest.mark.soak
@given(st.lists(events(), min_size=1, max_size=4), st.data())
def test_no_other_byte_in_an_entry_is_sound(several: list[Event], data: st.DataObject) -> None:
    """The columns are left as they were."""
    rows = rows_of(several)
    number = data.draw(st.integers(0, len(rows) - 1))
    entries = plain(rows, "entry")
    at = data.draw(st.integers(0, len(entries[number]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != entries[number][at]))
    entries[number] = entries[number][:at] + bytes([byte]) + entries[number][at + 1 :]
    assert not are_sound(with_column(rows, "entry", entries))


FORGED: dict[str, dict[str, Any]] = {
    "a text that goes on as the next members": {"asset_key": 'a","attempt":5,"batch_id":"b', "attempt": None}
    | {"batch_id": None},
    "a text that goes on up to a later member": {
        "job_name": 'j","occurred_at":0,"outcome":"passed',
        "outcome": None,
    },
    "a payload that goes on as other members": {"data": '{},"event_id":"x"'},
    "an escape instead of what it stands for": {"partition": "\\n"},
}


@pytest.mark.parametrize("what", FORGED)
def test_a_column_that_holds_what_belongs_to_others_is_not_sound(what: str) -> None:
    """The columns would write the entry, if nobody looked at quotes and backslashes."""
    event = Event(
        event_type="run.seen.v1",
        occurred_at=0,
        asset_key="a",
        attempt=5,
        batch_id="b",
        job_name="j",
        outcome="passed",
        partition="\n",
    )
    rows = rows_of([event])
    assert are_sound(rows)
    for name, value in FORGED[what].items():
        rows = with_column(rows, name, [value])
    assert not are_sound(rows)


@pytest.mark.parametrize("text", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\x01", b"\x1f", b"\n", b'"', b"\\", b"\\x"])
@pytest.mark.parametrize("name", ["job_name", "asset_key", "data"])
def test_an_entry_and_a_column_that_agree_on_what_is_not_json_are_not_sound(name: str, text: bytes) -> None:
    """The same bytes stand raw in both, the ids follow: the entry is not canonical JSON in UTF-8 all the same."""
    marked = {"data": {"text": "MARK"}} if name == "data" else {name: "MARK"}
    rows = rows_of([record(1), record(2, **marked), record(3)])
    raw = [value.encode() for value in plain(rows, name)] if name == "data" else [None, b"MARK", None]
    if name == "job_name":
        raw = [b"week06_data_factory", b"MARK", b"week06_data_factory"]
    assert are_sound(with_column(rows, name, raw))
    rows = with_column(rows, "entry", [entry.replace(b"MARK", text) for entry in plain(rows, "entry")])
    assert not are_sound(with_column(rows, name, [value and value.replace(b"MARK", text) for value in raw]))


def test_text_that_has_to_be_escaped_is_sound_among_text_that_has_not() -> None:
    """One quote in a column takes the whole column through the encoder."""
    several = [record(n, step_key=key) for n, key in enumerate(['a"b', "plain", "\\", "é", "\x1b[0m", "", "𝄞"])]
    assert are_sound(rows_of(several))


@pytest.mark.parametrize("name", ["event_type", "occurred_at", "recorded_at", "data", "event_id", "source_digest"])
def test_a_member_that_every_entry_has_is_missed(name: str) -> None:
    """Column and entry agree that it is not there."""
    rows = rows_of([record(1)])
    (entry,) = plain(rows, "entry")
    (value,) = plain(rows, name)
    quote = "" if name in {*INTEGERS, "data"} else '"'
    member = f'"{name}":{quote}{value}{quote},'.encode()
    assert member in entry
    rows = with_column(rows, "entry", [entry.replace(member, b"")])
    assert not are_sound(with_column(rows, name, [None]))


def test_the_digest_of_an_own_event_is_that_of_its_content_wherever_it_stands() -> None:
    """Among records, the one of another event is seen in the first and the last place."""
    several = [own("run.seen.v1"), *records(range(3)), own("run.closed.v1")]
    rows = rows_of(several)
    assert are_sound(rows)
    other = hashlib.sha256(b"another").hexdigest()
    for number in (0, 4):
        digests, entries = plain(rows, "source_digest"), plain(rows, "entry")
        entries[number] = entries[number].replace(digests[number].encode(), other.encode())
        digests[number] = other
        assert not are_sound(with_column(with_column(rows, "source_digest", digests), "entry", entries))


def test_an_entry_may_be_as_long_as_allowed_and_no_longer() -> None:
    """Judged as `columns` judges it, one byte to either side of the limit."""
    rows = rows_of([record(1, data={"text": "x" * 30_000})])
    assert are_sound(rows)
    grown = {size: "x" * size for size in (65_535, 65_536)}
    (entry,), (data,) = plain(rows, "entry"), plain(rows, "data")
    rest = len(entry) - 30_000
    for size, text in grown.items():
        longer, payload = (value.replace("x" * 30_000, text[rest:]) for value in (entry.decode(), data))
        assert len(longer) == size
        changed = with_column(with_column(rows, "entry", [longer.encode()]), "data", [payload])
        assert are_sound(changed) is (size == 65_535)

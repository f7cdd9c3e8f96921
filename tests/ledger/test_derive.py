"""Deriving many entries at once says of each what deriving it alone says."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger import Event
from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.model.canonical import MAX_INT
from run_evidence.ledger.model.event import MAX_ENTRY_BYTES, decode_entry, encode, identity
from run_evidence.ledger.model.schema import COLUMNS
from run_evidence.ledger.sealing.batch import entries_of
from run_evidence.ledger.storage.derive import derived, take_apart
from run_evidence.ledger.storage.rows import table
from tests.ledger.samples import NOON, events, json_values, own, record, records
from tests.ledger.test_event_bytes import BROKEN


def derive(entries: Sequence[bytes]) -> pa.Table | None:
    """Take entries apart and see whether they are sound, as a seal does."""
    apart = take_apart(pa.array(entries, pa.binary()))
    rows = None if apart is None else derived(apart)
    return None if rows is None else pa.Table.from_batches([rows])


def alone(entries: Sequence[bytes]) -> pa.Table | None:
    """Derive each entry by itself; `None` when one is refused."""
    try:
        return table([decode_entry(entry) for entry in entries])
    except IntegrityError:
        return None


def rewritten(event: Event, **changes: Any) -> bytes:
    """Return an event's entry with members changed (`...` removes one), its ids made to follow where they can."""
    body = orjson.loads(encode(event, NOON).entry)
    for name, value in changes.items():
        if value is ...:
            body.pop(name, None)
        else:
            body[name] = value
    with contextlib.suppress(KeyError, TypeError, ValueError):
        body["event_id"], body["source_digest"] = identity(body)
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


@pytest.mark.soak
@given(st.lists(events(), max_size=6))
def test_sound_entries_are_derived_as_each_alone(several: list[Event]) -> None:
    """Whatever can be recorded is derived the fast way, with the same values."""
    entries = [encode(event, NOON).entry for event in several]
    rows = derive(entries)
    assert rows is not None
    assert rows == alone(entries)


def test_more_entries_than_are_read_at_a_time_stay_in_order() -> None:
    """Records and own events, in the order they came, over several pieces."""
    several = [event for n in range(300) for event in (record(n), own("run.seen.v1", f"run-{n}"))]
    entries = [encode(event, NOON).entry for event in several]
    rows = derive(entries)
    assert rows == alone(entries)
    assert rows is not None
    assert entries_of(rows).keys == [decode_entry(entry).key for entry in entries]


@pytest.mark.parametrize(("entry", "problem"), BROKEN, ids=range(len(BROKEN)))
def test_one_broken_entry_among_others_is_not_passed(entry: bytes, problem: str) -> None:
    """Where `columns` has something to say, the fast way gives up."""
    assert problem
    before, after = ([encode(event, NOON).entry for event in records(ids)] for ids in (range(3), range(3, 6)))
    assert derive([*before, *after]) is not None
    assert derive([*before, entry, *after]) is None


@pytest.mark.soak
@given(events(), st.data())
def test_a_changed_byte_is_judged_as_alone(event: Event, data: st.DataObject) -> None:
    """Bytes are replaced, removed or put in anywhere: both ways agree on what is left."""
    entry = encode(event, NOON).entry
    start = data.draw(st.integers(0, len(entry)))
    stop = data.draw(st.integers(start, min(start + 3, len(entry))))
    inserted = data.draw(st.binary(max_size=3) | st.sampled_from([b"\\u0041", b"1.0", b"1e3", b" ", b'"', b"null"]))
    changed = entry[:start] + inserted + entry[stop:]
    assert derive([changed]) == alone([changed])


odd_values = (
    json_values
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([..., True, False, 0, -1, 2**31, MAX_INT, MAX_INT + 1, -MAX_INT - 1, 2**63, "", "\0", "é"])
)


@pytest.mark.soak
@given(
    events() | st.sampled_from([record(7), own("run.seen.v1")]), st.sampled_from([*COLUMNS, "other"]), odd_values
)
def test_a_member_that_breaks_the_model_is_judged_as_alone(event: Event, name: str, value: Any) -> None:
    """A value of another type, out of range, missing or unknown, with ids that follow from it all the same."""
    entry = rewritten(event, **{name: value})
    assert derive([entry]) == alone([entry])


@pytest.mark.soak
@given(
    events(), st.dictionaries(st.text(max_size=3), odd_values.filter(lambda value: value is not ...), max_size=3)
)
def test_a_payload_out_of_bounds_is_judged_as_alone(event: Event, payload: dict[str, Any]) -> None:
    """Floats, integers beyond 2^53 − 1 and keys outside ASCII, at any depth."""
    entry = rewritten(event, data={"nested": [payload]})
    assert derive([entry]) == alone([entry])


@pytest.mark.parametrize("depth", range(245, 260))
def test_a_deep_payload_is_judged_as_alone(depth: int) -> None:
    """Both ways stop at the same level."""
    entry = encode(own("run.seen.v1"), NOON).entry
    entry = entry.replace(b'"data":{}', b'"data":{"d":' + b"[" * depth + b"]" * depth + b"}")
    assert derive([entry]) == alone([entry])


def test_an_entry_as_long_as_allowed_is_derived_and_a_longer_one_is_not() -> None:
    """The limit is the same."""
    length = len(rewritten(record(7), data={"text": ""}))
    longest = rewritten(record(7), data={"text": "x" * (MAX_ENTRY_BYTES - length)})
    assert len(longest) == MAX_ENTRY_BYTES
    assert derive([longest]) is not None
    assert derive([longest]) == alone([longest])
    longer = rewritten(record(7), data={"text": "x" * (MAX_ENTRY_BYTES - length + 1)})
    assert derive([longer]) is alone([longer]) is None

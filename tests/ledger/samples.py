"""Events for tests: records, the ledger's own, and Hypothesis strategies for anything that fits the model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from run_evidence.ledger import OUTCOMES, Event
from run_evidence.ledger.model.canonical import MAX_INT
from run_evidence.ledger.model.event import MAX_TIME

NOON = 1_776_427_200_000_000
"""2026-04-17T12:00:00Z in microseconds."""

RUN = "0c7e1f6a-3b7d-4f8e-9a51-2f6d8c4b1e90"


def record(storage_id: int, run_id: str = RUN, **changes: Any) -> Event:
    """Return the event of one record of the orchestrator's log; the same arguments give the same event."""
    values: dict[str, Any] = {
        "event_type": "step.started.v1",
        "occurred_at": NOON + storage_id * 1_000,
        "store_id": "store-1",
        "run_id": run_id,
        "storage_id": storage_id,
        "job_name": "week06_data_factory",
        "step_key": f"step_{storage_id % 3}",
        "source_digest": hashlib.sha256(f"{run_id} {storage_id}".encode()).hexdigest(),
        "data": {"message": f"record {storage_id}"},
    }
    return Event(**{**values, **changes})


def records(ids: Iterable[int], run_id: str = RUN) -> list[Event]:
    """Return the events of several records of one run."""
    return [record(storage_id, run_id) for storage_id in ids]


def own(event_type: str, run_id: str = RUN, occurred_at: int = NOON, **changes: Any) -> Event:
    """Return an event of the ledger's own."""
    return Event(event_type=event_type, occurred_at=occurred_at, store_id="store-1", run_id=run_id, **changes)


class Clock:
    """A clock that never shows the same microsecond twice."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> int:
        """Return the next microsecond."""
        self.now += 1
        return self.now


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INT, MAX_INT) | texts,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="ascii")), inner, max_size=4)
    ),
    max_leaves=12,
)
wild_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=12,
)
"""Whatever may turn up in a record: floats, huge integers, lone surrogates, keys outside ASCII."""

_event_types = st.from_regex(r"[a-z][a-z0-9_]{0,8}(\.[a-z][a-z0-9_]{0,8}){1,2}\.v[1-9][0-9]?", fullmatch=True)
_optional = st.none() | st.text(max_size=12)
_KEYS = (
    *("job_name", "step_key", "asset_key", "partition", "check_name"),
    *("trace_id", "release_id", "batch_id"),
)
_data: st.SearchStrategy[Any] = st.dictionaries(st.text(max_size=8), wild_values, max_size=4)
_digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Draw any event that fits the model: a record of the orchestrator or one of the ledger's own."""
    outcome = draw(st.none() | st.sampled_from(OUTCOMES))
    is_record = draw(st.booleans())
    identity: dict[str, Any] = {"store_id": draw(_optional), "run_id": draw(_optional)}
    if is_record:
        without_nul = st.text(st.characters(exclude_characters="\0"), max_size=12)
        identity = {
            "store_id": draw(without_nul.filter(bool)),
            "run_id": draw(without_nul),
            "storage_id": draw(st.integers(0, MAX_INT)),
            "source_digest": draw(_digests),
        }
    return Event(
        event_type=draw(_event_types),
        occurred_at=draw(st.integers(0, MAX_TIME)),
        attempt=draw(st.none() | st.integers(0, 2**31 - 1)),
        outcome=outcome,
        reason_code=draw(_optional if outcome in {None, "passed"} else st.text(min_size=1, max_size=12)),
        data=draw(_data),
        **{**identity, **{name: draw(_optional) for name in _KEYS}},
    )

"""The alarm: a record that was captured once now reads differently at its source."""

from __future__ import annotations

from typing import Any, Final

from run_evidence.ledger.model.canonical import canonical, parse_canonical
from run_evidence.ledger.model.event import Event

_CARRIED: Final = ("store_id", "run_id", "job_name", "step_key", "asset_key", "partition", "check_name")
_MAX_CARRIED: Final = 1_000
"""Longer keys are not repeated, so that the alarm always fits an entry; `rejected_event` has them."""


def conflict_event(recorded_digest: str, rejected: bytes) -> Event:
    """Return the alarm for an entry whose identity is taken by other contents. Nothing of it is lost.

    The same contradiction seen twice gives the same event, so it is recorded once.
    """
    body: dict[str, Any] = dict(parse_canonical(rejected))
    body.pop("recorded_at")
    return Event(
        event_type="record.conflicted.v1",
        occurred_at=body["occurred_at"],
        outcome="unknown",
        reason_code="record_changed_at_source",
        data={
            "event_id": body["event_id"],
            "recorded_digest": recorded_digest,
            "rejected_digest": body["source_digest"],
            "rejected_event": canonical(body).decode(),
        },
        **{name: body[name] for name in _CARRIED if len(body.get(name, "")) <= _MAX_CARRIED and name in body},
    )

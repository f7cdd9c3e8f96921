"""Corrections and erasure. Nothing recorded is edited: either is an event of its own that names the original.

The original keeps its index, its bytes and its proof; the views `effective_events` and `amendments` show what
holds now and every step to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.ledger import NEEDED_PAYLOADS
from run_evidence.ledger.model.canonical import Json
from run_evidence.ledger.model.event import OUTCOMES, Event, blob_name, encode
from run_evidence.ledger.query.snapshot import erased_payloads, open_snapshot
from run_evidence.ledger.storage.inbox import remove_blob

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger

AMENDED: Final = "event.amended.v1"
VOIDED: Final = "event.voided.v1"
ERASED: Final = "payload.erased.v1"

AMENDABLE: Final = (
    "job_name",
    "step_key",
    "asset_key",
    "partition",
    "check_name",
    "trace_id",
    "release_id",
    "batch_id",
    "outcome",
    "reason_code",
)
"""The columns that can be amended. Times, the run and where a record was stored are its identity, and stay."""

_CARRIED: Final = ("store_id", "run_id", "job_name")


def amend(
    ledger: Ledger, event_id: str, *, reason: str, actor: str, changes: Mapping[str, str] | None = None
) -> str:
    """Record that an event is to be read with these values instead; return the amendment's own event id.

    Without changes it is a remark. Cost: one look-up of the event.

    Raises: UsageError when there is no such event, a column cannot be amended, or no one and no reason is named.
    """
    wanted = dict(changes or {})
    if unknown := wanted.keys() - set(AMENDABLE):
        raise UsageError(
            f"{', '.join(sorted(unknown))} cannot be amended.", next_step=f"one of {', '.join(AMENDABLE)}"
        )
    if wanted.get("outcome", "passed") not in OUTCOMES:
        raise UsageError(f"{wanted['outcome']!r} is no outcome.", next_step=f"one of {', '.join(OUTCOMES)}")
    original = _find(ledger, event_id)
    outcome = wanted.get("outcome", original["outcome"])
    if outcome not in {None, "passed"} and not wanted.get("reason_code", original["reason_code"]):
        raise UsageError(f"Outcome {outcome!r} needs a reason_code.", next_step="--set reason_code=CODE")
    return _correct(ledger, AMENDED, original, reason, actor, {"changes": dict(wanted)})


def void(ledger: Ledger, event_id: str, *, reason: str, actor: str) -> str:
    """Record that an event does not count; return the void's own event id. Voiding an amendment withdraws it.

    Raises: UsageError when there is no such event, it is a void itself, or no one and no reason is named.
    """
    return _correct(ledger, VOIDED, _find(ledger, event_id), reason, actor, {"changes": {}})


def erase(ledger: Ledger, event_id: str, *, reason: str, actor: str) -> str:
    """Remove the payload of an event that is kept outside its entry, and record that; return the payload's SHA-256.

    The entry stays, with the digest of what was there, so the log verifies as before. Recorded first: after a
    crash the payload is still there, `verify` says so, and erasing it again finishes what was begun without a
    second record. An event with the same payload loses it too, and it does not come back when it is appended again.

    Raises: UsageError when there is no such event, its payload is in the entry itself or needed to judge the
    run, or no one and no reason is named.
    """
    original = _find(ledger, event_id)
    name = blob_name(original["data"])
    if name is None:
        raise UsageError(
            f"The payload of event {event_id} is in its entry, which nothing can be taken out of.",
            next_step="declare such events personal before they are recorded: docs/trust.md",
        )
    if original["event_type"] in NEEDED_PAYLOADS | {AMENDED, VOIDED, ERASED}:
        raise UsageError(
            f"Event {event_id} is {original['event_type']}: without its payload the run could not be judged.",
            next_step="only what a run recorded can be erased",
        )
    _require_said(reason, actor)
    if name not in erased_payloads(ledger):
        ledger.append([_event(ledger, ERASED, original, reason, actor, {"erased_sha256": name})])
    remove_blob(ledger.store, name)
    return name


def _find(ledger: Ledger, event_id: str) -> dict[str, Any]:
    columns = ("event_id", "event_type", "outcome", "reason_code", "data", *_CARRIED)
    with open_snapshot(ledger, views=("events",), payloads=False) as snapshot:
        rows = snapshot.rows(
            f"SELECT {', '.join(columns)} FROM events WHERE event_id = $event_id",  # noqa: S608 - our own names
            {"event_id": event_id},
        )
    if not rows:
        raise UsageError(
            f"There is no event {event_id}.",
            next_step="find it: ledger query \"SELECT event_id, event_type FROM events WHERE run_id = '…'\"",
        )
    return dict(zip(columns, rows[0], strict=True))


def _correct(
    ledger: Ledger, event_type: str, original: Mapping[str, Any], reason: str, actor: str, said: dict[str, Json]
) -> str:
    _require_said(reason, actor)
    corrects = str(original["event_type"])
    if corrects == VOIDED or (corrects == AMENDED and event_type == AMENDED):
        raise UsageError(
            f"{original['event_id']} is a correction itself ({corrects}).",
            next_step="void an amendment to withdraw it; amend the original event again; a void stays",
        )
    event = _event(ledger, event_type, original, reason, actor, said)
    ledger.append([event])
    return encode(event, event.occurred_at).event_id


def _require_said(reason: str, actor: str) -> None:
    if not reason.strip() or not actor.strip():
        raise UsageError("A correction names who makes it and why.", next_step="--actor NAME --reason TEXT")


def _event(
    ledger: Ledger, event_type: str, original: Mapping[str, Any], reason: str, actor: str, said: dict[str, Json]
) -> Event:
    """Return the event that says it, as it will be recorded: about the same run as the original."""
    event = Event(
        event_type=event_type,
        occurred_at=ledger.clock(),
        data={"target_event_id": original["event_id"], "actor": actor, "reason": reason, **said},
        **{name: original[name] for name in _CARRIED if original[name] is not None},
    )
    return ledger.redacted(event)

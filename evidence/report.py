"""The run evidence report `run_evidence_report_v1`: one run of any Dagster project, whole, as one document.

A pure function of a prefix of the ledger: no clock, no path, no environment, so a stranger who has the same
prefix derives the same bytes. Every statement names the ledger indexes and event ids it rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from run_evidence.evidence.corrections import Correction
from run_evidence.evidence.document import Document, timestamp
from run_evidence.evidence.facts import QUERIES, JudgedRun, read_runs
from run_evidence.evidence.prefix import open_prefix, query_digests, unknown_run
from run_evidence.evidence.provenance import read_from
from run_evidence.evidence.recorded_event import Recorded

if TYPE_CHECKING:
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.ledger import AsOf, Ledger, Outcome

SCHEMA_VERSION: Final = "run_evidence_report_v1"


def derive_report(prefix: Prefix, run_id: str) -> Document:
    """Derive the report of one run from a prefix. Raises `UsageError` when the prefix has no such run."""
    found = read_runs(prefix, [run_id])
    if not found:
        raise unknown_run(run_id, [])
    return report_of(prefix, found[0])


def read_report(ledger: Ledger, run_id: str, as_of: AsOf) -> Document:
    """Derive the report of one run from a ledger. Raises: what `derive_report` raises."""
    with open_prefix(ledger, as_of) as prefix:
        return derive_report(prefix, run_id)


def report_of(prefix: Prefix, facts: JudgedRun) -> Document:
    """Write the report of a run that was read from this prefix."""
    index_of = {event.event_id: event.index for event in facts.events}
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "final" if facts.final else "interim",
        "statement": statement(prefix, facts),
        "run": _run(facts),
        "verdict": _verdict(facts),
        "items": [_item(outcome, index_of, facts) for outcome in facts.outcomes],
        "checks": [_check(event) for event in facts.checks],
        "products": [_product(event) for event in facts.products],
        "skips": [_skip(event) for event in facts.skips],
        "failures": [_failure(event) for event in facts.failures],
        "corrections": [_correction(c, index_of, facts) for c in facts.corrections],
        "capture": _capture(facts),
        "provenance": provenance(prefix, facts),
    }


def statement(prefix: Prefix, facts: JudgedRun) -> str:
    """Say in a sentence what the document is worth: final or not, and as of what."""
    where = read_from(prefix)
    if prefix.head is not None:
        where += f" ({prefix.signing.sentence})"
    return f"{where}{', ' if facts.final else '; interim: '}{made_when(facts)}."


def made_when(facts: JudgedRun) -> str:
    """Say when in the run's life its document was made, which is what makes it final or interim."""
    if facts.final:
        return "after the run had ended and its log was read whole"
    if facts.row.closing:
        return "records came after the run was closed, and it is not closed again"
    if facts.row.ended_at is None:
        return "made while the run was running"
    return "the run has ended and is not closed yet"


def _run(facts: JudgedRun) -> Document:
    row = facts.row
    return {
        "run_id": row.run_id,
        "job_name": row.job_name,
        "partition": row.partition,
        "dagster_status": row.status,
        "started_at": timestamp(row.started_at),
        "ended_at": None if row.ended_at is None else timestamp(row.ended_at),
        "late_events": row.late_events,
        "store_id": row.store_id,
        "trace_id": row.trace_id,
        "release_id": row.release_id,
        "batch_id": row.batch_id,
        "tags": dict(facts.tags),
    }


def _verdict(facts: JudgedRun) -> Document:
    verdict = facts.verdict
    return {
        "verdict": verdict.verdict,
        "reason_code": verdict.reason_code,
        "reason": verdict.reason,
        "denominators": verdict.denominators.sentence,
        "planned": verdict.denominators.planned,
        "counts": dict(verdict.denominators.counts),
        "not_planned": {name: n for name, n in verdict.denominators.unplanned.items() if n},
        "optional_left_out": [
            {
                "asset_key": o.item.asset_key,
                "partition": o.item.partition,
                "check_name": o.item.check_name,
                "reason_code": o.reason_code,
            }
            for o in verdict.absent
        ],
        "amended_by": [{"event_id": c.event_id, "index": c.index} for c in verdict.corrections],
    }


def of_outcome(outcome: Outcome) -> Document:
    """Write an item and what became of it, in the words of the entry that recorded it."""
    item = outcome.item
    return {
        "asset_key": item.asset_key,
        "partition": item.partition,
        "check_name": item.check_name,
        "kind": item.kind,
        "required": item.required,
        "planned": outcome.planned,
        "step_key": item.step_key,
        "attempts": outcome.attempts,
        "outcome": outcome.outcome,
        "verdict": outcome.verdict,
        "reason_code": outcome.reason_code,
        "reason": outcome.reason,
    }


def _item(outcome: Outcome, index_of: Mapping[str, int | None], facts: JudgedRun) -> Document:
    corrected = [c for c in facts.corrections if c.target_event_id in outcome.basis]
    return {
        **of_outcome(outcome),
        "basis": [{"event_id": event_id, "index": index_of.get(event_id)} for event_id in outcome.basis],
        "amended_by": [{"event_id": c.event_id, "index": c.index} for c in corrected],
    }


def _about(event: Recorded) -> dict[str, Any]:
    return {
        "index": event.index,
        "event_id": event.event_id,
        "occurred_at": timestamp(event.occurred_at),
        "step_key": event.step_key,
        "attempt": event.attempt,
        "asset_key": event.asset_key,
        "partition": event.partition,
    }


def _measured(event: Recorded) -> dict[str, Any]:
    entries = [{"label": m.label, "type": m.kind, "value": m.value} for m in event.metadata]
    return {"metadata": entries, "payload_sha256": event.payload, "payload_state": event.payload_state}


def _check(event: Recorded) -> Document:
    return {
        **_about(event),
        "check_name": event.check_name,
        "outcome": event.outcome,
        "severity": event.data.get("severity"),
        "blocking": event.data.get("blocking"),
        "description": event.data.get("description"),
        **_measured(event),
    }


def _product(event: Recorded) -> Document:
    return {
        **_about(event),
        "event_type": event.event_type,
        "data_version": event.data.get("data_version"),
        "code_version": event.data.get("code_version"),
        **_measured(event),
    }


def _skip(event: Recorded) -> Document:
    return {
        **_about(event),
        "declared": event.event_type == "asset.skipped.v1",
        "outcome": event.outcome,
        "reason_code": event.reason_code,
        "reason": event.message,
    }


def _failure(event: Recorded) -> Document:
    return {
        **_about(event),
        "event_type": event.event_type,
        "reason_code": event.reason_code,
        "error_class": event.error_class,
        "message": event.message,
        **_measured(event),
    }


def _correction(correction: Correction, index_of: Mapping[str, int | None], facts: JudgedRun) -> Document:
    target = correction.target_event_id
    return {
        "index": correction.index,
        "event_id": correction.event_id,
        "recorded_at": timestamp(correction.recorded_at),
        "action": correction.action,
        "target": {"event_id": target, "index": index_of.get(target)},
        "actor": correction.actor,
        "reason": correction.reason,
        "changes": dict(correction.changes),
        "verdict_rests_on_it": correction in facts.verdict.corrections,
    }


def _capture(facts: JudgedRun) -> Document | None:
    """Say how many records were read on both sides when the run was closed; nothing before that."""
    closing = facts.closing
    if closing is None:
        return None
    counted = (
        "dagster_records",
        "ledger_records",
        "log_lines",
        "unreadable_records",
        "last_storage_id",
        "revision",
    )
    return {name: closing.data.get(name) for name in counted}


def provenance(prefix: Prefix, facts: JudgedRun) -> Document:
    """Say what was read and how, so that anyone derives the same document again."""
    head, by = prefix.head, prefix.as_of.occurred_by
    indexes = [event.index for event in facts.events if event.index is not None]
    return {
        "checkpoint": None
        if head is None
        else {"origin": head.origin, "size": head.size, "root_sha256": head.root.hex()},
        "checkpoint_note": _checkpoint_note(prefix),
        "signature": {"signed": bool(prefix.signing.signed_by), "verifier_keys": list(prefix.signing.signed_by)},
        "only_what_happened_by": None if by is None else timestamp(by),
        "events_read": len(facts.events),
        "events_unsealed": len(facts.events) - len(indexes),
        "first_index": min(indexes, default=None),
        "last_index": max(indexes, default=None),
        "queries": query_digests(QUERIES),
    }


def _checkpoint_note(prefix: Prefix) -> str:
    if prefix.head is not None and prefix.stored:
        return "The tree head over the log's first `size` entries; `ledger verify` recalculates it."
    if prefix.head is not None:
        return "The tree head over the log's first `size` entries, calculated: no checkpoint was written there."
    if prefix.snapshot.sealed:
        return "No checkpoint is of exactly what was read."
    return "Nothing is sealed in this ledger, so there is no checkpoint; `ledger seal` makes one."

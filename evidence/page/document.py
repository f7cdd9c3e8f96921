"""The document of a page `evidence_page_v1`: everything that the page shows, as values that rest on entries.

A pure function of a prefix of the ledger and of a gate's policy, like every document. The page is its drawing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from run_evidence.evidence.document import Document, timestamp
from run_evidence.evidence.facts import PARENT, JudgedRun, identity_of
from run_evidence.evidence.gate_subject import SHORT_ID
from run_evidence.evidence.gate_text import rules_json
from run_evidence.evidence.page.graph import depths_of
from run_evidence.evidence.page.timeline import Attempt, attempts
from run_evidence.evidence.page.words import LETTERS, UNPLANNED, headline
from run_evidence.evidence.prefix import query_text
from run_evidence.evidence.profile import HOLDING_BACK
from run_evidence.evidence.report import made_when, of_outcome
from run_evidence.evidence.verdict import by_gravity, item_name
from run_evidence.ledger import format_vkey, read_records

if TYPE_CHECKING:
    from run_evidence.evidence.compare import Comparison
    from run_evidence.evidence.contradictions import Declared
    from run_evidence.evidence.gate import Gate
    from run_evidence.evidence.gate_subject import Part
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.evidence.recorded_event import Recorded
    from run_evidence.ledger import Outcome

SCHEMA_VERSION: Final = "evidence_page_v1"
VIEWS: Final = ("check_history",)
"""The ledger's views that a page needs beside those of a gate."""

ROW_COUNTS: Final = ("dagster/row_count", "row_count")
"""Labels of metadata that are counts of rows by Dagster's own convention, whatever a profile declares."""

_LENGTH: Final = 20


def page_document(
    prefix: Prefix, gate: Gate, declared: Declared, changed: tuple[str, Comparison] | None = None
) -> Document:
    """Return what a page says of a gate's subject. `changed` are the run before it, and what changed since.

    Items, steps and products name the entries that they rest on; `parts` count items by their place in `items`.
    """
    subject = gate.subject
    whole = [(facts, _outcomes(facts, subject.parts)) for facts in subject.runs]
    items = [_item(facts, outcome) for facts, outcomes in whole for outcome in outcomes]
    place = {(facts.row.run_id, *identity_of(o)): n for n, (facts, o) in enumerate(_flat(whole))}
    words = headline(gate)
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "final" if subject.runs and all(facts.final for facts in subject.runs) else "interim",
        "headline": {
            "shape": words.shape,
            "word": words.word,
            "tone": words.tone,
            "named": _named(gate),
            "sentence": _sentence(gate),
            "gate": gate.sentence,
        },
        "rules": rules_json(gate.rules),
        "parts": [_part(part, place) for part in subject.parts],
        "items": items,
        "left_out": [
            place[facts.row.run_id, *identity_of(o)]
            for facts, os in whole
            for o in by_gravity(os)
            if o.verdict != "passed"
        ],
        "map": _map(whole),
        "checks": _check_history(prefix, whole),
        "counts": [row for facts, _ in whole for row in _counts(facts, declared)],
        "runs": [_run(facts) for facts in subject.runs],
        "changed": _changes(changed),
        "sign_offs": [found.sentence for _, found in gate.signed_off if found is not None],
        "statement": _statement(prefix, subject.runs),
        "keys": [format_vkey(record.verifier) for record in read_records(prefix.ledger.store)],
        "provenance": _provenance(prefix, subject.runs),
    }


def _flat(whole: Sequence[tuple[JudgedRun, Sequence[Outcome]]]) -> Iterator[tuple[JudgedRun, Outcome]]:
    return ((facts, outcome) for facts, outcomes in whole for outcome in outcomes)


def _outcomes(facts: JudgedRun, parts: Sequence[Part]) -> list[Outcome]:
    """Return the outcomes of a run that its parts are judged by, as the log recorded them, assets in graph order.

    A profile may count an item as optional; what the entry says of it stays.
    """
    judged = {identity_of(o) for part in parts if part.facts is facts for o in part.outcomes}
    found = [o for o in (*facts.outcomes, *facts.inherited) if identity_of(o) in judged]
    depths = depths_of(facts.after)
    depth = {o.item.asset_key: depths.get(o.item.step_key or "", 0) for o in found if o.item.kind != "check"}
    return sorted(
        found,
        key=lambda o: (
            depth.get(o.item.asset_key, 0),
            o.item.asset_key,
            o.item.partition or "",
            o.item.check_name or "",
        ),
    )


def _statement(prefix: Prefix, runs: Sequence[JudgedRun]) -> str:
    """Say of how much of the log the page is, and when in the life of its runs it was made."""
    signed = "signed" if prefix.signing.signed_by else "not signed"
    of = f"As of the first {prefix.snapshot.sealed} entries of the log ({signed})"
    unfinished = [facts for facts in runs if not facts.final]
    return f"{of}, {made_when((unfinished or list(runs))[0])}." if runs else f"{of}."


def _named(gate: Gate) -> str:
    """Name what the page is about as a person would: of a run also its job and its partition."""
    asked, runs = gate.subject.asked, gate.subject.runs
    if asked.run_id is None or not runs:
        return asked.named
    row = runs[0].row
    of_job = f" of {row.job_name}" if row.job_name else ""
    return f"run {row.run_id[:SHORT_ID]}{of_job}" + (f" [{row.partition}]" if row.partition else "")


def _sentence(gate: Gate) -> str:
    """Say in one sentence what became of what was planned, and the first reason why not all of it passed."""
    parts, runs = gate.subject.parts, gate.subject.runs
    if not parts:
        return "0 of 0 planned: there is nothing to judge"
    worst = max(parts, key=_gravity)
    told, reason = worst.verdict.denominators.sentence, worst.verdict.reason
    sentence = f"{told}: {reason}" if reason else told
    if len(runs) == 1:
        return sentence
    verdicts = Counter(facts.verdict.verdict for facts in runs)
    passed = [f"{verdicts.pop('passed', 0)} of {len(runs)} runs passed"]
    others = [f"{count} {verdict.replace('_', ' ')}" for verdict, count in sorted(verdicts.items())]
    return f"{', '.join([*passed, *others])}. The gravest, {worst.name}: {sentence}"


def _gravity(part: Part) -> int:
    return HOLDING_BACK.index(part.decision) + 1 if part.decision in HOLDING_BACK else 0


def _part(part: Part, place: Mapping[tuple[str, str, str | None, str | None], int]) -> Document:
    denominators = part.verdict.denominators
    return {
        "name": part.name,
        "run_id": part.facts.row.run_id,
        "product": part.delivery.asset_key if part.delivery else None,
        "partition": (part.delivery.partition or None) if part.delivery else None,
        "verdict": part.verdict.verdict,
        "decision": part.decision,
        "reason_code": part.verdict.reason_code,
        "reason": part.verdict.reason,
        "denominators": denominators.sentence,
        "counts": {heading: n for heading, n in denominators.counts.items() if n},
        "not_planned": {heading: n for heading, n in denominators.unplanned.items() if n},
        "items": [place[part.facts.row.run_id, *identity_of(o)] for o in part.outcomes],
    }


def _item(facts: JudgedRun, outcome: Outcome) -> Document:
    """Write an item's outcome. No entry states that of an open run yet, so nothing is compared."""
    basis = [{"entry": event.index} for event in facts.rests_on(outcome) if event.index is not None]
    return {
        "run_id": facts.row.run_id,
        "name": item_name(outcome),
        "letter": LETTERS[outcome.verdict],
        **of_outcome(outcome),
        "why": facts.why(outcome),
        ("basis" if facts.final else "so_far"): basis,
    }


def _map(whole: Sequence[tuple[JudgedRun, Sequence[Outcome]]]) -> Document:
    """Return assets × partitions, in a cell the places of its items, the asset before its checks."""
    assets = list(dict.fromkeys(o.item.asset_key for _, o in _flat(whole)))
    partitions = sorted({_column(facts, o) for facts, o in _flat(whole)})
    cells: dict[tuple[str, str], list[int]] = {}
    for n, (facts, outcome) in enumerate(_flat(whole)):
        cells.setdefault((outcome.item.asset_key, _column(facts, outcome)), []).append(n)
    return {
        "assets": assets,
        "partitions": partitions,
        "cells": [[cells.get((asset, partition), []) for partition in partitions] for asset in assets],
        "unplanned": UNPLANNED,
    }


def _column(facts: JudgedRun, outcome: Outcome) -> str:
    """Return the partition under which an item is shown: its own, else the one of its run, else none at all."""
    return outcome.item.partition or facts.row.partition or ""


def _check_history(prefix: Prefix, whole: Sequence[tuple[JudgedRun, Sequence[Outcome]]]) -> list[Document]:
    """Return each check with its verdicts in the last runs that planned it, the newest last."""
    keys = sorted({o.item.asset_key for _, o in _flat(whole) if o.item.check_name is not None})
    wanted = {identity_of(o) for _, o in _flat(whole) if o.item.check_name is not None}
    rows = prefix.snapshot.rows(query_text("check_history_of"), {"asset_keys": keys})
    return [
        {
            "asset_key": asset_key,
            "check_name": check_name,
            "partition": partition,
            "results": "".join(LETTERS[verdict] for verdict in list(results)[:_LENGTH][::-1]),
            "runs": runs,
        }
        for asset_key, check_name, partition, results, runs in rows
        if (asset_key, partition, check_name) in wanted
    ]


def _counts(facts: JudgedRun, declared: Declared) -> Iterator[Document]:
    """Yield the row counts of what a run made, in the order of its graph: those that are declared as counts."""
    labels = (*filter(None, (declared.read, declared.written)), *sorted(declared.counts), *ROW_COUNTS)
    for event in facts.products:
        for label in dict.fromkeys(labels):
            value = event.measured(label)
            if isinstance(value, int) and not isinstance(value, bool):
                yield {**_about(event), "run_id": facts.row.run_id, "label": label, "count": value}


def _about(event: Recorded) -> Document:
    return {
        "entry": event.index,
        "occurred_at": timestamp(event.occurred_at),
        "event_type": event.event_type,
        "asset_key": event.asset_key,
        "partition": event.partition,
        "step_key": event.step_key,
    }


def _run(facts: JudgedRun) -> Document:
    row = facts.row
    closing = facts.closing
    return {
        "run_id": row.run_id,
        "job_name": row.job_name,
        "partition": row.partition,
        "dagster_status": row.status,
        "verdict": facts.verdict.verdict,
        "denominators": facts.verdict.denominators.sentence,
        "started_at": timestamp(row.started_at),
        "ended_at": None if row.ended_at is None else timestamp(row.ended_at),
        "release_id": row.release_id,
        "trace_id": row.trace_id,
        "batch_id": row.batch_id,
        "events": len(facts.events),
        "records": None if closing is None else closing.data.get("ledger_records"),
        "late_events": row.late_events,
        "inherits_from": _inherits_from(facts),
        "after": {step: list(before) for step, before in facts.after.items()},
        "steps": [_attempt(each) for each in attempts(facts)],
        "failures": [{**_about(e), "reason_code": e.reason_code, "told": e.words} for e in facts.failures],
        "corrections": [facts.target_of(c) + ": " + c.sentence for c in facts.corrections],
    }


def _inherits_from(facts: JudgedRun) -> list[str]:
    """Return the runs that a re-execution takes outcomes over from, which are recorded as theirs."""
    tags = (facts.tags.get(PARENT), facts.tags.get("dagster/root_run_id")) if facts.inherited else ()
    return list(dict.fromkeys(filter(None, tags)))


def _attempt(attempt: Attempt) -> Document:
    return {
        "step_key": attempt.step_key,
        "attempt": attempt.number,
        "status": attempt.status,
        "seconds": attempt.seconds,
        "ready_at": None if attempt.ready_at is None else timestamp(attempt.ready_at),
        "started": None if attempt.started is None else _moment(attempt.started),
        "ended": None if attempt.ended is None else _moment(attempt.ended),
    }


def _moment(event: Recorded) -> Document:
    return {"entry": event.index, "occurred_at": timestamp(event.occurred_at)}


def _changes(changed: tuple[str, Comparison] | None) -> Document | None:
    if changed is None:
        return None
    before, comparison = changed
    return {
        "since": before,
        "same": comparison.same,
        "whole": [_change(change) for change in comparison.whole],
        "items": [
            {
                "name": " ".join(
                    filter(None, [item.asset_key, item.partition and f"[{item.partition}]", item.check_name])
                ),
                "changes": [_change(change) for change in item.changes],
            }
            for item in comparison.items
        ],
    }


def _change(change: Any) -> Document:
    shown = {"before": change.before, "after": change.after}
    return {"what": change.what, **{name: "" if value is None else str(value) for name, value in shown.items()}}


def _provenance(prefix: Prefix, runs: Iterable[JudgedRun]) -> Document:
    head = prefix.head
    indexes = [event.index for facts in runs for event in facts.events if event.index is not None]
    return {
        "checkpoint": None
        if head is None
        else {"origin": head.origin, "size": head.size, "root_sha256": head.root.hex()},
        "signature": {"signed": bool(prefix.signing.signed_by), "verifier_keys": list(prefix.signing.signed_by)},
        "entries": len(indexes),
        "first_index": min(indexes, default=None),
        "last_index": max(indexes, default=None),
    }

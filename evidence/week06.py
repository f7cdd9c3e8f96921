"""The hand-over contract `week06_run_evidence_v1`: one JSON object for each run × product partition.

What Week07 and Week08 read before they build on a partition. It says less than the run evidence report and
says it in the contract's words; every value comes from the ledger, and what is not known is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from run_evidence.evidence.document import Document, timestamp
from run_evidence.evidence.facts import JudgedRun
from run_evidence.evidence.recorded_event import Recorded
from run_evidence.evidence.verdict import RunVerdict, by_gravity, had_nothing_to_check, judge, weigh
from run_evidence.ledger.model.outcomes import Outcome
from run_evidence.ledger.model.plan import ancestors
from run_evidence.ledger.model.stated import identifier, is_identifier

SCHEMA_VERSION: Final = "week06_run_evidence_v1"
PREFIX: Final = "week06/"
PRODUCT: Final = "week06/silver/ticket_fact_partitioned"
LAKEHOUSE: Final = "week06/external/lakehouse_state"
MART: Final = "week06/external/support_kpi_mart"
DRY_RUN: Final = "dry_run_no_db_write"
AMENDED: Final = "evidence_amended"
NOT_SIGNED: Final = "checkpoint_not_signed"

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_STATUS: Final[Mapping[str, str]] = {
    "passed": "success",
    "warned": "warning",
    "skipped": "skipped",
    "not_available": "not_available",
    "not_evaluated": "failed",
    "unknown": "failed",
    "failed": "failed",
}
_CHECK_STATUS: Final[Mapping[str, str]] = {
    "check_passed": "passed",
    "check_warned": "warning",
    "check_skipped": "skipped",
    "check_failed": "failed",
}
_HOLDING: Final = frozenset({"failed", "not_evaluated", "unknown"})
_DECISIONS: Final = ("proceed_to_week07", "manual_review_required", "dry_run_only", "hold_downstream")
"""The contract's decisions, the freest first."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A run's part in one partition of the product: the items and events that bear on it, and its verdict."""

    facts: JudgedRun
    asset_key: str
    partition: str
    outcomes: tuple[Outcome, ...]
    verdict: RunVerdict

    @property
    def product(self) -> Outcome:
        """What became of the product itself."""
        of_key = (o for o in self.outcomes if o.item.asset_key == self.asset_key and o.item.kind != "check")
        return next(of_key)

    @property
    def status(self) -> str:
        """The contract's status. An open run is a warning at best, since nobody knows what it comes to.

        So is a run whose verdict rests on events that were corrected since.
        """
        if self.facts.final:
            status = _STATUS[self.verdict.verdict]
            return "warning" if status == "success" and self.verdict.corrections else status
        return "failed" if any(w == "failed" for w, _ in weigh(self.outcomes)) else "warning"

    @property
    def decision(self) -> str:
        """What those downstream may do with the partition.

        Proceeding takes a closed run that passed and made the product itself, and whose evidence nobody corrected.
        A dry run is one that says so and wrote nothing; anything else is for a person to look at. What an asset
        states as its own `downstream_decision` can hold the partition back, and cannot set it free.
        """
        stated = {str(event.measured("downstream_decision")) for event in self.events(self.facts.products)}
        return max([self._derived_decision, *stated.intersection(_DECISIONS)], key=_DECISIONS.index)

    @property
    def _derived_decision(self) -> str:
        if not self.facts.final or self.verdict.verdict in _HOLDING:
            return "hold_downstream"
        made = self.product.outcome == "materialized"
        if not made and DRY_RUN in {*(o.reason_code for o in self.outcomes), *self.stated_codes}:
            return "dry_run_only"
        sound = self.verdict.verdict == "passed" and not self.verdict.corrections
        if sound and made and self.asset_key == PRODUCT:
            return "proceed_to_week07"
        return "manual_review_required"

    @property
    def stated_codes(self) -> tuple[str, ...]:
        """The reason codes of materializations that say of themselves that they are none, or only half of one."""
        basis = {event_id for o in self.outcomes if o.verdict != "passed" for event_id in o.basis}
        produced = self.events(self.facts.products)
        return tuple(code for event in produced if event.event_id in basis for code in event.reason_codes)

    def events(self, of: Iterable[Recorded]) -> Iterator[Recorded]:
        """Yield those events that are about this partition, or about none in particular."""
        return (event for event in of if event.partition in {None, self.partition})


def deliveries(facts: JudgedRun) -> tuple[Delivery, ...]:
    """Return a run's deliveries by partition; none for a run that planned no daily partition of Week06."""
    asset_key = _product_of(facts)
    if asset_key is None:
        return ()
    days = {
        o.item.partition or facts.row.partition
        for o in facts.outcomes
        if o.item.asset_key == asset_key and o.planned
    }
    return tuple(_delivery(facts, asset_key, day) for day in sorted(d for d in days if d and _DAY.fullmatch(d)))


def _product_of(facts: JudgedRun) -> str | None:
    """Return the product asset when it was planned, else the planned Week06 asset furthest downstream."""
    planned = {
        o.item.asset_key: o.item.step_key or ""
        for o in facts.outcomes
        if o.item.kind == "materialize" and o.item.required and o.planned and o.item.asset_key.startswith(PREFIX)
    }
    if PRODUCT in planned or not planned:
        return PRODUCT if planned else None
    return max(planned, key=lambda key: (len(list(ancestors(facts.after, planned[key]))), key))


def _delivery(facts: JudgedRun, asset_key: str, partition: str) -> Delivery:
    outcomes = tuple(_by_contract(o) for o in facts.outcomes if o.item.partition in {None, partition})
    verdict = judge(
        outcomes,
        status=facts.row.status,
        closed=facts.row.closed,
        corrections=facts.corrections,
        derived_in=facts.derived_in,
    )
    return Delivery(facts, asset_key, partition, outcomes, verdict)


def _by_contract(outcome: Outcome) -> Outcome:
    """Take Week04's and Week05's states as optional, which the contract says they are, declared so or not."""
    if outcome.item.asset_key not in {LAKEHOUSE, MART}:
        return outcome
    return replace(outcome, item=replace(outcome.item, required=False))


def contract_document(delivery: Delivery, report_path: str, *, signed: bool) -> Document:
    """Write one delivery in the contract's words. `report_path` is relative to the folder of documents.

    The contract has no field for signatures: where the checkpoint is not signed a reason code says so, where it is
    the report that `report_path` names has the verifier key, and its name the key's id.
    """
    row = delivery.facts.row
    ended_at = row.ended_at
    if ended_at is None:  # an interim document: the run's latest event stands for its end
        ended_at = max(event.occurred_at for event in delivery.facts.events)
    return {
        "evidence_schema_version": SCHEMA_VERSION,
        "run_id": row.run_id,
        "asset_key": delivery.asset_key,
        "partition_key": delivery.partition,
        "status": delivery.status,
        "started_at": timestamp(row.started_at),
        "finished_at": timestamp(ended_at),
        "report_path": report_path,
        "reason_codes": list(dict.fromkeys([*_reason_codes(delivery), *([] if signed else [NOT_SIGNED])])),
        "downstream_decision": delivery.decision,
        "checks": [
            *(_check(delivery, o) for o in delivery.outcomes if o.item.kind == "check"),
            *([_corrections(delivery)] if delivery.verdict.corrections else []),
        ],
        **measured(delivery),
    }


def _reason_codes(delivery: Delivery) -> Iterator[str]:
    """Yield every reason there is, the gravest kind first."""
    facts = delivery.facts
    if not facts.final:
        yield "run_not_closed"
    elif facts.row.status != "succeeded":
        yield f"run_{facts.row.status}"
    for weight, outcome in weigh(delivery.outcomes):
        if facts.final and outcome.item.kind == "check" and weight in _HOLDING:
            yield "asset_checks_failed"
    if delivery.verdict.corrections:
        yield AMENDED
    for event in delivery.events((*facts.failures, *facts.checks)):
        yield from event.reason_codes
    for outcome in by_gravity(delivery.outcomes):
        if outcome.outcome != "pending":
            yield from _codes_of(outcome)
    yield from delivery.stated_codes
    if delivery.asset_key != PRODUCT:
        yield "product_not_in_run"


def _codes_of(outcome: Outcome) -> Iterator[str]:
    if outcome.outcome == "not_evaluated":
        yield "check_not_evaluated"
    if outcome.reason_code:
        yield outcome.reason_code


def _check(delivery: Delivery, outcome: Outcome) -> Document:
    """Write one planned check. One that gave no result is `skipped` with the reason, and never `passed`."""
    asset_key = outcome.item.asset_key
    status = _CHECK_STATUS.get(outcome.outcome)
    if status is None:
        codes = ["check_not_evaluated", outcome.reason_code or outcome.outcome]
        reason = outcome.reason or outcome.outcome
        if cause := _why_left_out(delivery, outcome):
            codes.append(cause)
        metadata = {"asset_key": asset_key, "reason": reason}
    else:
        evaluations = [e for e in delivery.facts.evaluations if e.event_id in outcome.basis]
        own = [code for event in evaluations for code in event.reason_codes]
        codes = own or ([] if status == "passed" else [outcome.reason_code or outcome.outcome])
        measured = {m.label: m.plain() for e in evaluations for m in e.metadata if m.label != "reason_codes"}
        metadata = {**measured, "asset_key": asset_key}
    return {
        "name": outcome.item.check_name,
        "status": status or "skipped",
        "reason_codes": list(dict.fromkeys(codes)),
        "metadata": metadata,
    }


def _corrections(delivery: Delivery) -> Document:
    """Write what was corrected since as a check that warns: the contract has no other place for it."""
    amendments = [
        {"action": c.action, "index": c.index, "event_id": c.event_id, "actor": c.actor, "reason": c.reason}
        for c in delivery.verdict.corrections
    ]
    return {
        "name": "ledger_amendments",
        "status": "warning",
        "reason_codes": [AMENDED],
        "metadata": {"asset_key": delivery.asset_key, "amendments": amendments},
    }


def _why_left_out(delivery: Delivery, check: Outcome) -> str | None:
    """Return the reason its asset was left out for, when that is why there was nothing to check."""
    of_key = (o for o in delivery.outcomes if o.item.asset_key == check.item.asset_key and o.item.kind != "check")
    assets = list(of_key)
    return assets[0].reason_code if had_nothing_to_check(check, assets) else None


def measured(delivery: Delivery) -> Document:
    """Gather what the run measured and stated; what it did not is left out, never made up."""
    facts = delivery.facts
    sources = _sources(delivery)
    made = [e for e in sources if (e.event_type, e.asset_key) == ("asset.materialized.v1", delivery.asset_key)]
    values: dict[str, Any] = {}
    for label in ("manifest_id", "batch_id", "data_release_id", "git_sha"):
        values[label] = _first(sources, label, str)
    values["input_row_count"] = _first(sources, "input_row_count", int)
    values["source_snapshot_id"] = _first(sources, "source_snapshot_id", (str, int))
    # What came out is told by the product alone: the rows of an asset before it are not its rows.
    values["output_row_count"] = _first(made, "output_row_count", int)
    values["output_snapshot_id"] = _first(made, "output_snapshot_id", (str, int))
    values["batch_id"] = values["batch_id"] or identifier(facts.row.batch_id)
    values["data_release_id"] = values["data_release_id"] or identifier(facts.row.release_id)
    values["git_sha"] = identifier(facts.tags.get("git_sha")) or values["git_sha"]
    values["trace_id"] = identifier(facts.row.trace_id)
    known = {label: value for label, value in values.items() if value is not None}
    return {
        **known,
        **_external(delivery, LAKEHOUSE, {"lakehouse_snapshot_id": (str, int)}),
        **_external(delivery, MART, {"dbt_invocation_id": (str,), "semantic_metric_count": (int,)}),
    }


def _sources(delivery: Delivery) -> list[Recorded]:
    """Return what may carry a measured value, the best first.

    The product's own materialization, the other Week06 assets' from the last made to the first, what was
    observed (a dry run counts its input so), and what a failed step could still say.
    """
    facts = delivery.facts
    produced = [e for e in delivery.events(facts.products) if (e.asset_key or "").startswith(PREFIX)]
    own = [e for e in produced if e.asset_key not in {LAKEHOUSE, MART}]
    own.reverse()
    own.sort(key=lambda e: (e.event_type != "asset.materialized.v1", e.asset_key != delivery.asset_key))
    return [*own, *delivery.events(facts.failures)]


def _first(sources: Sequence[Recorded], label: str, kinds: type | tuple[type, ...]) -> Any:
    for event in sources:
        value = event.measured(label)
        if _is(value, kinds):
            return value
    return None


def _is(value: Any, kinds: type | tuple[type, ...]) -> bool:
    """Tell a usable value: of the kind asked for, no boolean, no negative count, no text that stands for none."""
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    return value >= 0 if isinstance(value, int) else is_identifier(str(value))


def _external(delivery: Delivery, asset_key: str, labels: Mapping[str, tuple[type, ...]]) -> Document:
    """Return the state of an optional neighbour: what was observed, or `null` where it is known to be absent."""
    seen = [e for e in reversed(delivery.facts.products) if e.asset_key == asset_key]
    known = {label: _first(seen, label, kinds) for label, kinds in labels.items()}
    if any(o.item.asset_key == asset_key for o in delivery.verdict.absent):
        return known
    return {label: value for label, value in known.items() if value is not None}

"""What a run delivers, by a delivery profile: one JSON object for each run × product partition.

It is what those downstream read before they build on a partition. It says less than the run evidence report, in the
words of the profile's contract; every value comes from the ledger, and what is not known is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from run_evidence.evidence.document import Document, timestamp
from run_evidence.evidence.facts import JudgedRun
from run_evidence.evidence.profile import (
    ASSET,
    ASSETS,
    DRY_RUN_ONLY,
    HOLD,
    PRODUCT,
    REVIEW,
    RUN_IDS,
    TAG,
    DeliveryProfile,
    Field,
    Kind,
)
from run_evidence.evidence.recorded_event import Recorded
from run_evidence.evidence.verdict import RunVerdict, by_gravity, had_nothing_to_check, weigh
from run_evidence.ledger import Outcome, ancestors, identifier, is_identifier

AMENDED: Final = "evidence_amended"
NOT_SIGNED: Final = "checkpoint_not_signed"

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
HOLDING: Final = frozenset({"failed", "not_evaluated", "unknown"})
"""The verdicts that hold everything back."""

_KINDS: Final[Mapping[Kind, tuple[type, ...]]] = {"text": (str,), "count": (int,), "id": (str, int)}


@dataclass(frozen=True, slots=True)
class Delivery:
    """A run's part in one partition of the product: the items and events that bear on it, and its verdict."""

    profile: DeliveryProfile
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
        """The contract's status. An open run is a warning at best, since more events may follow.

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
        states as its own `downstream_decision` can hold the partition back, and cannot let it proceed.
        """
        stated = {str(event.measured("downstream_decision")) for event in self.events(self.facts.products)}
        decisions = self.profile.decisions
        return max([self._derived_decision, *stated.intersection(decisions)], key=decisions.index)

    @property
    def _derived_decision(self) -> str:
        if not self.facts.final or self.verdict.verdict in HOLDING:
            return HOLD
        made = self.product.outcome == "materialized"
        if not made and self.profile.dry_run_code in {*(o.reason_code for o in self.outcomes), *self.stated_codes}:
            return DRY_RUN_ONLY
        sound = self.verdict.verdict == "passed" and not self.verdict.corrections
        if sound and made and self.asset_key == self.profile.product:
            return self.profile.proceed
        return REVIEW

    @property
    def stated_codes(self) -> tuple[str, ...]:
        """The reason codes of materializations that say of themselves that they are none, or only half of one."""
        basis = {event_id for o in self.outcomes if o.verdict != "passed" for event_id in o.basis}
        produced = self.events(self.facts.products)
        return tuple(code for event in produced if event.event_id in basis for code in event.reason_codes)

    def events(self, of: Iterable[Recorded]) -> Iterator[Recorded]:
        """Yield those events that are about this partition, or about none in particular."""
        return (event for event in of if event.partition in {None, self.partition})


def deliveries(facts: JudgedRun, *profiles: DeliveryProfile) -> tuple[Delivery, ...]:
    """Return a run's deliveries by profile and partition; none for a run that planned none that is delivered."""
    return tuple(delivery for profile in profiles for delivery in _deliveries(facts, profile))


def _deliveries(facts: JudgedRun, profile: DeliveryProfile) -> tuple[Delivery, ...]:
    asset_key = _product_of(facts, profile)
    if asset_key is None:
        return ()
    partitions = {
        o.item.partition or facts.row.partition
        for o in facts.outcomes
        if o.item.asset_key == asset_key and o.planned and o.item.kind != "check"
    }
    delivered = sorted(each for each in partitions if each and profile.delivers(each))
    return tuple(delivery_of(facts, profile, asset_key, partition) for partition in delivered)


def _product_of(facts: JudgedRun, profile: DeliveryProfile) -> str | None:
    """Return the product asset when it was planned, else the planned asset of the delivery furthest downstream."""
    planned = {
        o.item.asset_key: o.item.step_key or ""
        for o in facts.outcomes
        if o.item.kind == "materialize"
        and o.item.required
        and o.planned
        and o.item.asset_key.startswith(profile.key_prefix)
    }
    if profile.product in planned or not planned:
        return profile.product if planned else None
    return max(planned, key=lambda key: (len(list(ancestors(facts.after, planned[key]))), key))


def delivery_of(facts: JudgedRun, profile: DeliveryProfile, asset_key: str, partition: str) -> Delivery:
    """Judge a run's part in one partition; the empty text stands for that of an asset without partitions."""
    outcomes = tuple(o for o in by_profile(facts, profile) if o.item.partition in {None, partition})
    verdict = facts.judged(outcomes)
    return Delivery(profile, facts, asset_key, partition, outcomes, verdict)


def by_profile(facts: JudgedRun, *profiles: DeliveryProfile) -> tuple[Outcome, ...]:
    """Return a run's outcomes, those it inherits included; what a profile says may be missing is optional."""
    optional = {key for profile in profiles for key in profile.optional}
    return tuple(
        replace(o, item=replace(o.item, required=False)) if o.item.asset_key in optional else o
        for o in (*facts.outcomes, *facts.inherited)
    )


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
        "evidence_schema_version": delivery.profile.contract,
        "run_id": row.run_id,
        "asset_key": delivery.asset_key,
        "partition_key": delivery.partition,
        "status": delivery.status,
        "started_at": timestamp(row.started_at),
        "finished_at": timestamp(ended_at),
        "report_path": report_path,
        "reason_codes": [*reason_codes(delivery), *([] if signed else [NOT_SIGNED])],
        "downstream_decision": delivery.decision,
        "checks": [
            *(_check(delivery, o) for o in delivery.outcomes if o.item.kind == "check"),
            *([_corrections(delivery)] if delivery.verdict.corrections else []),
        ],
        **measured(delivery),
    }


def reason_codes(delivery: Delivery) -> tuple[str, ...]:
    """Return every reason there is, each once, the gravest kind first."""
    return tuple(dict.fromkeys(_reason_codes(delivery)))


def _reason_codes(delivery: Delivery) -> Iterator[str]:
    facts = delivery.facts
    if not facts.final:
        yield "run_not_closed"
    elif facts.row.status != "succeeded":
        yield f"run_{facts.row.status}"
    for weight, outcome in weigh(delivery.outcomes):
        if facts.final and outcome.item.kind == "check" and weight in HOLDING:
            yield "asset_checks_failed"
    if delivery.verdict.corrections:
        yield AMENDED
    for event in delivery.events((*facts.failures, *facts.checks)):
        yield from event.reason_codes
    for outcome in by_gravity(delivery.outcomes):
        if outcome.outcome != "pending":
            yield from _codes_of(outcome)
    yield from delivery.stated_codes
    if delivery.asset_key != delivery.profile.product:
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
    """Gather the values of the profile's fields, in its order; what is not known is left out, never made up."""
    sources = _sources(delivery)
    values = {field.name: _value(delivery, field, sources) for field in delivery.profile.fields}
    absent = {f"{ASSET}{o.item.asset_key}" for o in delivery.verdict.absent}
    nothing = {field.name for field in delivery.profile.fields if absent.intersection(field.sources)}
    return {name: value for name, value in values.items() if value is not None or name in nothing}


def _value(delivery: Delivery, field: Field, sources: Sequence[Recorded]) -> Any:
    """Return the first usable value of a field, in the order of its sources; `None` where there is none."""
    taken = (_taken(delivery, field, source, sources) for source in field.sources)
    return next((value for value in taken if value is not None), None)


def _taken(delivery: Delivery, field: Field, source: str, sources: Sequence[Recorded]) -> Any:
    facts, kinds = delivery.facts, _KINDS[field.kind]
    if source == ASSETS:
        return _first(sources, field.name, kinds)
    if source == PRODUCT:  # the rows of an asset before it are not its rows
        made = ("asset.materialized.v1", delivery.asset_key)
        return _first([e for e in sources if (e.event_type, e.asset_key) == made], field.name, kinds)
    if source in RUN_IDS:
        return identifier(getattr(facts.row, source))
    if source.startswith(TAG):
        return identifier(facts.tags.get(source.removeprefix(TAG)))
    of_asset = [e for e in delivery.events(facts.products) if e.asset_key == source.removeprefix(ASSET)]
    return _first(of_asset[::-1], field.name, kinds)


def _sources(delivery: Delivery) -> list[Recorded]:
    """Return what may carry a measured value, the best first.

    The product's own materialization, the delivery's other assets' from the last made to the first, what was
    observed (a dry run counts its input so), and what a failed step could still say. Optional assets speak for
    themselves alone.
    """
    facts, profile = delivery.facts, delivery.profile
    produced = [e for e in delivery.events(facts.products) if (e.asset_key or "").startswith(profile.key_prefix)]
    own = [e for e in produced if e.asset_key not in profile.optional]
    own.reverse()
    own.sort(key=lambda e: (e.event_type != "asset.materialized.v1", e.asset_key != delivery.asset_key))
    return [*own, *delivery.events(facts.failures)]


def _first(sources: Sequence[Recorded], label: str, kinds: tuple[type, ...]) -> Any:
    for event in sources:
        value = event.measured(label)
        if _is(value, kinds):
            return value
    return None


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    """Tell a usable value: of the kind asked for, no boolean, no negative count, no text that stands for none."""
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    return value >= 0 if isinstance(value, int) else is_identifier(str(value))

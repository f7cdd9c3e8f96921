"""Contradictions: findings in the outcomes of a run, or of its part in a delivery.

A green record that says of itself that it is none; a check that passed on nothing; rows that an asset read and
nobody wrote; a plan that nobody ever fulfilled. Which names of metadata are counts is what a profile or a policy
declares: none is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from run_evidence.evidence.facts import JudgedRun, read_events_by_id
from run_evidence.evidence.verdict import item_name
from run_evidence.evidence.words import listed
from run_evidence.ledger import SAYS_STATUS

if TYPE_CHECKING:
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.evidence.profile import DeliveryProfile
    from run_evidence.evidence.recorded_event import Recorded
    from run_evidence.ledger import Outcome

_STANDING: Final = frozenset({"passed", "warned"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Names of metadata that are counts: of the rows `read`, of those `written`, and of anything (`counts`).

    `dry_run_codes` are the reason codes by which an asset says that it wrote nothing.
    """

    read: str | None = None
    written: str | None = None
    counts: frozenset[str] = frozenset()
    dry_run_codes: frozenset[str] = frozenset()

    @property
    def views(self) -> tuple[str, ...]:
        """What of the ledger's views is needed beside those of the documents: none where no rows are compared."""
        return ("lineage",) if self.read and self.written else ()


NOTHING_DECLARED: Final = Declared()


def declared_by(*profiles: DeliveryProfile, read: str | None = None, written: str | None = None) -> Declared:
    """Return what profiles declare; `read` and `written` are a policy's and go before them.

    Of several profiles the first that says which counts are rows says it for all.
    """
    fields = [field for profile in reversed(profiles) for field in profile.fields]
    of = {field.rows: field.name for field in fields if field.rows}
    rows = (read or of.get("read"), written or of.get("written"))
    counts = {field.name for field in fields if field.kind == "count"}.union(filter(None, rows))
    return Declared(
        read=rows[0],
        written=rows[1],
        counts=frozenset(counts),
        dry_run_codes=frozenset(profile.dry_run_code for profile in profiles),
    )


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One finding: its `kind`, the item it is about, in words, and the ids of the events that say so.

    `kind`: `says_otherwise`, `passed_on_nothing`, `rows_do_not_close`, `never_made`.
    """

    kind: str
    outcome: Outcome
    reason: str
    events: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Say it to a person."""
        return f"{item_name(self.outcome)}: {self.reason} ({self.kind})"


def find_contradictions(
    prefix: Prefix, facts: JudgedRun, outcomes: Sequence[Outcome], declared: Declared
) -> tuple[Contradiction, ...]:
    """Return every contradiction in a run's outcomes; the prefix has the views that `declared.views` names."""
    events = {event.event_id: event for event in facts.events}
    events |= read_events_by_id(prefix, sorted({e for o in outcomes for e in o.basis} - events.keys()))
    return (
        *_saying_otherwise(outcomes, events, declared),
        *_passed_on_nothing(facts, outcomes, events, declared),
        *_rows_that_do_not_close(prefix, outcomes, events, declared),
        *(_never_made(prefix, outcomes) if facts.final else ()),
    )


def _saying_otherwise(
    outcomes: Sequence[Outcome], events: Mapping[str, Recorded], declared: Declared
) -> Iterator[Contradiction]:
    for outcome in outcomes:
        of_check = outcome.item.kind == "check"
        if (outcome.reason or "").startswith(SAYS_STATUS) and outcome.verdict not in _STANDING:
            green = "passed it" if of_check else "has it as materialized"
            yield Contradiction("says_otherwise", outcome, f"Dagster {green}, {outcome.reason}", outcome.basis)
        elif not of_check and outcome.verdict == "passed" and declared.dry_run_codes:
            of = (events[event_id] for event_id in outcome.basis if event_id in events)
            said = [(e, code) for e in of for code in e.reason_codes if code in declared.dry_run_codes]
            if said:
                codes = listed(sorted({code for _, code in said}))
                reason = f"Dagster has it as materialized, its own metadata says {codes}"
                ids = tuple(dict.fromkeys(event.event_id for event, _ in said))
                yield Contradiction("says_otherwise", outcome, reason, ids)


def _passed_on_nothing(
    facts: JudgedRun, outcomes: Sequence[Outcome], events: Mapping[str, Recorded], declared: Declared
) -> Iterator[Contradiction]:
    """Yield the checks that passed and counted nothing; of one that counts nothing itself, what it is of counts."""
    for outcome in outcomes:
        if outcome.outcome != "check_passed":
            continue
        for event in (events[event_id] for event_id in outcome.basis if event_id in events):
            own = {name: count for name in sorted(declared.counts) if (count := _count(event, name)) is not None}
            if own and not any(own.values()):
                reason = f"it passed, and counted {listed([f'{name} 0' for name in own])}"
                yield Contradiction("passed_on_nothing", outcome, reason, (event.event_id,))
            elif not own and (made := _empty(facts, outcome, declared)):
                reason = f"it passed, and {outcome.item.asset_key} has {declared.written} 0"
                yield Contradiction("passed_on_nothing", outcome, reason, (event.event_id, made.event_id))


def _empty(facts: JudgedRun, check: Outcome, declared: Declared) -> Recorded | None:
    """Return the last materialization of what a check is of, where it says that no row was written."""
    item = check.item
    made = [
        event
        for event in facts.products
        if event.event_type == "asset.materialized.v1"
        and event.asset_key == item.asset_key
        and (item.partition is None or event.partition in {None, item.partition})
    ]
    of = {event.partition: event for event in made}
    written = [_count(event, declared.written) for event in of.values()]
    return made[-1] if made and all(count == 0 for count in written) else None


def _rows_that_do_not_close(
    prefix: Prefix, outcomes: Sequence[Outcome], events: Mapping[str, Recorded], declared: Declared
) -> Iterator[Contradiction]:
    """Yield the assets that read other rows than what they were made from has written: neither all nor one's.

    Inputs of which no count is known say nothing, and where none is there is nothing to compare.
    """
    reading = {
        event_id: (outcome, count)
        for outcome in outcomes
        if outcome.item.kind != "check"
        for event_id in outcome.basis
        if event_id in events and (count := _count(events[event_id], declared.read)) is not None
    }
    if not reading or not declared.views:
        return
    pairs = prefix.select("inputs", event_ids=sorted(reading))
    inputs = read_events_by_id(prefix, sorted({input_id for _, input_id in pairs}))
    for event_id, (outcome, read) in sorted(reading.items()):
        made_from = [inputs[i] for of, i in pairs if of == event_id and i in inputs]
        wrote = [(each, count) for each in made_from if (count := _count(each, declared.written)) is not None]
        counts = [count for _, count in wrote]
        if counts and read != sum(counts) and read not in counts:
            named = listed([f"{each.asset_key} wrote {count}" for each, count in wrote])
            reason = f"it read {read} rows, and {named}"
            ids = (event_id, *(each.event_id for each, _ in wrote))
            yield Contradiction("rows_do_not_close", outcome, reason, ids)


def _never_made(prefix: Prefix, outcomes: Sequence[Outcome]) -> Iterator[Contradiction]:
    missing = [
        o
        for o in outcomes
        if o.item.kind == "materialize"
        and o.item.required
        and o.planned
        and not o.outcome.startswith("materialized")
    ]
    keys = sorted({o.item.asset_key for o in missing})
    made = set(prefix.select("ever_made", asset_keys=keys)) if keys else set()
    for outcome in missing:
        if (outcome.item.asset_key, outcome.item.partition) not in made:
            reason = f"it was planned, and no run ever produced it: {outcome.outcome}"
            yield Contradiction("never_made", outcome, reason, outcome.basis)


def _count(event: Recorded, name: str | None) -> int | None:
    value: Any = None if name is None else event.measured(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

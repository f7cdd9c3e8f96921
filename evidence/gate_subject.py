"""What a gate is about: a partition of a product, a run, or a release, and the runs that count for it.

Of a partition the latest run counts that set out to make the product. Of a release every run does, but for one of
which all that it planned was planned again by a later run of the release, or that was executed again: what became
of it then is the later run's to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from run_evidence.evidence.delivery import HOLDING, Delivery, by_profile, deliveries, delivery_of
from run_evidence.evidence.facts import JudgedRun, RunRow, read_plans_beside, read_rows, read_runs
from run_evidence.evidence.profile import HOLD, HOLDING_BACK, PROCEED, REVIEW, DeliveryProfile
from run_evidence.evidence.verdict import RunVerdict
from run_evidence.ledger import IntegrityError, UsageError

if TYPE_CHECKING:
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.evidence.profile_history import Profiles
    from run_evidence.ledger import Outcome

SHORT_ID: Final = 8
_NAME_ONE: Final = "name one with --profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody asks about: a `product` and its `partition` (none for an asset without), a run or a release."""

    product: str | None = None
    partition: str | None = None
    run_id: str | None = None
    release_id: str | None = None

    def require_one(self) -> None:
        """Pass if exactly one thing is asked about. Raises: UsageError."""
        told = [name for name in ("product", "run_id", "release_id") if getattr(self, name) is not None]
        if len(told) != 1:
            raise UsageError(
                "A gate is about one thing: a partition of a product, a run, or a release.",
                next_step="--product ASSET_KEY --partition PARTITION, or --run RUN_ID, or --release RELEASE",
            )
        if self.partition is not None and self.product is None:
            raise UsageError("A partition is one of a product.", next_step="name it: --product ASSET_KEY")
        if self.product is not None and not self.product.isprintable():
            raise UsageError("The product is not one line of text.", next_step="name it as ledger show does")
        for name in (*told, "partition"):
            if getattr(self, name) == "":
                raise UsageError(
                    f"An empty text names no {name.removesuffix('_id')}.", next_step="ledger runs lists runs"
                )

    @property
    def named(self) -> str:
        """Name it for a person."""
        if self.product is not None:
            return self.product if self.partition is None else f"{self.product} [{self.partition}]"
        return f"run {self.run_id}" if self.run_id is not None else f"release {self.release_id}"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is judged: a run's part in a partition of the product (`delivery`), or the run as a whole."""

    facts: JudgedRun
    outcomes: tuple[Outcome, ...]
    verdict: RunVerdict
    delivery: Delivery | None = None

    @property
    def name(self) -> str:
        """Name it within the runs of the gate."""
        run = f"run {self.facts.row.run_id[:SHORT_ID]}"
        if self.delivery is None:
            return run
        of = f" [{self.delivery.partition}]" if self.delivery.partition else ""
        return f"{self.delivery.asset_key}{of} of {run}"

    @property
    def decision(self) -> str:
        """What may be done with it; of a run as a whole by its verdict, and by what its assets state themselves."""
        if self.delivery is not None:
            return self.delivery.decision
        stated = {str(event.measured("downstream_decision")) for event in self.facts.products}
        order = (PROCEED, *HOLDING_BACK)
        return max([self._derived, *stated.intersection(HOLDING_BACK)], key=order.index)

    @property
    def _derived(self) -> str:
        if not self.facts.final or self.verdict.verdict in HOLDING:
            return HOLD
        return PROCEED if self.verdict.verdict == "passed" and not self.verdict.corrections else REVIEW

    @property
    def proceed(self) -> str:
        """The decision with which it may proceed."""
        return self.delivery.profile.proceed if self.delivery else PROCEED

    @property
    def basis(self) -> frozenset[str]:
        """The events that its verdict rests on, and those in which that was recorded."""
        return frozenset(event_id for o in self.outcomes for event_id in o.basis) | self.facts.derived_in

    def made(self) -> Iterator[Outcome]:
        """Yield the required assets whose data it speaks for: in its partitions, where it has any."""
        made = [o for o in self.outcomes if o.item.required and o.outcome.startswith("materialized")]
        partitioned = [o for o in made if o.item.partition is not None]
        if self.delivery is not None:
            yield from partitioned if self.delivery.partition else made
        else:
            yield from partitioned or made


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged: the `parts`, the `runs` they are of, and runs that have to do with it and do not count.

    `replaced` has for each run that does not count the one that counts in its place; `unclosed` has every run of
    either kind that is open. `wants_delivery`: a profile was named, so it takes a delivery.
    """

    asked: Asked
    parts: tuple[Part, ...] = ()
    runs: tuple[JudgedRun, ...] = ()
    replaced: Mapping[str, str] = field(default_factory=dict)
    unclosed: tuple[str, ...] = ()
    wants_delivery: bool = False

    @property
    def deliveries(self) -> tuple[Part, ...]:
        """The parts that are deliveries."""
        return tuple(part for part in self.parts if part.delivery is not None)


def read_subject(prefix: Prefix, asked: Asked, profiles: Profiles) -> Subject:
    """Read what is asked about. Nothing of it is an empty subject, of which nothing is met.

    Raises: UsageError for a product of which a partition has to be named, or that several profiles deliver;
    IntegrityError when a run cannot be read.
    """
    if asked.product is not None:
        return _product(prefix, asked, asked.product, profiles)
    if asked.run_id is not None:
        return _runs(asked, read_runs(prefix, [asked.run_id]), profiles)
    ids = [row[0] for row in prefix.select("runs_of_release", release_id=asked.release_id)]
    return replace(_runs(asked, read_runs(prefix, ids), profiles), wants_delivery=profiles.named is not None)


def _profile_of(facts: JudgedRun, product: str, profiles: Profiles) -> DeliveryProfile:
    found = [profile for profile in profiles.of_run(facts.row) if profile.product == product]
    if len(found) > 1:
        names = ", ".join(profile.name for profile in found)
        raise UsageError(f"Several profiles of the ledger deliver {product}: {names}.", next_step=_NAME_ONE)
    return found[0] if found else _of_asset(product)


def _of_asset(asset_key: str) -> DeliveryProfile:
    """Return the profile by which an asset is judged that no profile speaks of: nothing of it may be missing."""
    name = "asset"
    return DeliveryProfile(
        name=name,
        title=name,
        contract=name,
        product=asset_key,
        key_prefix=asset_key,
        proceed=PROCEED,
        partitions=r"(?s:.*)",
    )


def _product(prefix: Prefix, asked: Asked, product: str, profiles: Profiles) -> Subject:
    rows = _rows_of(prefix, asked)
    if not rows:
        return Subject(asked)
    latest = rows[0]
    facts = read_runs(prefix, [latest.run_id], [latest])[0]
    unclosed = tuple(row.run_id for row in rows if not row.closed)
    replaced = {row.run_id: latest.run_id for row in rows[1:]}
    planned = {o.item.asset_key for o in facts.outcomes if o.planned and o.item.kind != "check"}
    if product not in planned:  # its plan is not whole yet
        return Subject(asked, (), (facts,), replaced, unclosed)
    delivery = delivery_of(facts, _profile_of(facts, product, profiles), product, asked.partition or "")
    part = Part(facts, delivery.outcomes, delivery.verdict, delivery)
    return Subject(asked, (part,), (facts,), replaced, unclosed)


def _rows_of(prefix: Prefix, asked: Asked) -> list[RunRow]:
    """Return the runs that set out to make the product in the partition, the latest first."""
    planned = set(prefix.select("runs_of_asset", asset_key=asked.product))
    plans, damaged = read_plans_beside(prefix)
    for run_id, problem in damaged.items():
        raise IntegrityError(f"Run {run_id} cannot be read, so nothing is known of what it planned: {problem}")
    planned |= {
        (run_id, item.partition)
        for run_id, plan in plans.items()
        for item in plan.items
        if item.asset_key == asked.product and item.kind == "materialize"
    }
    asked_for = {asked.partition, None}
    rows = read_rows(prefix, sorted({run_id for run_id, partition in planned if partition in asked_for}))
    found = [row for row in rows if (row.run_id, asked.partition) in planned or _in_its_tag(row, asked, planned)]
    if not found and asked.partition is None and planned:
        raise UsageError(
            f"{asked.product} has partitions, and none is named.", next_step="name one: --partition PARTITION"
        )
    return sorted(found, key=lambda row: (row.started_at, row.run_id), reverse=True)


def _in_its_tag(row: RunRow, asked: Asked, planned: set[tuple[str, str | None]]) -> bool:
    """Tell whether an asset without partitions was made in a run of the partition, as it is delivered."""
    return row.partition == asked.partition and (row.run_id, None) in planned


def _runs(asked: Asked, runs: Sequence[JudgedRun], profiles: Profiles) -> Subject:
    replaced = _replaced(runs)
    counting = tuple(facts for facts in runs if facts.row.run_id not in replaced)
    parts = tuple(part for facts in counting for part in _parts(facts, profiles.of_run(facts.row)))
    return Subject(asked, parts, counting, replaced, tuple(f.row.run_id for f in runs if not f.final))


def _parts(facts: JudgedRun, profiles: Sequence[DeliveryProfile]) -> Iterator[Part]:
    outcomes = by_profile(facts, *profiles)
    verdict = facts.judged(outcomes)
    yield Part(facts, outcomes, verdict)
    for delivery in deliveries(facts, *profiles):
        yield Part(facts, delivery.outcomes, delivery.verdict, delivery)


def _replaced(runs: Sequence[JudgedRun]) -> dict[str, str]:
    """Return the runs of which all that they planned is a later one's: planned again, or taken over by it."""
    replaced: dict[str, str] = {}
    oldest_first = sorted(runs, key=lambda facts: (facts.row.started_at, facts.row.run_id))
    for place, facts in enumerate(oldest_first):
        planned = _items(o for o in facts.outcomes if o.planned)
        for later in oldest_first[place + 1 :]:
            if planned and planned <= _items((*(o for o in later.outcomes if o.planned), *later.inherited)):
                replaced[facts.row.run_id] = later.row.run_id
    return replaced


def _items(outcomes: Iterator[Outcome] | Sequence[Outcome]) -> set[tuple[str, str | None, str | None]]:
    return {(o.item.asset_key, o.item.partition, o.item.check_name) for o in outcomes}

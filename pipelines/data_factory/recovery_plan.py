"""The recovery plan: which partitions a retry, rerun, replay or backfill runs again, why, and the expected result.

Four verbs, kept apart:

* `retry` one run that failed: its failed steps and what follows them;
* `rerun` the batch job of a partition: all its steps, with the same configuration;
* `replay` an input that was consumed: gate, Bronze and Silver of each day that a batch or a window has tickets of;
* `backfill` what is missing: the partitions of the definition that the ledger knows no good materialization of.

A plan is a document of its own and writes nothing else. Each target is one `BackfillPlan`, by the planner that the
asset `week06/ops/backfill_plan` has, with the result that its run must have. A target that would only fail again is
held, with the reason. A plan is named by its SHA-256, so that what is carried out is what was reviewed.
`pipelines.data_factory.recovery_saved` reads it again.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from pipelines.data_factory.inputs import GateRejectedError, admit_inputs
from pipelines.data_factory.reconciliation import load_query, reconcile_partition
from pipelines.data_factory.recovery import BackfillPlan, Verb, plan_backfill
from pipelines.ingestion.gate import judge_manifest
from pipelines.manifests import TICKET_CONTRACT, scan_manifests
from pipelines.partitions import format_instant, partition_of
from pipelines.tickets import Ticket, read_tickets
from run_evidence.ledger import LedgerError, UsageError, open_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from pipelines.ingestion.warehouse import Warehouse
    from pipelines.manifests import SourceSettings
    from run_evidence.ledger import Ledger

COMMAND: Final = "python -m pipelines.recovery"
FORMAT: Final = "recovery_plan_v1"
GAPS: Final = frozenset({"missing", "failed", "wiped", "skipped", "unknown"})
"""The states of the view `partitions` that a backfill fills; what is `stale` takes a rerun."""

_PENDING: Final = "pending"
"""A run of the partition is open, so its verdict is not known and the target is held."""

_ENDED: Final = frozenset({"SUCCESS", "FAILURE", "CANCELED"})

_NO_DELIVERY: Final = "structured_manifest_missing_or_empty"
ID_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class Target:
    """One partition of a plan. `why` it is in it; `held` says why it is not carried out, None when it is.

    `run_id` is the run that is executed again. `expected_new_event_count` is what Bronze must gain, and
    `input_snapshot_id` a SHA-256 over the contents of the sources that it gains them from; None when they could not
    be counted.
    """

    plan: BackfillPlan
    why: str
    run_id: str | None
    expected_new_event_count: int | None
    held: str | None
    input_snapshot_id: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the contract's fields, then these."""
        more = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "plan"}
        return {**self.plan.to_document(), **more}


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asked to recover, as they named it, so that it can be asked again. A name not given is None."""

    mode: Verb
    run: str | None = None
    batch: str | None = None
    partitions: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None
    asset: str | None = None

    @property
    def command(self) -> str:
        """The line that asks it."""
        said = {"run": self.run, "batch": self.batch, "from": self.start, "to": self.end, "asset": self.asset}
        words = [f"--{name} {shlex.quote(value)}" for name, value in said.items() if value is not None]
        words += [f"--partition {shlex.quote(day)}" for day in self.partitions]
        return " ".join([COMMAND, "--mode", self.mode, *words])


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan was made over: the job with its partitions and steps, and where its data and its ledger are.

    `ledger` is the name of its log, None while there was none.
    """

    job: str
    partitions: str
    steps: tuple[str, ...]
    sources: str
    warehouse: str
    ledger: str | None


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What was asked for, by whom and when, and the targets in order of their days.

    `ledger_size` is how many sealed entries the ledger had when it was asked what is missing, and
    `asked_partition_count` of how many partitions it was asked; None when it was not. The same `question` over the
    same `basis` makes the same plan, unless something changed.
    """

    mode: Verb
    asked: str
    operator: str
    timestamp: str
    targets: tuple[Target, ...]
    ledger_size: int | None
    asked_partition_count: int | None
    question: Question
    basis: Basis

    @property
    def due(self) -> tuple[Target, ...]:
        """The targets that are carried out."""
        return tuple(target for target in self.targets if target.held is None)

    @property
    def held(self) -> tuple[Target, ...]:
        """The targets that wait for something else."""
        return tuple(target for target in self.targets if target.held is not None)

    def to_document(self) -> dict[str, Any]:
        """Return the plan as a JSON object."""
        windows = [target.plan for target in self.targets]
        return {
            "format": FORMAT,
            "mode": self.mode,
            "asked": self.asked,
            "operator": self.operator,
            "timestamp": self.timestamp,
            "question": asdict(self.question),
            "basis": asdict(self.basis),
            "ledger_size": self.ledger_size,
            "asked_partition_count": self.asked_partition_count,
            "window_start": min((plan.window_start for plan in windows), default=None),
            "window_end": max((plan.window_end for plan in windows), default=None),
            "targets": [target.to_document() for target in self.targets],
        }

    @property
    def text(self) -> str:
        """The document as it is written, byte for byte."""
        return json.dumps(self.to_document(), ensure_ascii=False, indent=2) + "\n"

    @property
    def sha256(self) -> str:
        """The digest of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def plan_id(self) -> str:
        """The plan's name: the beginning of its digest."""
        return self.sha256[:ID_LENGTH]


@dataclass(frozen=True, slots=True)
class RunFound:
    """A run of the factory as Dagster has it. `failed_steps` are those that failed, in the log's order."""

    run_id: str
    partition: str
    status: str
    failed_steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartitionFound:
    """What the ledger knows of a partition: a state of its view `partitions`, why, and the run it is from."""

    state: str
    reason_code: str | None
    run_id: str | None


@dataclass(frozen=True, slots=True)
class LedgerFound:
    """What the ledger knows of an asset's partitions, by their keys, and how many sealed entries it had then."""

    partitions: Mapping[str, PartitionFound]
    size: int


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans from sources and warehouse as they are. `keys` are the partitions of the definition, in order.

    A plan states the `question` that it answers, and the `basis` it answers it by.
    """

    settings: SourceSettings
    warehouse: Warehouse
    keys: Sequence[str]
    operator: str
    now: datetime
    question: Question
    basis: Basis

    def retry(self, run: RunFound) -> RecoveryPlan:
        """Plan to go on with a run from where it failed. Raises: UsageError when it did not fail."""
        if run.status not in {"FAILURE", "CANCELED"}:
            raise UsageError(
                f"run {run.run_id} did not fail: Dagster says {run.status}, so there is nothing to retry",
                next_step=f"{COMMAND} --mode rerun --run {run.run_id} --operator NAME",
            )
        self.require([run.partition])
        steps = ", ".join(run.failed_steps) or "before any step"
        why = f"run {run.run_id[:8]} ended as {run.status} at {steps}"
        return self._plan("retry", f"run {run.run_id}", [self._target("retry", run.partition, why, run.run_id)])

    def rerun(self, run: RunFound) -> RecoveryPlan:
        """Plan to run the batch job of a run again, all of it. Raises: UsageError while it still goes on."""
        if run.status not in _ENDED:
            raise UsageError(
                f"run {run.run_id} has not ended: Dagster says {run.status}",
                next_step=f"wait for it or cancel it; or {COMMAND} --mode replay --partition {run.partition}",
            )
        self.require([run.partition])
        why = f"the batch job of run {run.run_id[:8]} again, which ended as {run.status}"
        return self._plan("rerun", f"run {run.run_id}", [self._target("rerun", run.partition, why, run.run_id)])

    def replay_batch(self, batch_id: str) -> RecoveryPlan:
        """Plan to consume a batch again, for every day that it has tickets of.

        Raises: UsageError for a batch that nobody delivered.
        """
        days = self._days_of_batch(batch_id)
        targets = []
        for day, count in sorted(days.items()):
            target = self._target("replay", day, f"{count} tickets of batch {batch_id}")
            if day not in self.keys:
                target = replace(target, held="no_partition")
            elif target.held is None and not self._reads(day, batch_id):
                target = replace(target, held="delivered_outside_window")
            targets.append(target)
        return self._plan("replay", f"batch {batch_id}", targets)

    def replay_days(self, days: Sequence[str], asked: str) -> RecoveryPlan:
        """Plan to consume again what these days were made of."""
        why = "the input of the day again"
        return self._plan("replay", asked, [self._target("replay", day, why) for day in self.require(days)])

    def backfill(self, known: LedgerFound, days: Sequence[str], asked: str) -> RecoveryPlan:
        """Plan to make what is missing of `days`, by what the ledger knows; a day it never saw is missing."""
        targets = []
        for day in self.require(days):
            found = known.partitions.get(day, PartitionFound("missing", None, None))
            if found.state in GAPS or found.state == _PENDING:
                said = f": {found.reason_code}" if found.reason_code and found.reason_code != found.state else ""
                run = f" in run {found.run_id[:8]}" if found.run_id else ""
                target = self._target("backfill", day, f"{found.state}{run}{said}")
                targets.append(replace(target, held=_PENDING) if found.state == _PENDING else target)
        return self._plan("backfill", asked, targets, known.size, len(set(days)))

    def require(self, days: Iterable[str]) -> list[str]:
        """Return the days, each once. Raises: UsageError when one is no partition of the definition, or none is."""
        known, wanted = set(self.keys), list(dict.fromkeys(days))
        if not wanted:
            raise UsageError(
                "the factory has no partition yet, so none can be missing",
                next_step="check WEEK06_PARTITION_START_DATE: it is the first partition's day",
            )
        if other := [day for day in wanted if day not in known]:
            there = f"it has {self.keys[0]} to {self.keys[-1]}" if self.keys else "it has none yet"
            raise UsageError(
                f"{other[0]!r:.60} is no partition of the factory: {there}",
                next_step=f"{COMMAND} --mode backfill lists the partitions that are missing",
            )
        return wanted

    def _plan(
        self, mode: Verb, asked: str, targets: Sequence[Target], size: int | None = None, count: int | None = None
    ) -> RecoveryPlan:
        now = format_instant(self.now)
        return RecoveryPlan(mode, asked, self.operator, now, tuple(targets), size, count, self.question, self.basis)

    def _target(self, mode: Verb, day: str, why: str, run_id: str | None = None) -> Target:
        plan = plan_backfill(self.settings, self.warehouse, day, operator=self.operator, now=self.now)
        plan = replace(plan, mode=mode)
        if plan.expected_input_count is None:
            return Target(plan, why, run_id, None, self._why_held(day, plan.gap_reason))
        if plan.gap_reason == "output_exceeds_input":
            return Target(plan, why, run_id, None, plan.gap_reason)
        snapshot_id = admit_inputs(self.settings, day).snapshot_id
        return Target(plan, why, run_id, self._new_events(day), None, snapshot_id)

    def _why_held(self, day: str, gap_reason: str) -> str:
        """Tell a day that nobody delivered from one whose delivery is refused."""
        try:
            admit_inputs(self.settings, day)
        except GateRejectedError as error:
            return "no_delivery" if error.reason_codes == (_NO_DELIVERY,) and not error.inputs.own else gap_reason
        except LedgerError:
            pass
        return gap_reason

    def _new_events(self, day: str) -> int | None:
        """Count the events of the sources that Bronze lacks; all of them where there is no Bronze yet."""
        found = reconcile_partition(self.settings, self.warehouse, day)
        if found.bronze_count is None:
            return sum(source.events or 0 for source in found.sources)
        return sum(gap.count for gap in found.all_gaps if gap.code == "not_in_bronze")

    def _days_of_batch(self, batch_id: str) -> dict[str, int]:
        manifests = [m for m in scan_manifests(self.settings.manifest_path).manifests if m.batch_id == batch_id]
        days: dict[str, int] = {}
        for manifest in (m for m in manifests if m.contract_ref == TICKET_CONTRACT):
            judged = judge_manifest(manifest, bucket=self.settings.bucket, data_folder=self.settings.data_folder)
            for path in (asset.path for asset in judged.assets if asset.path is not None):
                for line in read_tickets(path):
                    if isinstance(line.content, Ticket):
                        day = partition_of(line.content.created_at)
                        days[day] = days.get(day, 0) + 1
        if not days:
            named = "has no ticket that can be read" if manifests else "is named by no manifest"
            raise UsageError(
                f"batch {batch_id!r:.80} {named} in {self.settings.manifest_path}",
                next_step="python -m pipelines.ingestion.seed_loader --manifest-dir "
                f"{self.settings.manifest_path} lists what was delivered",
            )
        return days

    def _reads(self, day: str, batch_id: str) -> bool:
        return any(source.batch_id == batch_id for source in admit_inputs(self.settings, day).sources)


def partitions_found(ledger: Ledger, asset_key: str) -> LedgerFound:
    """Return what the ledger knows of an asset's partitions.

    Raises: NotALedgerError when there is no ledger: without one, missing and not recorded look the same.
    """
    with open_snapshot(ledger, views=("partitions", "events", "runs")) as snapshot:
        rows = snapshot.rows(load_query("partition_states"), {"asset_key": asset_key})
        size = snapshot.sealed
    return LedgerFound({key: PartitionFound(state, code, run_id) for key, state, code, run_id in rows}, size)

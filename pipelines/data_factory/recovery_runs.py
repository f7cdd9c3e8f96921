"""Carry out a recovery plan through Dagster, in this process: no daemon is needed, and none takes part.

Every run has the plan's id, verb, digest and operator in its tags, and who carried it out, so that the ledger joins
it to its plan. A retry is Dagster's re-execution from failure, a rerun its re-execution of all steps; both name the
run that they follow. A backfill is also recorded as a Dagster backfill, at its end: a daemon would take up one that
is only requested.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from pipelines.data_factory.assets import MANIFEST_GATE, RAW_TICKET_EVENTS, TICKET_FACT
from pipelines.data_factory.recovery_plan import COMMAND, RecoveryPlan, RunFound, Target
from run_evidence.ledger import UsageError

PARTITION_TAG: Final = "dagster/partition"
PLAN_TAG: Final = "recovery/plan"
EXECUTOR_TAG: Final = "recovery/executed_by"
_BACKFILL_TAG: Final = "dagster/backfill"
_IN_PROCESS: Final[Mapping[str, Any]] = {"execution": {"config": {"in_process": {}}}}
_QUIET: Final[Mapping[str, Any]] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_REPLAYED: Final = [MANIFEST_GATE, RAW_TICKET_EVENTS, TICKET_FACT]


@dataclass(frozen=True)
class Project:
    """The factory's code, as Dagster loads it for a run: a function of a module that returns definitions."""

    module: str
    function: str
    job_name: str

    @cached_property
    def repository(self) -> dg.RepositoryDefinition:
        """The definitions, loaded once."""
        return self._pointer.get_definition()

    @property
    def job(self) -> Any:
        """The job in the form in which Dagster executes and re-executes it."""
        return self._pointer.get_reconstructable_job(self.job_name)

    @property
    def partition_keys(self) -> list[str]:
        """The partitions that the definition has now."""
        definition = self.repository.get_job(self.job_name).partitions_def
        return list(definition.get_partition_keys()) if definition else []

    @property
    def partitions(self) -> str:
        """The job's partitions in Dagster's words."""
        return str(self.repository.get_job(self.job_name).partitions_def or "none")

    @property
    def steps(self) -> tuple[str, ...]:
        """What the job does, by the names of its steps."""
        return tuple(sorted(node.name for node in self.repository.get_job(self.job_name).nodes))

    @property
    def _pointer(self) -> ReconstructableRepository:
        return ReconstructableRepository.for_module(self.module, self.function)


def find_run(instance: dg.DagsterInstance, job_name: str, run_id: str) -> RunFound:
    """Return the run of the job whose id begins so. Raises: UsageError when there is none, or more than one."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job_name))
    matching = [run for run in runs if run.run_id.startswith(run_id)]
    if len(matching) != 1:
        said = f"{len(matching)} runs of {job_name} begin so" if matching else f"{job_name} has no such run"
        raise UsageError(f"run {run_id!r:.60}: {said}", next_step="ledger runs lists them")
    return _found(instance, matching[0])


def newest_run(instance: dg.DagsterInstance, job_name: str, tags: Mapping[str, str], asked: str) -> RunFound:
    """Return the job's newest run that carries these tags. Raises: UsageError when it never had one."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job_name, tags=dict(tags)), limit=1)
    if not runs:
        raise UsageError(
            f"{job_name} never ran for {asked}, so there is nothing to run again",
            next_step=f"{COMMAND} --mode backfill",
        )
    return _found(instance, runs[0])


def runs_of(instance: dg.DagsterInstance, plan_id: str) -> list[str]:
    """Return the runs that Dagster has of a plan, newest first; the ledger may not have them yet."""
    return [run.run_id for run in instance.get_runs(dg.RunsFilter(tags={PLAN_TAG: plan_id}))]


def _found(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunFound:
    failures = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [record.event_log_entry.dagster_event for record in failures]
    steps = tuple(event.step_key for event in events if event and event.step_key)
    partition = run.tags.get(PARTITION_TAG)
    if partition is None:
        raise UsageError(
            f"run {run.run_id} has no partition, and the factory works on one day at a time",
            next_step=f"{COMMAND} --mode backfill lists the partitions that are missing",
        )
    return RunFound(run.run_id, partition, run.status.value, steps)


def carry_out(
    plan: RecoveryPlan,
    project: Project,
    instance: dg.DagsterInstance,
    executor: str,
    ended: Callable[[Target, str, bool], None],
) -> None:
    """Execute the targets that are due, one after the other, for `executor`; one that fails holds up no other.

    `ended` is called with each target, its run and whether that succeeded, as soon as it has ended.
    """
    job = project.job
    runs: dict[str, str] = {}
    for target in plan.due:
        try:
            result = _execute(plan, target, job, instance, executor)
        except dg.DagsterError as error:
            raise UsageError(
                f"Dagster cannot run {target.plan.partition_key} again: {' '.join(str(error).split())[:400]}",
                next_step=f"{COMMAND} --mode replay --partition {target.plan.partition_key}",
            ) from error
        runs[target.plan.partition_key] = result.run_id
        ended(target, result.run_id, result.success)
    if plan.mode == "backfill" and runs:
        _record_backfill(plan, project, instance, executor, runs)


def _execute(
    plan: RecoveryPlan, target: Target, job: Any, instance: dg.DagsterInstance, executor: str
) -> dg.JobExecutionResult:
    day = target.plan.partition_key
    tags = {
        PARTITION_TAG: day,
        PLAN_TAG: plan.plan_id,
        "recovery/plan_sha256": plan.sha256,
        "recovery/mode": plan.mode,
        "recovery/operator": plan.operator,
        EXECUTOR_TAG: executor,
    }
    if target.run_id is None:
        if plan.mode == "backfill":
            tags[_BACKFILL_TAG] = plan.plan_id
        selection = _REPLAYED if plan.mode == "replay" else None
        config = {**_IN_PROCESS, **_QUIET}
        return dg.execute_job(job, instance, run_config=config, tags=tags, asset_selection=selection)
    parent = instance.get_run_by_id(target.run_id)
    if parent is None:
        raise UsageError(f"run {target.run_id} is not there any more", next_step=f"{COMMAND} --mode backfill")
    if plan.mode == "retry":
        again = dg.ReexecutionOptions.from_failure(target.run_id, instance)
    else:
        again = dg.ReexecutionOptions(parent_run_id=target.run_id)
    kept = {name: value for name, value in parent.tags.items() if not name.startswith(("dagster/", ".dagster"))}
    config = {**_QUIET, **parent.run_config, **_IN_PROCESS}
    return dg.execute_job(job, instance, run_config=config, tags={**kept, **tags}, reexecution_options=again)


def _record_backfill(
    plan: RecoveryPlan,
    project: Project,
    instance: dg.DagsterInstance,
    executor: str,
    runs: Mapping[str, str],
) -> None:
    """Add the backfill to Dagster's own, as ended: which asset × partition it had, and which of them were made."""
    repository = project.repository
    graph = repository.asset_graph
    chosen = repository.get_job(project.job_name).asset_layer.executable_asset_keys
    keys = sorted(key for key in chosen if graph.get(key).partitions_def is not None)
    planned = {AssetKeyPartitionKey(key, day) for key in keys for day in runs}
    made = planned & {pair for run_id in runs.values() for pair in _made(instance, run_id)}
    target = AssetGraphSubset.from_asset_partition_set(planned, graph)
    started = datetime.fromisoformat(plan.timestamp).timestamp()
    data = AssetBackfillData.empty(target, started, instance)._replace(
        requested_runs_for_target_roots=True,
        requested_subset=target,
        materialized_subset=AssetGraphSubset.from_asset_partition_set(made, graph),
        failed_and_downstream_subset=AssetGraphSubset.from_asset_partition_set(planned - made, graph),
    )
    status = BulkActionStatus.COMPLETED_SUCCESS if made == planned else BulkActionStatus.COMPLETED_FAILED
    instance.add_backfill(
        PartitionBackfill(
            backfill_id=plan.plan_id,
            status=status,
            from_failure=False,
            tags={PLAN_TAG: plan.plan_id, "recovery/operator": plan.operator, EXECUTOR_TAG: executor},
            backfill_timestamp=started,
            asset_selection=keys,
            asset_backfill_data=data,
            title=f"recovery {plan.plan_id}",
            description=plan.asked,
            backfill_end_timestamp=datetime.now(UTC).timestamp(),
        )
    )


def _made(instance: dg.DagsterInstance, run_id: str) -> Iterator[AssetKeyPartitionKey]:
    """Yield what a run materialized."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    for event in (record.event_log_entry.dagster_event for record in records):
        if event is not None and event.asset_key is not None:
            yield AssetKeyPartitionKey(event.asset_key, event.partition)

"""`closed_runs_sensor`: each run that the ledger closes is handed on once, and what fails is handed on again."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg
import pytest

from run_evidence.ledger import Ledger, UsageError
from run_evidence.sensors import closed_runs_sensor
from run_evidence.sensors.capture.capture import CaptureContext, capture_run


@dg.op
def work() -> None: ...


@dg.job
def ours() -> None:
    work()


@dg.job
def other() -> None:
    work()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as opened:
        yield opened


def closed(instance: dg.DagsterInstance, ledger: Ledger, job: dg.JobDefinition) -> str:
    """Run a job, and close the run in the ledger."""
    run_id = job.execute_in_process(instance=instance).run_id
    capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=0))
    ledger.seal()
    return run_id


class Handed:
    """A sensor over a ledger, ticked by hand: what it was given in each tick, and what it says it could not do."""

    def __init__(self, instance: dg.DagsterInstance, ledger: Ledger, job_name: str | None = None) -> None:
        self.instance = instance
        self.given: list[list[str]] = []
        self.fails: Mapping[str, str] = {}
        self.cursor: str | None = None
        self.sensor = closed_runs_sensor("handed_on", self._take, job_name=job_name, ledger=ledger.root)

    def _take(self, _: Ledger, names: Sequence[str]) -> Mapping[str, str]:
        self.given.append(list(names))
        return self.fails

    def tick(self) -> str:
        """Do a tick, and return what it says."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        skipped = self.sensor(context)
        assert isinstance(skipped, dg.SkipReason)
        self.cursor = context.cursor
        return str(skipped.skip_message)


@pytest.mark.soak
def test_a_run_is_handed_on_once(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """In the tick after it was closed; a tick in which nothing was closed asks for nothing."""
    ledger = Ledger(tmp_path / "ledger")
    handed = Handed(instance, ledger)
    assert handed.tick() == "There is no ledger yet."
    first = closed(instance, ledger, ours)
    assert handed.tick() == "1 runs closed since the last tick"
    handed.tick()
    second = closed(instance, ledger, other)
    handed.tick()
    assert handed.given == [[first], [second]]


def test_only_runs_of_the_job_that_is_named_are_handed_on(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    closed(instance, ledger, other)
    run_id = closed(instance, ledger, ours)
    handed = Handed(instance, ledger, "ours")
    handed.tick()
    assert handed.given == [[run_id]]


@pytest.mark.soak
def test_what_could_not_be_done_is_asked_for_again(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """By the name the work gave it, beside what was closed since, until it is done; the tick says so."""
    ledger = Ledger(tmp_path / "ledger")
    handed = Handed(instance, ledger)
    run_id = closed(instance, ledger, ours)
    handed.fails = {run_id: "no room", "the_summary": "no room either"}
    assert f"not done, tried again later: {run_id}: no room" in handed.tick()
    later = closed(instance, ledger, ours)
    handed.fails = {}
    handed.tick()
    assert sorted(handed.given[1]) == sorted([later, run_id, "the_summary"])
    handed.tick()
    assert len(handed.given) == 2


def test_work_that_breaks_leaves_the_place_as_it_was(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Dagster shows the error, and the next tick hands the same runs on."""
    ledger = Ledger(tmp_path / "ledger")
    closed(instance, ledger, ours)

    def breaks(_: Ledger, names: Sequence[str]) -> Mapping[str, str]:
        raise RuntimeError(f"{len(names)} are too many")

    context = dg.build_sensor_context(instance=instance, cursor="0")
    with pytest.raises(RuntimeError, match="1 are too many"):
        closed_runs_sensor("breaking", breaks, ledger=ledger.root)(context)
    assert context.cursor == "0"


def test_an_address_that_cannot_be_one_is_refused_when_the_project_loads() -> None:
    with pytest.raises(UsageError, match="s3"):
        closed_runs_sensor("far_away", lambda _, __: {}, ledger="s3://bucket/ledger")

"""The final documents follow a run's closing, without anybody asking for them."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.data_factory.reporting import LedgerResource, final_evidence_sensor
from pipelines.resources import ReportsResource
from run_evidence.evidence import files
from run_evidence.ledger import Ledger
from run_evidence.sensors.capture.capture import CaptureContext, capture_run
from run_evidence.sensors.closed_runs import read_place


@dg.asset(
    key=["week06", "silver", "ticket_fact_partitioned"], partitions_def=dg.DailyPartitionsDefinition("2026-04-01")
)
def product() -> None:
    raise dg.Failure("the source is gone")


@pytest.fixture
def failed_run(tmp_path: Path) -> tuple[dg.DagsterInstance, str, Ledger]:
    instance = dg.DagsterInstance.local_temp(str(tmp_path))
    job = dg.Definitions(assets=[product], jobs=[dg.define_asset_job("job")]).get_job_def("job")
    run_id = job.execute_in_process(instance=instance, partition_key="2026-04-17", raise_on_error=False).run_id
    return instance, run_id, Ledger(tmp_path / "ledger")


def _tick(instance: dg.DagsterInstance, ledger: Ledger, out: Path, cursor: str | None) -> str | None:
    context = dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        resources={
            "week06_reports": ReportsResource(report_dir=str(out)),
            "week06_ledger": LedgerResource(path=str(ledger.root)),
        },
    )
    final_evidence_sensor("job")(context)
    return context.cursor


@pytest.mark.soak
def test_a_failed_run_has_final_evidence_once_it_is_closed(
    failed_run: tuple[dg.DagsterInstance, str, Ledger], tmp_path: Path
) -> None:
    """A run that never reached its report asset is reported all the same, exactly once."""
    instance, run_id, ledger = failed_run
    out = tmp_path / "reports"
    capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=3_600))
    cursor = _tick(instance, ledger, out, None)
    assert not list(out.glob("run_evidence/*")), "it is not closed yet"
    capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=0))
    ledger.seal()
    cursor = _tick(instance, ledger, out, cursor)
    written = list(out.glob("run_evidence/2026-04-17_*_final_*.json"))
    assert len(written) == 1
    assert run_id in written[0].name
    again = _tick(instance, ledger, out, cursor)
    assert again == cursor
    assert list(out.glob("run_evidence/*")) == written


def test_without_a_ledger_the_sensor_waits(tmp_path: Path) -> None:
    instance = dg.DagsterInstance.local_temp(str(tmp_path))
    assert _tick(instance, Ledger(tmp_path / "nothing"), tmp_path / "reports", None) is None


@pytest.mark.soak
def test_documents_that_cannot_be_written_hold_up_no_others(
    failed_run: tuple[dg.DagsterInstance, str, Ledger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is named, later runs get their documents, and it gets its own when they can be written again."""
    instance, first, ledger = failed_run
    job = dg.Definitions(assets=[product], jobs=[dg.define_asset_job("job")]).get_job_def("job")
    second = job.execute_in_process(instance=instance, partition_key="2026-04-18", raise_on_error=False).run_id
    out = tmp_path / "reports"
    write = files.write_run_documents

    def failing(ledger: Ledger, run_id: str, folder: Path, **more: Any) -> object:
        if run_id == first:
            raise OSError("the name is taken")
        return write(ledger, run_id, folder, **more)

    cursor = None
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_run_documents", failing)
        for run_id in (first, second):
            capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=0))
            ledger.seal()
            cursor = _tick(instance, ledger, out, cursor)
            assert first in str(cursor)
    assert [second in path.name for path in out.glob("run_evidence/*_final_*")] == [True]
    cursor = _tick(instance, ledger, out, cursor)
    assert first not in str(cursor)
    assert len(list(out.glob("run_evidence/*_final_*"))) == 2


@pytest.mark.parametrize("cursor", [None, "7", "", "{", "[]", '{"from": 3}', '{"from": 3, "waiting": ["a"]}'])
def test_any_cursor_is_a_place(cursor: str | None) -> None:
    """The number of an earlier version goes on where it was; what cannot be read is the beginning."""
    expected = {"7": (7, []), '{"from": 3, "waiting": ["a"]}': (3, ["a"])}
    assert read_place(cursor) == expected.get(cursor or "", (0, []))

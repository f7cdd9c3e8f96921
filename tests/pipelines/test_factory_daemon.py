"""The factory as it is deployed: `dagster dev` with its daemon captures by sensors alone; no daemon, the hook."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import jsonschema
import pytest

import pipelines.definitions
from pipelines.definitions import DATA_FACTORY_JOB
from pipelines.samples import BAD_DAY, CLEAN_DAY, make_deliveries
from run_evidence.ledger import Ledger
from run_evidence.ledger.verification.verify import verify
from run_evidence.sensors.attach.hook import HOOK_NAME
from tests.dagster_processes import DAEMON_YAML, command, running, wait_until
from tests.sensors.holding import assert_holds, dagster_records, ledger_records, outcomes, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SENSORS_ALONE = """\
from pipelines.definitions import base_definitions
from pipelines.data_factory.reporting import OPTIONAL
from run_evidence.sensors import with_ledger

defs = with_ledger(
    base_definitions(tick_seconds=1), optional=OPTIONAL, hook=False, grace_seconds=2, tick_seconds=1
)
"""
ABSENT = {
    "week06/external/lakehouse_state": "not_available:week04_lakehouse_not_available",
    "week06/external/support_kpi_mart": "not_available:week05_analytics_not_available",
}
GATE, RAW, FACT, PLAN, REPORT, SUMMARY = (
    f"week06/{name}"
    for name in (
        *("factory/manifest_gate", "ingestion/raw_ticket_events_partitioned", "silver/ticket_fact_partitioned"),
        *("ops/backfill_plan", "ops/run_evidence_report", "ops/data_factory_delivery_summary"),
    )
)
CHECKS = (
    f"{GATE}?manifest_consistency",
    *(f"{RAW}?duplicate_idempotency", f"{RAW}?partition_completeness"),
    *(f"{FACT}?row_count_output_count", f"{FACT}?required_field_null_rate"),
    f"{FACT}?source_to_silver_reconcile",
)
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""


@dataclass(frozen=True)
class Deployment:
    """Where a deployed factory's things are, and the environment its processes run in."""

    root: Path
    env: dict[str, str]
    ledger: Ledger
    instance: dg.DagsterInstance

    def final_documents(self) -> list[dict[str, Any]]:
        """Return the final hand-over documents; a run that was closed anew has one of each closing."""
        paths = (self.root / "reports" / "run_evidence").glob("*_final_*.json")
        return [json.loads(path.read_text()) for path in sorted(paths)]

    def is_held(self) -> bool:
        """Tell whether the ledger holds what Dagster's log holds, log lines counted."""
        try:
            assert_holds(self.instance, self.ledger)
        except AssertionError:
            return False
        return True

    def runs(self) -> dict[str, str]:
        """Return the run ids by partition."""
        return {run.tags["dagster/partition"]: run.run_id for run in self.instance.get_runs()}

    def shown(self) -> tuple[set[str], list[str]]:
        """Return what Dagster shows: the verdicts on its runs, and each evaluation of the evidence's check."""
        verdicts = {run.tags.get("ledger/verdict", "none") for run in self.instance.get_runs()}
        check = dg.AssetCheckKey(dg.AssetKey.from_user_string(REPORT), "ledger_verdict")
        history = self.instance.event_log_storage.get_asset_check_execution_history(check, limit=10)
        return verdicts, sorted(each.status.value for each in history)

    def hooks(self, run_id: str) -> set[str]:
        """Return the steps after which a hook ran, as Dagster's own log has it."""
        records = self.instance.get_records_for_run(run_id).records
        events = [record.event_log_entry.dagster_event for record in records]
        kinds = (dg.DagsterEventType.HOOK_COMPLETED, dg.DagsterEventType.HOOK_ERRORED)
        return {str(event.step_key) for event in events if event and event.event_type in kinds}


@pytest.fixture
def deployment(tmp_path: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """Deliver samples, and make a home whose databases are there before two processes ask for them at once."""
    for name in ("TRACE_ID", "RELEASE_ID", "GIT_SHA", "BATCH_ID"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(DAEMON_YAML)
    make_deliveries(tmp_path / "deliveries", tickets_per_day=40)
    (tmp_path / "sensors_alone.py").write_text(SENSORS_ALONE)
    settings = {
        "DAGSTER_HOME": str(home),
        "LEDGER_URL": str(tmp_path / "ledger"),
        "LEDGER_PROFILE": "pipelines.delivery:WEEK06",
        "DATABASE_URL": f"duckdb:///{tmp_path / 'warehouse.duckdb'}",
        "SEED_MANIFEST_PATH": str(tmp_path / "deliveries"),
        "WEEK06_REPORT_DIR": str(tmp_path / "reports"),
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path))),
    }
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Deployment(tmp_path, {**os.environ, **settings}, Ledger(tmp_path / "ledger"), instance)


def _launch(deployment: Deployment, module: str, partition: str) -> None:
    """Launch the job from the command line; all steps in the run's worker, as a process each takes seconds."""
    tags = {"dagster/partition": partition}
    config: dict[str, Any] = {"execution": {"config": {"in_process": {}}}}
    words = ("-m", module, "-j", DATA_FACTORY_JOB, "--tags", json.dumps(tags), "--config-json", json.dumps(config))
    command("job", "launch", *words, env=deployment.env)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _launch_from_the_ui(port: int, location: str, partition: str) -> bool:
    """Do what the button in Dagster's UI does, each step in a process; False while the webserver is not up."""
    selector = {
        "repositoryLocationName": location,
        "repositoryName": "__repository__",
        "jobName": DATA_FACTORY_JOB,
    }
    tags = [{"key": "dagster/partition", "value": partition}]
    params = {"selector": selector, "runConfigData": {}, "executionMetadata": {"tags": tags}}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": LAUNCH, "variables": {"params": params}}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310 - the same
            said = json.load(answer)
    except OSError:
        return False
    assert said["data"]["launchRun"]["__typename"] == "LaunchRunSuccess", said
    return True


def _definitions_of(path: Path) -> dg.Definitions:
    """Load a module of the test's own as Dagster does."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.defs, dg.Definitions)
    return module.defs


def _hooked(defs: dg.Definitions) -> set[str]:
    """Return the assets that carry the ledger's hook."""
    return {
        asset.key.to_user_string()
        for asset in defs.assets or ()
        if isinstance(asset, dg.AssetsDefinition) and HOOK_NAME in {hook.name for hook in asset.hook_defs}
    }


def test_the_module_of_the_sensors_test_has_no_hook_and_the_factory_has(tmp_path: Path) -> None:
    """Else the test below could pass by the hook; both have the same five sensors, and the final evidence's."""
    path = tmp_path / "sensors_alone.py"
    path.write_text(SENSORS_ALONE)
    alone = _definitions_of(path)
    assert _hooked(alone) == set()
    week03 = {"seed_manifests", "raw_doc_assets", "raw_ticket_events"}
    week07 = {"week07/consumers/handover_gate", "week07/consumers/ticket_input"}
    week06 = {GATE, RAW, FACT, PLAN, REPORT, SUMMARY, *ABSENT}
    assert _hooked(pipelines.definitions.defs) == week03 | week06 | week07
    names = [{sensor.name for sensor in defs.sensors or ()} for defs in (alone, pipelines.definitions.defs)]
    assert names[0] == names[1]
    assert len(names[0]) == 6


def _expected(partition: str, gate: str, others: str, checks: str) -> dict[str, str]:
    """Put together a run's outcomes."""
    assets = {GATE: gate} | dict.fromkeys((RAW, FACT, PLAN, REPORT, SUMMARY), others)
    found = assets | dict.fromkeys(CHECKS, checks)
    return {f"{item}@{partition}": outcome for item, outcome in found.items()} | ABSENT  # these have no partitions


@pytest.mark.soak
@pytest.mark.daemon
def test_dagster_dev_captures_and_reports_by_the_sensors_alone(deployment: Deployment) -> None:
    """A run from the command line and one from the UI: captured, closed, judged and handed over, without a hook.

    The report asset captures its own run while it goes on; the run whose gate fails never starts it, so
    everything the ledger has of that one came from the sensors.
    """
    log, port = deployment.root / "dev.log", _free_port()
    words = ("dev", "-m", "sensors_alone", "-h", "127.0.0.1", "-p", str(port))
    with running("dagster", *words, env=deployment.env, log=log):
        _launch(deployment, "sensors_alone", CLEAN_DAY)
        wait_until(lambda: _launch_from_the_ui(port, "sensors_alone", BAD_DAY), "up", log)
        wait_until(lambda: len({each["run_id"] for each in deployment.final_documents()}) == 2, "reported", log)
        shown = ({"passed", "failed"}, ["FAILED", "SUCCEEDED"])
        wait_until(lambda: deployment.shown() == shown, "shown in Dagster", log)
        wait_until(deployment.is_held, "captured", log)
    ledger, runs = deployment.ledger, deployment.runs()
    assert set(runs) == {CLEAN_DAY, BAD_DAY}
    assert [deployment.hooks(run_id) for run_id in runs.values()] == [set(), set()]
    assert sorted(ledger_records(ledger)) == sorted(dagster_records(deployment.instance)[0])
    assert rows(ledger, "SELECT count(*) FROM runs WHERE closed") == [(2,)]
    clean = _expected(CLEAN_DAY, "materialized", "materialized", "check_passed")
    assert outcomes(ledger, runs[CLEAN_DAY]) == clean
    bad = ("failed:step_failed", "upstream_failed:upstream_failed", "not_evaluated:upstream_failed")
    assert outcomes(ledger, runs[BAD_DAY]) == _expected(BAD_DAY, *bad)
    _assert_handed_over(deployment, {runs[CLEAN_DAY]: "success", runs[BAD_DAY]: "failed"})
    assert not (deployment.root / "dagster" / "ledger-capture.log").exists()


def _assert_handed_over(deployment: Deployment, statuses: dict[str, str]) -> None:
    """Require that final documents are valid and say what became of the run, and that their ledger verifies."""
    schema = json.loads(files("pipelines").joinpath("week06_run_evidence_v1.schema.json").read_text())
    final = deployment.final_documents()
    for document in final:
        jsonschema.validate(document, schema)
        assert (deployment.root / "reports" / document["report_path"]).is_file()
        assert {outcome.split(":")[1] for outcome in ABSENT.values()} <= set(document["reason_codes"])
    assert {(document["run_id"], document["status"]) for document in final} == set(statuses.items())
    result = verify(deployment.ledger)
    assert result.findings == []
    assert result.entries == deployment.ledger.log().size > 0


@pytest.mark.soak
@pytest.mark.daemon
def test_the_hook_alone_captures_a_launched_run(deployment: Deployment) -> None:
    """Without a daemon, `dagster job launch` runs at once: every step is in the ledger when the run has ended.

    Nothing but the hook comes after the last step, so its materialization tells that the hook was there.
    """
    at_once = "run_coordinator:\n  module: dagster._core.run_coordinator\n  class: DefaultRunCoordinator\n"
    (deployment.root / "dagster" / "dagster.yaml").write_text(f"telemetry:\n  enabled: false\n{at_once}")
    _launch(deployment, "pipelines.definitions", CLEAN_DAY)
    instance, ledger = deployment.instance, deployment.ledger
    wait_until(lambda: all(run.is_finished for run in instance.get_runs()), "finished", deployment.root / "log")
    (run,) = instance.get_runs()
    assert instance.all_instigator_state() == []
    assert instance.get_daemon_heartbeats() == {}
    assert len(deployment.hooks(run.run_id)) == 8
    expected, _ = dagster_records(instance)
    held = ledger_records(ledger)
    assert len(held) == len(set(held))
    assert set(held) < expected
    made = {key for (key,) in rows(ledger, "SELECT asset_key FROM materializations")}
    assert made == {GATE, RAW, FACT, PLAN, REPORT, SUMMARY}
    assert rows(ledger, "SELECT count(*) FROM runs WHERE closed") == [(0,)]
    assert deployment.final_documents() == []
    _ledger("sync", "--grace", "0", env=deployment.env)
    assert_holds(instance, ledger)
    _ledger("report", run.run_id, "--out", str(deployment.root / "reports"), env=deployment.env)
    _assert_handed_over(deployment, {run.run_id: "success"})
    assert not (deployment.root / "dagster" / "ledger-capture.log").exists()


def _ledger(*words: str, env: dict[str, str]) -> None:
    program = [sys.executable, "-c", "from run_evidence.ledger.cli import main; main()", *words]
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""The main job from end to end: what `make demo` promises, on the ledger and the documents it leaves behind."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from dagster import (
    AssetCheckKey,
    AssetKey,
    DagsterInstance,
    DagsterRunStatus,
    PathMetadataValue,
    RunsFilter,
)
from playwright.sync_api import Browser

from docs.dagster_pictures import show, views, webserver
from run_evidence.ledger import Ledger
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.verification.verify import verify
from run_evidence.sensors.capture.capture import CaptureContext, capture_run
from run_evidence.sensors.reconcile import reconcile
from tests.browser import chromium

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Demo:
    """A demo that was run twice in one folder: what it printed, and where its things are."""

    folder: Path
    first: subprocess.CompletedProcess[str]
    second: subprocess.CompletedProcess[str]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / ".demo" / "ledger")

    @property
    def reports(self) -> Path:
        return self.folder / ".demo" / "reports" / "week06"


def _run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the demo in the shell of somebody who has a deployment of his own; it must not reach the demo."""
    of_a_deployment = {
        "DAGSTER_HOME": str(folder / "elsewhere"),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "LAKEHOUSE_ENABLED": "false",
        "LEDGER_URL": str(folder / "elsewhere"),
        "TRACE_ID": "of-a-deployment",
        "WEEK06_INGEST_LIMIT": "5",
        "WEEK06_PARTITION_START_DATE": "2027-01-01",
    }
    environment = {**os.environ, **of_a_deployment, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "pipelines.demo"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    return Demo(folder, _run(folder), _run(folder))


def _a_file(folder: Path) -> None:
    (folder / ".demo").write_text("mine")


def _a_folder(folder: Path) -> None:
    (folder / ".demo" / "ledger").mkdir(parents=True)
    (folder / ".demo" / "ledger" / "mine").write_text("mine")


def _a_newer_ledger(folder: Path) -> None:
    _a_folder(folder)
    (folder / ".demo" / "ledger" / "ledger.json").write_text('{"format": 99, "origin": "o"}')


@pytest.mark.parametrize(
    ("put", "named"),
    [
        (_a_file, ".demo"),
        (_a_folder, ".demo/ledger is a folder without"),
        (_a_newer_ledger, "format 99"),
    ],
)
def test_what_is_in_its_way_is_named_and_left_alone(
    put: Callable[[Path], None], named: str, tmp_path: Path
) -> None:
    """Before anything runs, with the next step and the exit code of the command."""
    put(tmp_path)
    done = _run(tmp_path)
    assert done.returncode == 4, done.stderr
    assert named in done.stderr
    assert "move .demo away, then: make demo" in done.stderr
    assert "Traceback" not in done.stderr
    assert "[1/6]" not in done.stderr
    assert "mine" in [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]


@pytest.fixture
def instance(demo: Demo) -> Iterator[DagsterInstance]:
    with DagsterInstance.from_config(str(demo.folder / ".demo" / "dagster")) as opened:
        yield opened


@pytest.mark.soak
def test_it_works_twice_in_a_row(demo: Demo) -> None:
    assert demo.first.returncode == 0, demo.first.stderr
    assert demo.second.returncode == 0, demo.second.stderr
    assert [path.name for path in demo.folder.iterdir()] == [".demo"], "everything it writes is there"


WARNED = ("succeeded", "warned", "manual_review_required", "10 of 14 planned passed, 2 warned, 2 not available")
EMPTY = ("succeeded", "warned", "manual_review_required", "9 of 14 planned passed, 3 warned, 2 not available")
STORIES = {
    "2026-04-15": [
        (
            *("failed", "failed", "hold_downstream"),
            "0 of 14 planned passed, 1 failed, 2 not available, 5 never ran, 6 not evaluated",
        )
    ],
    "2026-04-16": [WARNED, WARNED],
    "2026-04-17": [
        ("succeeded", "passed", "proceed_to_week07", "12 of 14 planned passed, 2 not available"),
    ],
    "2026-04-18": [
        (
            *("succeeded", "skipped", "dry_run_only"),
            "3 of 14 planned passed, 4 skipped, 2 not available, 5 not evaluated",
        )
    ],
    "2026-04-19": [EMPTY],
}


@pytest.mark.soak
@pytest.mark.parametrize("which", ["first", "second"])
def test_its_table_tells_the_five_stories_apart(demo: Demo, which: str) -> None:
    """One succeeds, one is a dry run, one fails on bad input, one has no rows, one is run twice; again as well."""
    done: subprocess.CompletedProcess[str] = getattr(demo, which)
    told: dict[str, list[tuple[str, ...]]] = {}
    for line in done.stdout.splitlines():
        words = line.split()
        if len(words) > 4 and words[1].startswith("2026-04-"):
            told.setdefault(words[1], []).append((words[2], words[3], words[4], " ".join(words[5:])))
    assert told == STORIES


@pytest.mark.soak
def test_what_was_left_out_is_named_with_its_reason(demo: Demo) -> None:
    assert "week06/external/lakehouse_state: not_available in 6 of 6 runs" in demo.first.stdout
    assert "week04_lakehouse_not_available" in demo.first.stdout
    assert "dry_run_no_db_write" in demo.first.stdout


@pytest.mark.soak
def test_the_commands_it_suggests_work(demo: Demo) -> None:
    suggested = demo.first.stdout.split("try next:\n")[1].splitlines()
    assert len(suggested) == 4
    for command in suggested:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=demo.folder,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        assert done.stdout


@pytest.mark.soak
def test_the_ledger_holds_exactly_the_event_records_of_dagsters_own_log(
    demo: Demo, instance: DagsterInstance
) -> None:
    """Every record that carries an event is one event with its storage_id; log lines are counted."""
    runs = instance.get_run_records()
    assert len(runs) == 12
    with open_snapshot(demo.ledger) as snapshot:
        for record in runs:
            run_id = record.dagster_run.run_id
            entries = instance.event_log_storage.get_records_for_run(run_id).records
            events = {e.storage_id for e in entries if e.event_log_entry.dagster_event}
            held = snapshot.rows(
                "SELECT storage_id FROM events WHERE run_id = $run AND storage_id IS NOT NULL", {"run": run_id}
            )
            assert sorted(row[0] for row in held) == sorted(events)
            closed = snapshot.rows(
                "SELECT (data->>'$.log_lines')::INT, (data->>'$.dagster_records')::INT FROM events "
                "WHERE run_id = $run AND event_type = 'run.closed.v1'",
                {"run": run_id},
            )
            assert closed == [(len(entries) - len(events), len(events))]


@pytest.mark.soak
def test_the_ledger_is_whole_when_the_demo_ends(demo: Demo, instance: DagsterInstance) -> None:
    """Also of the records that belong to no run: what the demo itself showed in Dagster."""
    compared = reconcile(instance, demo.ledger)
    assert compared.runs == 12
    assert compared.whole, compared


@pytest.mark.soak
def test_capturing_again_changes_nothing(demo: Demo, instance: DagsterInstance) -> None:
    before = demo.ledger.log().size
    for record in instance.get_run_records():
        captured = capture_run(instance, record.dagster_run.run_id, CaptureContext(demo.ledger, grace_seconds=0))
        assert captured is not None
        assert captured.appended == 0
    demo.ledger.seal()
    assert demo.ledger.log().size == before


@pytest.mark.soak
def test_every_planned_item_has_exactly_one_outcome(demo: Demo) -> None:
    with open_snapshot(demo.ledger) as snapshot:
        per_run = snapshot.rows(
            "SELECT run_id, count(*), count(DISTINCT (asset_key, partition, check_name)) FROM outcomes GROUP BY 1"
        )
    assert len(per_run) == 12
    assert {tuple(row[1:]) for row in per_run} == {(14, 14)}


@pytest.mark.soak
def test_absent_is_never_passed(demo: Demo) -> None:
    with open_snapshot(demo.ledger) as snapshot:
        optional = snapshot.rows("SELECT DISTINCT verdict FROM outcomes WHERE NOT required")
        made = snapshot.rows("SELECT count(*) FROM materializations WHERE asset_key LIKE 'week06/external/%'")
    assert optional == [("not_available",)]
    assert made == [(0,)]


@pytest.mark.soak
def test_every_event_of_a_run_carries_its_ids(demo: Demo) -> None:
    with open_snapshot(demo.ledger) as snapshot:
        rows = snapshot.rows(
            "SELECT count(*) FILTER (trace_id IS DISTINCT FROM replace(run_id, '-', '')), "
            "count(*) FILTER (release_id IS DISTINCT FROM 'demo-release') FROM events WHERE run_id <> ''"
        )
        batches = snapshot.rows("SELECT partition, min(batch_id), max(batch_id) FROM runs GROUP BY 1")
    assert rows == [(0, 0)]
    assert all(low == high == f"batch-{partition.replace('-', '')}-001" for partition, low, high in batches)


@pytest.mark.soak
def test_every_hand_over_document_is_valid_and_has_a_final_version(demo: Demo) -> None:
    schema = json.loads(files("pipelines").joinpath("week06_run_evidence_v1.schema.json").read_text())
    documents = [json.loads(path.read_text()) for path in sorted(demo.reports.glob("run_evidence/*.json"))]
    for document in documents:
        jsonschema.validate(document, schema)
        assert (demo.reports / document["report_path"]).is_file()
    final = {json.loads(path.read_text())["run_id"] for path in demo.reports.glob("run_evidence/*_final_*.json")}
    assert len(final) == 12
    decisions = {document["downstream_decision"] for document in documents}
    assert decisions == {"proceed_to_week07", "manual_review_required", "hold_downstream", "dry_run_only"}


@pytest.mark.soak
def test_the_report_made_inside_a_run_says_that_it_is_interim(demo: Demo) -> None:
    """Its own step is still running, so it cannot claim to be the last word."""
    interim = sorted(demo.reports.glob("run_evidence/2026-04-17_*_interim_*.json"))
    assert interim
    for path in interim:
        document = json.loads(path.read_text())
        assert "run_not_closed" in document["reason_codes"]
        assert document["downstream_decision"] == "hold_downstream"


@pytest.mark.soak
def test_the_ledger_verifies(demo: Demo) -> None:
    result = verify(demo.ledger)
    assert result.findings == []
    assert result.entries == demo.ledger.log().size > 800


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from chromium()


@pytest.mark.soak
@pytest.mark.browser
def test_dagsters_own_ui_shows_the_verdicts(
    demo: Demo, instance: DagsterInstance, browser: Browser, tmp_path: Path
) -> None:
    """Which of the green runs is fit, why an asset was left out, where the final report is; no form comes first."""
    failed = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.FAILURE]), limit=1)[0].run_id
    with webserver(demo.folder / ".demo") as address:
        page = browser.new_page()
        for name, view in views(failed).items():
            show(page, address, view)
            page.screenshot(path=tmp_path / name)
            assert (tmp_path / name).stat().st_size < 250_000, name
            assert page.get_by_role("dialog").count() == (1 if view.press else 0), name
            assert page.get_by_text(".dagster/ledger").count() == 0, "what is only bookkeeping stays hidden"
        page.goto(f"{address}/runs?q%5B0%5D=tag%3Aledger%2Fverdict%3Dpassed")
        page.get_by_text("ledger/verdict: passed").nth(1).wait_for()
        assert page.get_by_text("ledger/verdict: warned").count() == 0
        page.goto(f"{address}/automation")
        page.get_by_text("week06_data_factory_daily").first.wait_for()
        page.close()


@pytest.mark.soak
def test_dagster_has_the_final_evidence_of_each_run_once(demo: Demo, instance: DagsterInstance) -> None:
    """Also after the demo was run twice, and for the run that failed before the report."""
    key = AssetKey(["week06", "ops", "run_evidence_report"])
    found = [each.asset_observation for each in instance.fetch_observations(key, limit=100).records]
    final = [o for o in found if o and "summary" in o.metadata]
    told = [str(o.metadata["ledger/run"].value) for o in final]
    assert len(told) == len(set(told)) == 12
    for observation in final:
        for name in ("page", "report", "evidence"):
            link = observation.metadata[name]
            assert isinstance(link, PathMetadataValue)
            assert Path(str(link.value)).is_file()
    checked = instance.event_log_storage.get_asset_check_execution_history(
        AssetCheckKey(key, "ledger_verdict"), limit=100
    )
    green = [str(c.evaluation.metadata["verdict"].value) for c in checked if c.evaluation and c.evaluation.passed]
    assert (len(checked), green) == (12, ["passed", "passed"])


def test_the_port_of_the_ui_can_be_chosen() -> None:
    told = subprocess.run(["make", "-n", "dev", "PORT=3001"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "dagster dev -m pipelines.definitions --port 3001" in told.stdout

"""`make demo`: the main job from end to end, on deliveries it makes itself, in well under a minute.

Five daily partitions through a real, persistent Dagster instance: one succeeds, one is a dry run, one fails on
bad input, one has no rows, one is run twice because late tickets came in. Everything is written under `.demo/`.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipelines.samples import BAD_DAY, CLEAN_DAY, DAYS, EMPTY_DAY, INVALID_DAY, ORDINARY_DAY, make_deliveries
from run_evidence.ledger import EnvironmentFault, LedgerError, NotALedgerError
from run_evidence.ledger.terminal import VERDICT_STYLES, fail, out, say, styled, table

if TYPE_CHECKING:
    import dagster as dg

    from run_evidence.evidence import WrittenDocuments
    from run_evidence.ledger import Ledger

DEMO: Final = Path(".demo")
_RELEASE: Final = "demo-release"
_OF_A_DEPLOYMENT: Final = frozenset(
    {"LAKEHOUSE_ENABLED", "ANALYTICS_ENABLED", "METRIC_REGISTRY_PATH", "TRACE_ID", "BATCH_ID", "MINIO_BUCKET"}
)
_DAGSTER_YAML: Final = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"  # nor a form to sign up with
_SKIPS: Final = (
    "SELECT asset_key, outcome, reason_code, count(DISTINCT run_id), any_value(reason) FROM skips "
    "WHERE declared AND list_contains($runs, run_id) GROUP BY ALL ORDER BY asset_key"
)


@dataclass(frozen=True, slots=True)
class DemoRun:
    """One run of the demo: which partition, what has been delivered by then, what it shows."""

    partition: str
    delivered: tuple[str, ...]
    shows: str
    dry_run: bool = False


def demo_runs() -> list[DemoRun]:
    """Return the runs in order: days as they come, and at last the first clean day again."""
    until = {day: DAYS[: DAYS.index(day) + 1] for day in DAYS}
    return [
        DemoRun(BAD_DAY, until[BAD_DAY], "bad input: the delivery is cut off and the gate rejects it"),
        DemoRun(INVALID_DAY, until[INVALID_DAY], "first run; some of its tickets are still on their way"),
        DemoRun(CLEAN_DAY, until[CLEAN_DAY], "a clean day"),
        DemoRun(ORDINARY_DAY, until[ORDINARY_DAY], "a dry run: it explains and writes nothing", dry_run=True),
        DemoRun(EMPTY_DAY, until[EMPTY_DAY], "no ticket was created that day"),
        DemoRun(INVALID_DAY, DAYS, "the same again, now that late tickets have come in"),
    ]


def main() -> int:
    """Run the demo and print what came of it; 0 when the ledger verifies, else an exit code of `ledger`'s."""
    try:
        return _run()
    except NotALedgerError as error:
        problem = str(error)
    except LedgerError as error:
        return fail(error)
    except OSError as error:
        problem = f"{error.filename or DEMO}: {error.strerror or error}."
    return fail(EnvironmentFault(problem, next_step=f"move {DEMO} away, then: make demo"))


def _run() -> int:
    started = time.monotonic()
    _prepare(DEMO)
    _hush()
    import dagster as dg

    from pipelines.definitions import DATA_FACTORY_JOB, defs
    from run_evidence.ledger import Ledger

    ledger = Ledger(DEMO / "ledger")
    if ledger.root.exists():
        ledger.require()  # what cannot be written to would otherwise be found out run by run
    with dg.DagsterInstance.get() as instance:
        job = defs.get_job_def(DATA_FACTORY_JOB)
        run_ids = [_play(job, instance, play, step) for step, play in enumerate(demo_runs(), start=1)]
        documents = _collect(instance, ledger, run_ids)
    ok = _print(ledger, run_ids, documents, time.monotonic() - started)
    return 0 if ok else 3


def _prepare(root: Path) -> None:
    """Point everything at `root`, before the first day: with a warehouse that holds nothing yet.

    What an earlier demo left in the ledger stays: a ledger only grows.
    """
    home = root.absolute() / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(_DAGSTER_YAML, encoding="utf-8")
    settings = {
        "DAGSTER_HOME": str(home),
        "LEDGER_URL": str(root / "ledger"),
        "DATABASE_URL": f"duckdb:///{root / 'warehouse.duckdb'}",
        "SEED_MANIFEST_PATH": str(root / "deliveries"),
        "WEEK06_REPORT_DIR": str(root / "reports" / "week06"),
        "WEEK06_OPERATOR": "demo",
    }
    for name in list(os.environ):  # a limit or a first partition of yours would tell another story
        if name.startswith("WEEK06_") or name in _OF_A_DEPLOYMENT:
            del os.environ[name]
    os.environ.update(settings)
    for file in root.glob("warehouse.duckdb*"):  # and its log
        file.unlink()


def _hush() -> None:
    """Keep Dagster's own chatter off the terminal; what matters of it is in the ledger."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)


def _play(job: dg.JobDefinition, instance: dg.DagsterInstance, play: DemoRun, step: int) -> str:
    shutil.rmtree(DEMO / "deliveries", ignore_errors=True)
    make_deliveries(DEMO / "deliveries", days=play.delivered)
    say(f"[{step}/{len(demo_runs())}] {play.partition}  {play.shows}")
    started = time.monotonic()
    config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    if play.dry_run:
        config["ops"] = {"week06__ingestion__raw_ticket_events_partitioned": {"config": {"dry_run": True}}}
    result = job.execute_in_process(
        instance=instance,
        partition_key=play.partition,
        run_config=config,
        raise_on_error=False,
        tags={"release_id": _RELEASE},
    )
    said = "SUCCESS" if result.success else "FAILURE"
    say(f"      Dagster says {said} after {time.monotonic() - started:.1f} s (run {result.run_id[:8]})")
    return result.run_id


def _collect(instance: dg.DagsterInstance, ledger: Ledger, run_ids: Sequence[str]) -> list[WrittenDocuments]:
    """Complete the capture, close the runs, write and show the final documents, as a deployment's sensors do."""
    from pipelines.data_factory.reporting import POLICY, show_evidence
    from pipelines.definitions import defs
    from pipelines.delivery import WEEK06
    from run_evidence.evidence import write_delivery_summary, write_run_documents
    from run_evidence.sensors import declare_partitions
    from run_evidence.sensors.capture.capture import CaptureContext
    from run_evidence.sensors.show_verdicts import show_verdicts
    from run_evidence.sensors.sync import sync_runs

    declare_partitions(ledger, defs, instance)
    how = CaptureContext(ledger, POLICY, grace_seconds=0.0)
    done = sync_runs(instance, how)
    say(f"captured: {done.records} records of {done.runs} runs, {done.appended} of them not seen by the hook")
    reports = DEMO / "reports" / "week06"
    documents = [write_run_documents(ledger, run_id, reports, profile=WEEK06) for run_id in run_ids]
    write_delivery_summary(ledger, reports, profile=WEEK06)
    show_verdicts(instance, ledger)
    for written in documents:
        show_evidence(instance, ledger, written)
    sync_runs(instance, how)  # what was shown is in Dagster's log too
    return documents


def _print(ledger: Ledger, run_ids: Sequence[str], documents: Sequence[WrittenDocuments], seconds: float) -> bool:
    from pipelines.delivery import WEEK06
    from run_evidence.ledger import verify

    out()
    _print_runs(ledger, documents)
    out()
    _print_skips(ledger, run_ids)
    result = verify(ledger)
    out()
    if result.ok:
        out(f"{styled('verified', 'green')}: {result.entries} entries re-hashed, nothing altered")
        out(f"          root {result.root}")
    else:
        out(f"{styled('ALTERED', 'red')}: {len(result.findings)} findings; ledger --ledger {DEMO}/ledger verify")
    out(f"documents under {DEMO}/reports/week06/, all of it in {seconds:.0f} s")
    out(f"page     {_write_page(ledger)}: open it in a browser; it verifies itself")
    out()
    out("try next:")
    command = f"{_ledger_command()} --ledger {DEMO}/ledger"
    everything = "SELECT run_id, asset_key, outcome, reason FROM outcomes WHERE verdict <> 'passed'"
    asked = f"--product {WEEK06.product} --partition {demo_runs()[2].partition}"
    out(f"  {command} gate {asked}")
    out(f"  {command} show {run_ids[0][:8]}")
    out(f'  {command} query "{everything}"')
    out(f"  cat {DEMO}/reports/week06/week06_delivery_summary.md")
    return result.ok


def _write_page(ledger: Ledger) -> Path:
    """Write the page of the demo's release, over what an earlier demo left there."""
    from run_evidence.evidence.gate_subject import Asked
    from run_evidence.evidence.page.making import make_page, write_page
    from run_evidence.evidence.profile_choice import find_profiles

    target = DEMO / "reports" / "week06" / "page.html"
    write_page(ledger, make_page(ledger, Asked(release_id=_RELEASE), find_profiles(ledger)), target, force=True)
    return target


def _print_runs(ledger: Ledger, documents: Sequence[WrittenDocuments]) -> None:
    from run_evidence.evidence.facts import read_runs
    from run_evidence.evidence.prefix import open_prefix

    rows, styles = [], []
    with open_prefix(ledger) as prefix:
        facts = {found.row.run_id: found for found in read_runs(prefix, [d.run_id for d in documents])}
    for written in documents:
        row, verdict = facts[written.run_id].row, facts[written.run_id].verdict
        decisions = ", ".join(written.decisions)
        rows.append(
            [
                row.run_id[:8],
                row.partition or "",
                row.status,
                verdict.verdict,
                decisions,
                verdict.denominators.sentence,
            ]
        )
        styles.append(VERDICT_STYLES[verdict.verdict])
    out(*table(["run", "partition", "Dagster says", "verdict", "hand-over", "of what was planned"], rows, styles))


def _print_skips(ledger: Ledger, run_ids: Sequence[str]) -> None:
    from run_evidence.ledger import open_snapshot

    with open_snapshot(ledger) as snapshot:
        skips = snapshot.rows(_SKIPS, {"runs": list(run_ids)})
    out(styled("left out, and why", "bold"))
    for asset_key, outcome, reason_code, runs, reason in skips:
        out(f"  {asset_key}: {styled(outcome, VERDICT_STYLES[outcome])} in {runs} of {len(run_ids)} runs")
        out(f"      {reason_code}: {reason}")


def _ledger_command() -> str:
    """Name the command as it can be typed here: it lies beside the interpreter that runs the demo."""
    beside = Path(sys.executable).parent / "ledger"
    try:
        return str(beside.relative_to(Path.cwd()))
    except ValueError:
        return "ledger"


if __name__ == "__main__":
    sys.exit(main())

"""Week07 builds on a partition only with a hand-over that holds, sets it free, and is of the data that is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.consumers.handover import RECIPIENT, Inbox, receive
from pipelines.definitions import DATA_FACTORY_JOB, base_definitions
from pipelines.delivery import WEEK06
from pipelines.ingestion.databases import DuckDBFile
from pipelines.ingestion.refusals import RefusedInputError
from pipelines.ingestion.warehouse import BatchStamp, Warehouse
from pipelines.samples import CLEAN_DAY, make_deliveries
from pipelines.tickets import Ticket
from run_evidence.evidence import hand_over
from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.profile_history import profiles_of
from run_evidence.evidence.sign_off import sign_off
from run_evidence.ledger import Ledger, UsageError
from run_evidence.sensors.capture.capture import CaptureContext
from run_evidence.sensors.sync import sync_runs
from tests.handover.damages import World, skip_passes
from tests.trust.ledgers import VKEY, signed_ledger

RAW = "week06__ingestion__raw_ticket_events_partitioned"
LATER = datetime(2026, 4, 20, tzinfo=UTC)
CORE = dg.AssetSelection.groups("week06_data_factory") - dg.AssetSelection.keys(
    "week06/source/seed_manifests",
    "week06/ops/run_evidence_report",
    "week06/ops/data_factory_delivery_summary",
)


@dataclass(frozen=True)
class Produced:
    """A factory that has run the clean day twice: dry first, and then for real; both were handed over."""

    root: Path
    ledger: Ledger


def _environment(root: Path) -> dict[str, str]:
    return {
        "SEED_MANIFEST_PATH": str(root / "deliveries"),
        "WEEK06_REPORT_DIR": str(root / "reports"),
        "DATABASE_URL": f"duckdb:///{root / 'warehouse.duckdb'}",
        "WEEK07_VERIFIER_KEY": VKEY,
    }


@pytest.fixture(scope="module")
def produced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Produced]:
    root = tmp_path_factory.mktemp("produced")
    ledger = signed_ledger(root / "ledger", [])
    make_deliveries(root / "deliveries", tickets_per_day=20)
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral(str(root)) as instance:
        for name, value in _environment(root).items():
            patch.setenv(name, value)
        definitions = base_definitions()
        job = definitions.resolve_job_def(DATA_FACTORY_JOB)
        keys = CORE.resolve(definitions.resolve_asset_graph())
        for folder, dry_run in (("dry", True), ("good", False)):
            job.execute_in_process(
                instance=instance,
                partition_key=CLEAN_DAY,
                asset_selection=list(keys),
                run_config={"ops": {RAW: {"config": {"dry_run": dry_run}}}},
            )
            sync_runs(instance, CaptureContext(ledger, grace_seconds=0))
            hand_over(ledger, WEEK06, CLEAN_DAY, root / folder, to=RECIPIENT)
        about, profiles = Asked(product=WEEK06.product, partition=CLEAN_DAY), profiles_of(WEEK06)
        sign_off(ledger, about, actor="Ada", decision="hold", reason="a recount", profiles=profiles)
        hand_over(ledger, WEEK06, CLEAN_DAY, root / "held", to=RECIPIENT)
        yield Produced(root, ledger)


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox", VKEY, tmp_path / "memory")


@pytest.fixture
def warehouse(produced: Produced, tmp_path: Path) -> Warehouse:
    for path in produced.root.glob("warehouse.duckdb*"):  # the file, and its log
        shutil.copy(path, tmp_path)
    return Warehouse(DuckDBFile(tmp_path / "warehouse.duckdb"))


def _arrives(inbox: Inbox, folder: Path) -> Path:
    place = inbox.of(CLEAN_DAY)
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(folder, place))


def _refused(inbox: Inbox, warehouse: Warehouse) -> tuple[str, ...]:
    with pytest.raises(RefusedInputError) as refused:
        receive(inbox, warehouse, CLEAN_DAY)
    assert "build nothing on it" in str(refused.value.next_step)
    return refused.value.reason_codes


def test_a_hand_over_that_holds_is_accepted(produced: Produced, inbox: Inbox, warehouse: Warehouse) -> None:
    _arrives(inbox, produced.root / "good")
    received = receive(inbox, warehouse, CLEAN_DAY)
    assert received.accepted.decision == "proceed_to_week07"
    assert received.state.ticket_count == received.accepted.evidence["output_row_count"] > 0
    assert received.state.snapshot_id == received.accepted.evidence["output_snapshot_id"]


def test_a_missing_one_is_refused(inbox: Inbox, warehouse: Warehouse) -> None:
    assert _refused(inbox, warehouse) == ("handover_missing",)


def test_one_that_does_not_say_proceed_is_refused(produced: Produced, inbox: Inbox, warehouse: Warehouse) -> None:
    """It is genuine; a dry run produced nothing to build on."""
    _arrives(inbox, produced.root / "dry")
    assert _refused(inbox, warehouse) == ("decision_not_proceed", "dry_run_only")


def test_a_hand_over_that_a_person_holds_is_refused(produced: Produced, inbox: Inbox, warehouse: Warehouse) -> None:
    """Though all of the evidence says that it may proceed."""
    _arrives(inbox, produced.root / "held")
    assert _refused(inbox, warehouse) == ("decision_not_proceed", "signed_off_hold")


def test_one_that_was_tampered_with_is_refused(produced: Produced, inbox: Inbox, warehouse: Warehouse) -> None:
    """The dry run's, with the word with which it would proceed."""
    path = _arrives(inbox, produced.root / "dry") / "evidence.json"
    body = json.loads(path.read_bytes())
    body["downstream_decision"] = "proceed_to_week07"
    path.write_text(json.dumps(body))
    assert _refused(inbox, warehouse) == ("file_changed",)


def test_one_that_was_superseded_is_refused_after_the_newer_one(
    produced: Produced, inbox: Inbox, warehouse: Warehouse
) -> None:
    _arrives(inbox, produced.root / "good")
    receive(inbox, warehouse, CLEAN_DAY)
    _arrives(inbox, produced.root / "dry")
    assert _refused(inbox, warehouse) == ("older_than_accepted",)


def test_a_skip_that_counts_as_passed_is_refused(inbox: Inbox, warehouse: Warehouse, tmp_path: Path) -> None:
    """Even where somebody who may append has recorded and signed it."""
    World(tmp_path)._made_up("a skip that passes", skip_passes, "dry_run_only")
    _arrives(inbox, tmp_path / "a skip that passes")
    assert _refused(inbox, warehouse) == ("record_differs",)


def test_one_for_another_recipient_is_refused(
    produced: Produced, inbox: Inbox, warehouse: Warehouse, tmp_path: Path
) -> None:
    hand_over(produced.ledger, WEEK06, CLEAN_DAY, tmp_path / "other", to="week08")
    _arrives(inbox, tmp_path / "other")
    assert _refused(inbox, warehouse) == ("to_differs",)


def test_a_stale_one_is_refused(
    produced: Produced, inbox: Inbox, warehouse: Warehouse, parsed: Callable[..., Ticket]
) -> None:
    """A late ticket came in after the hand-over: what was handed over is not what is there."""
    _arrives(inbox, produced.root / "good")
    receive(inbox, warehouse, CLEAN_DAY)
    late = parsed(ticket_id="TKT-20260417-999999", created_at=f"{CLEAN_DAY}T12:00:00Z")
    warehouse.write_batch([late], BatchStamp("late", None, LATER))
    assert _refused(inbox, warehouse) == ("partition_changed_after_handover",)


@pytest.mark.parametrize(("folder", "codes"), [("good", None), ("dry", ["decision_not_proceed", "dry_run_only"])])
def test_behind_a_gate_that_refuses_nothing_runs(
    produced: Produced,
    inbox: Inbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    codes: list[str] | None,
) -> None:
    """In Dagster: both assets, or a failure that says why and not one materialization."""
    _arrives(inbox, produced.root / folder)
    for name, value in _environment(produced.root).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WEEK07_HANDOVER_DIR", str(inbox.folder))
    monkeypatch.setenv("WEEK07_ACCEPTED_DIR", str(tmp_path / "memory"))
    job = base_definitions().resolve_job_def("week07_consumer")
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance:
        result = job.execute_in_process(instance=instance, partition_key=CLEAN_DAY, raise_on_error=False)
        made = {
            str(event.asset_key and event.asset_key.path[-1]) for event in result.get_asset_materialization_events()
        }
    assert made == (set() if codes else {"handover_gate", "ticket_input"})
    assert result.success is not bool(codes)
    if codes:
        (failure,) = [event for event in result.all_events if event.is_step_failure]
        data: Any = failure.step_failure_data.user_failure_data
        assert data.metadata["reason_codes"].value == codes


def test_without_a_key_nothing_is_believed() -> None:
    from pipelines.consumers.assets import HandoverResource

    with pytest.raises(UsageError, match="WEEK07_VERIFIER_KEY"):
        HandoverResource().inbox()

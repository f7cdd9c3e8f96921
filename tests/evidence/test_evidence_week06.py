"""The hand-over contract: valid, real, and never more hopeful than the run was."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import orjson
import pytest
from evidence_runs import (
    AFTER,
    COUNTED,
    DAY,
    FACT,
    FACTORY,
    GATE,
    LAKE,
    LAKE_ABSENT,
    MART,
    RAW,
    Story,
    Tell,
    dry_run,
    failed_run,
    good_run,
    open_run,
    planned,
    planned_check,
    step_of,
    warned_run,
)
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from pipelines.delivery import WEEK06
from run_evidence.evidence.delivery import contract_document, deliveries
from run_evidence.evidence.document import encode_document
from run_evidence.evidence.facts import read_runs
from run_evidence.evidence.prefix import open_prefix
from run_evidence.evidence.report import report_of
from run_evidence.ledger import Ledger
from run_evidence.ledger.model.plan import PlanItem

MART_ABSENT = PlanItem(
    MART, kind="dependency", required=False, reason_code="week05_analytics_not_available", reason="no Week05 here"
)


@cache
def validator(name: str) -> Draft202012Validator:
    """Return a validator for a schema that the package ships, or the one of Week06."""
    package = "pipelines" if name == WEEK06.contract else "run_evidence.evidence"
    schema = orjson.loads(files(package).joinpath(f"{name}.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


def documents(ledger: Ledger, run_id: str) -> list[dict[str, Any]]:
    """Derive a run's hand-over documents, read back from their bytes; they and its report must be valid."""
    with open_prefix(ledger) as prefix:
        facts = read_runs(prefix, [run_id])[0]
        validator("run_evidence_report_v1").validate(orjson.loads(encode_document(report_of(prefix, facts))))
        written = [encode_document(contract_document(d, "x.json", signed=True)) for d in deliveries(facts, WEEK06)]
    found = [orjson.loads(content) for content in written]
    for document in found:
        validator("week06_run_evidence_v1").validate(document)
    return found


def only(ledger: Ledger, run_id: str = "run-1") -> dict[str, Any]:
    """Derive the one hand-over document of a run."""
    (document,) = documents(ledger, run_id)
    return document


def test_a_good_run_may_go_on_and_says_what_it_measured(told: Tell) -> None:
    """All passed: success, proceed, with the product's own counts and ids, and Week04's absence named."""
    document = only(told(good_run("run-1")))
    assert (document["status"], document["downstream_decision"]) == ("success", "proceed_to_week07")
    assert (document["asset_key"], document["partition_key"], document["run_id"]) == (FACT, DAY, "run-1")
    assert document["reason_codes"] == ["week04_lakehouse_not_available"]
    assert document["lakehouse_snapshot_id"] is None
    measured = {
        "manifest_id": "manifest-tickets-20260417-001",
        "batch_id": "batch-20260417",
        "input_row_count": 121,
        "output_row_count": 119,
        "source_snapshot_id": "sha256:aa",
        "output_snapshot_id": "sha256:bb",
        "git_sha": "0123abcd",
        "trace_id": "trace-1",
    }
    assert measured.items() <= document.items()
    (check,) = document["checks"]
    counted = {name: value for name, value in COUNTED.items() if name != "reason_codes"}
    assert check == {
        "name": "row_count_output_count",
        "status": "passed",
        "reason_codes": [],
        "metadata": {**counted, "asset_key": FACT},
    }


def test_the_times_are_the_runs(told: Tell) -> None:
    """Started and finished are the run's records in Dagster's log, RFC 3339 in UTC."""
    document = only(told(good_run("run-1")))
    assert document["started_at"] == "2026-04-17T00:00:00.001000Z"
    assert document["finished_at"] == "2026-04-17T00:00:00.014000Z"


def test_what_is_not_known_is_left_out(told: Tell) -> None:
    """No count, id or release is made up: a run that measured nothing has none of these fields."""
    story = Story("run-1").plan().made(GATE).made(RAW, output_row_count=7)
    story.made(FACT, input_row_count=-1, output_row_count=True, manifest_id="")
    document = only(told(story.checked("row_count_output_count", FACT).end().close()))
    unknown = {"input_row_count", "output_row_count", "manifest_id", "batch_id", "git_sha", "data_release_id"}
    assert not unknown & document.keys()
    assert "dbt_invocation_id" not in document  # the plan knows nothing of a mart
    assert "None" not in orjson.dumps(document).decode()


def test_observed_neighbours_are_handed_over(told: Tell) -> None:
    """The lakehouse snapshot and the mart's build come from their observations in this run."""
    story = Story("run-1").plan([*FACTORY, MART_ABSENT]).made(GATE).made(RAW).made(FACT)
    story.observed(LAKE, lakehouse_snapshot_id=42)
    story.observed(MART, dbt_invocation_id="inv-1", semantic_metric_count=0)
    document = only(told(story.checked("row_count_output_count", FACT).end().close()))
    assert document["lakehouse_snapshot_id"] == 42
    assert (document["dbt_invocation_id"], document["semantic_metric_count"]) == ("inv-1", 0)
    assert document["reason_codes"] == []


def test_a_neighbour_not_looked_at_yet_is_left_out(told: Tell) -> None:
    """`null` says that it is not there; while its step has not started, nobody knows."""
    lake = planned(LAKE, None, required=False, reason_code="week04_lakehouse_not_available", reason="no Week04")
    document = only(told(Story("run-1").plan([planned(FACT), lake], {})))
    assert "lakehouse_snapshot_id" not in document


def test_a_dry_run_is_only_that(told: Tell) -> None:
    """A declared dry run that wrote nothing is skipped; what it counted is there, an output count is not."""
    document = only(told(dry_run("run-1")))
    assert (document["status"], document["downstream_decision"]) == ("skipped", "dry_run_only")
    assert document["input_row_count"] == 118
    assert "output_row_count" not in document
    assert document["reason_codes"][0] == "dry_run_no_db_write"
    assert document["checks"][0]["status"] == "skipped"
    assert document["checks"][0]["reason_codes"][:2] == ["check_not_evaluated", "upstream_skipped"]


def test_a_skip_for_another_reason_is_no_dry_run(told: Tell) -> None:
    """Nothing was made and nobody called it a dry run: a person has to look."""
    story = Story("run-1").plan([planned(GATE), planned(FACT)], {}).made(GATE)
    document = only(told(story.left_out(FACT, "no_valid_input_rows", "all rows refused").end().close()))
    assert (document["status"], document["downstream_decision"]) == ("skipped", "manual_review_required")
    assert document["reason_codes"] == ["no_valid_input_rows"]


def test_a_dry_run_code_does_not_undo_a_product(told: Tell) -> None:
    """Some asset says dry run and the product was made all the same: that is no dry run."""
    story = Story("run-1").plan([planned(RAW), planned(FACT)], {}).left_out(RAW, "dry_run_no_db_write", "dry")
    assert only(told(story.made(FACT).end().close()))["downstream_decision"] == "manual_review_required"


def test_a_failed_run_holds_and_gives_the_failures_reasons(told: Tell) -> None:
    """The reason codes are those of the step that failed and of what never ran because of it."""
    document = only(told(failed_run("run-1")))
    assert (document["status"], document["downstream_decision"]) == ("failed", "hold_downstream")
    assert document["reason_codes"] == [
        "run_failed",
        "asset_checks_failed",
        "structured_manifest_missing_or_empty",
        "step_failed",
        "upstream_failed",
        "check_not_evaluated",
        "week04_lakehouse_not_available",
    ]
    assert document["checks"][0]["status"] == "skipped"


def test_a_warning_asks_for_a_person(told: Tell) -> None:
    """A check of severity WARN lets nobody pass unseen, and holds nobody up."""
    document = only(told(warned_run("run-1")))
    assert (document["status"], document["downstream_decision"]) == ("warning", "manual_review_required")
    assert document["checks"][0]["status"] == "warning"
    assert document["checks"][0]["reason_codes"] == ["partition_has_no_seed_rows"]
    assert document["output_row_count"] == 0
    assert "partition_has_no_seed_rows" in document["reason_codes"]


def test_a_failed_check_holds_though_dagster_calls_the_run_a_success(told: Tell) -> None:
    """A task that succeeded is not an asset that is ready."""
    story = Story("run-1").plan().made(GATE).made(RAW).made(FACT)
    story.checked("row_count_output_count", FACT, "failed", reason_codes=["row_count_mismatch"])
    document = only(told(story.end().close()))
    assert (document["status"], document["downstream_decision"]) == ("failed", "hold_downstream")
    assert document["reason_codes"][:2] == ["asset_checks_failed", "row_count_mismatch"]


def test_a_check_without_a_result_holds(told: Tell) -> None:
    """Planned, never evaluated, its asset made: skipped with the reason, never passed, and nobody proceeds."""
    story = Story("run-1").plan().made(GATE).made(RAW).made(FACT).end().close()
    document = only(told(story))
    assert (document["status"], document["downstream_decision"]) == ("failed", "hold_downstream")
    (check,) = document["checks"]
    assert (check["status"], check["reason_codes"]) == ("skipped", ["check_not_evaluated", "never_started"])
    assert check["metadata"] == {"asset_key": FACT, "reason": "the run ended without starting the step"}
    assert "asset_checks_failed" in document["reason_codes"]


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_broken_run_never_proceeds(told: Tell, status: str) -> None:
    """Dagster says the run broke while every item is there: it is held, with that as the reason."""
    story = Story("run-1").plan().made(GATE).made(RAW).made(FACT).checked("row_count_output_count", FACT)
    document = only(told(story.end(status).close()))
    assert (document["status"], document["downstream_decision"]) == ("failed", "hold_downstream")
    assert document["reason_codes"][0] == f"run_{status}"


def test_an_open_run_holds_and_says_that_it_is_open(told: Tell) -> None:
    """Evidence made inside a run is no release, however good it looks; its end is its latest event."""
    story = open_run("run-1").checked("row_count_output_count", FACT)
    last = max(event.occurred_at for event in story.events)
    document = only(told(story))
    assert (document["status"], document["downstream_decision"]) == ("warning", "hold_downstream")
    assert document["reason_codes"] == ["run_not_closed", "week04_lakehouse_not_available"]
    assert document["finished_at"].endswith(f"{last % 1_000_000:06d}Z")


def test_an_open_run_that_failed_already_is_failed(told: Tell) -> None:
    """What is known to be wrong stands there at once."""
    story = Story("run-1").plan().failed(GATE, "no manifest")
    document = only(told(story))
    assert (document["status"], document["downstream_decision"]) == ("failed", "hold_downstream")


def test_each_partition_of_a_run_is_judged_by_itself(told: Tell) -> None:
    """A run over two days hands over two documents; one day's failure does not hold the other."""
    items = [planned(FACT, "2026-04-17"), planned(FACT, "2026-04-18"), LAKE_ABSENT]
    story = Story("run-1").plan(items, {}).made(FACT, "2026-04-17", output_row_count=5).end().close()
    first, second = documents(told(story), "run-1")
    assert [d["partition_key"] for d in (first, second)] == ["2026-04-17", "2026-04-18"]
    assert [d["downstream_decision"] for d in (first, second)] == ["proceed_to_week07", "manual_review_required"]
    assert first["output_row_count"] == 5
    assert "output_row_count" not in second


def test_a_run_without_the_product_speaks_of_the_last_asset_and_releases_nothing(told: Tell) -> None:
    """The asset furthest downstream stands in, and passing is no reason to proceed without the product."""
    story = Story("run-1").plan([planned(GATE), planned(RAW), LAKE_ABSENT], AFTER).made(GATE).made(RAW)
    document = only(told(story.end().close()))
    assert document["asset_key"] == RAW
    assert (document["status"], document["downstream_decision"]) == ("success", "manual_review_required")
    assert "product_not_in_run" in document["reason_codes"]


@pytest.mark.parametrize(
    "items",
    [
        [planned("other/asset")],
        [planned(FACT, "eu-west")],
        [PlanItem(FACT, None, kind="observe")],
        [LAKE_ABSENT],
    ],
)
def test_other_runs_have_no_hand_over_document(told: Tell, items: list[PlanItem]) -> None:
    """Another project, another partition scheme or a mere observation hands nothing over."""
    story = Story("run-1")
    story.plan(items, {}).end().close()
    assert documents(told(story), "run-1") == []


def test_two_checks_of_one_name_are_told_apart(told: Tell) -> None:
    """The contract names a check by name alone, so the asset it checked is in its metadata."""
    items = [*FACTORY, planned_check("row_count_output_count", RAW)]
    story = Story("run-1").plan(items).made(GATE).made(RAW).made(FACT)
    story.checked("row_count_output_count", FACT, rows=1).checked("row_count_output_count", RAW, rows=2)
    checks = only(told(story.end().close()))["checks"]
    assert sorted((c["metadata"]["asset_key"], c["metadata"]["rows"]) for c in checks) == [(RAW, 2), (FACT, 1)]


def test_the_schema_refuses_what_the_contract_does() -> None:
    """The schema can fail: a missing field, one too many, a made-up status, a repeated reason."""
    good: dict[str, Any] = {
        "evidence_schema_version": "week06_run_evidence_v1",
        "run_id": "r",
        "asset_key": FACT,
        "partition_key": DAY,
        "status": "success",
        "started_at": "2026-04-17T00:00:00.000000Z",
        "finished_at": "2026-04-17T00:00:01.000000Z",
        "report_path": "run_report/r.json",
        "reason_codes": [],
    }
    check = validator("week06_run_evidence_v1")
    check.validate(good)
    wrong: list[dict[str, Any]] = [
        {"status": "passed"},
        {"extra": 1},
        {"asset_key": "week05/x"},
        {"partition_key": "2026-4-17"},
        {"started_at": "2026-04-17 00:00:00"},
        {"reason_codes": ["a", "a"]},
        {"input_row_count": -1},
        {"downstream_decision": "go"},
        {"checks": [{"name": "c", "status": "not_evaluated", "reason_codes": [], "metadata": {}}]},
    ]
    for change in wrong:
        with pytest.raises(ValidationError):
            check.validate({**good, **change})
    for name in good:
        with pytest.raises(ValidationError):
            check.validate({k: v for k, v in good.items() if k != name})


def test_steps_of_the_story_are_named_as_dagster_names_them() -> None:
    """The hand-written runs use real step keys, else the derivation above would prove little."""
    assert step_of(FACT) == "week06__silver__ticket_fact_partitioned"


def _stating(status: str, *codes: str, **more: Any) -> Story:
    """Tell a run of a factory that materializes its product and states its result in metadata."""
    story = Story("run-1").plan().made(GATE).made(RAW)
    story.made(FACT, status=status, reason_codes=list(codes), output_row_count=0, **more)
    return story.checked("row_count_output_count", FACT).end().close()


@pytest.mark.parametrize(
    ("status", "codes", "decision"),
    [
        ("skipped", ("other_reason", "dry_run_no_db_write"), "dry_run_only"),
        ("skipped", ("nothing_new",), "manual_review_required"),
        ("not_available", ("week04_lakehouse_not_available",), "manual_review_required"),
        ("warning", ("ticket_ingest_errors",), "manual_review_required"),
        ("failed", ("ticket_ingest_errors",), "hold_downstream"),
        ("success", (), "proceed_to_week07"),
    ],
)
def test_what_a_product_states_of_itself_is_handed_over(
    told: Tell, status: str, codes: tuple[str, ...], decision: str
) -> None:
    """An asset that materializes and says that it was skipped was skipped, with every code it gives."""
    document = only(told(_stating(status, *codes)))
    assert (document["status"], document["downstream_decision"]) == (status, decision)
    assert set(codes) <= set(document["reason_codes"])


@pytest.mark.parametrize("stated", ["dry_run_only", "manual_review_required", "hold_downstream"])
def test_an_assets_own_decision_holds_back(told: Tell, stated: str) -> None:
    """A run that passed goes on only as far as its assets say that it may."""
    document = only(told(_stating("success", downstream_decision=stated)))
    assert document["downstream_decision"] == stated


@pytest.mark.parametrize("stated", ["proceed_to_week07", "dry_run_only", "go", "", 7])
def test_an_assets_own_decision_sets_nothing_free(told: Tell, stated: object) -> None:
    """What failed is held, whatever an asset says; and what is no decision says nothing."""
    document = only(told(_stating("failed", downstream_decision=stated)))
    assert document["downstream_decision"] == "hold_downstream"


@pytest.mark.parametrize("nothing", ["None", "null", "NaN", "nan", "", "  ", " none ", "NULL", "<NA>"])
def test_a_text_that_stands_for_nothing_is_no_identifier(told: Tell, nothing: str) -> None:
    """What a program writes where it has no value is left out, or null where absence is known."""
    story = (
        Story("run-1", git_sha=nothing).plan().made(GATE, manifest_id=nothing).made(RAW, source_snapshot_id=nothing)
    )
    story.made(FACT, output_snapshot_id=nothing, batch_id=nothing, output_row_count=1).observed(
        LAKE, lakehouse_snapshot_id=nothing
    )
    document = only(told(story.checked("row_count_output_count", FACT).end().close()))
    named = {"manifest_id", "batch_id", "git_sha", "source_snapshot_id", "output_snapshot_id"}
    assert not named & document.keys()
    assert document.get("lakehouse_snapshot_id") is None


def test_a_check_that_nobody_planned_holds_the_partition_back(told: Tell) -> None:
    """It failed, so nothing is built on the partition, and the hand-over names it."""
    story = Story("run-1").plan().made(GATE).made(RAW).made(FACT).checked("row_count_output_count", FACT)
    document = only(told(story.checked("unplanned", FACT, "failed").end().close()))
    assert (document["status"], document["downstream_decision"]) == ("failed", "hold_downstream")
    assert {"name": "unplanned", "status": "failed"}.items() <= document["checks"][-1].items()


@pytest.mark.parametrize("neighbour", [LAKE, MART])
def test_a_neighbour_that_is_not_there_blocks_nothing_declared_or_not(told: Tell, neighbour: str) -> None:
    """Week04 and Week05 are optional by contract: the product goes on without them, and their absence is named."""
    items = [planned(GATE), planned(RAW), planned(FACT), planned(neighbour, None)]
    story = Story("run-1").plan(items, {}).made(GATE).made(RAW)
    story.made(neighbour, None, status="not_available", reason_codes=["not_there"]).made(FACT, output_row_count=1)
    document = only(told(story.end().close()))
    assert (document["status"], document["downstream_decision"]) == ("success", "proceed_to_week07")
    assert "not_there" in document["reason_codes"]

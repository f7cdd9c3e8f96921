"""The run evidence report: real values, everything traced, the same bytes from the same prefix."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest
from evidence_runs import (
    FACT,
    GATE,
    RAW,
    START,
    Story,
    Tell,
    dry_run,
    failed_run,
    good_run,
    open_run,
    planned,
    warned_run,
)

from run_evidence.evidence.document import encode_document, timestamp
from run_evidence.evidence.facts import read_rows, read_runs, read_verdicts
from run_evidence.evidence.prefix import open_prefix, sealed_prefix
from run_evidence.evidence.report import derive_report
from run_evidence.ledger import IntegrityError, Ledger, UsageError
from run_evidence.ledger.query.as_of import AsOf, parse_as_of
from run_evidence.ledger.tlog.checkpoint import parse_checkpoint
from tests.paths import paths


def report(ledger: Ledger, run_id: str, size: int | None = None) -> dict[str, Any]:
    """Derive a report and read it back from its bytes."""
    with open_prefix(ledger, AsOf(size=size)) as prefix:
        parsed: dict[str, Any] = orjson.loads(encode_document(derive_report(prefix, run_id)))
    return parsed


def test_the_same_prefix_gives_the_same_bytes_however_the_ledger_grows(told: Tell) -> None:
    """A document depends on its prefix alone: not on the clock, nor on what was recorded later."""
    ledger = told(good_run("run-1"))
    size = ledger.seal().size

    def derive() -> bytes:
        with open_prefix(ledger, AsOf(size=size)) as prefix:
            return encode_document(derive_report(prefix, "run-1"))

    first = derive()
    told(failed_run("run-2", start=START + 9_000_000))
    told(dry_run("run-3"), seal=False)
    assert derive() == first == derive()


def test_a_ledger_copied_elsewhere_gives_the_same_bytes(told: Tell, tmp_path: Path) -> None:
    """No path of a machine is in a document."""
    import shutil

    ledger = told(good_run("run-1"))
    shutil.copytree(ledger.root, tmp_path / "elsewhere")
    there = report(Ledger(tmp_path / "elsewhere"), "run-1")
    assert there == report(ledger, "run-1")
    assert str(tmp_path) not in orjson.dumps(there).decode()


def test_times_and_ids_are_the_runs_own(told: Tell) -> None:
    """The start is the run's start record and the end its end record, not the time of writing."""
    story = good_run("run-1")
    ended = next(e for e in story.events if e.event_type == "run.succeeded.v1").occurred_at
    run = report(told(story), "run-1")["run"]
    assert (run["started_at"], run["ended_at"]) == (timestamp(START + 1_000), timestamp(ended))
    assert (run["run_id"], run["job_name"], run["trace_id"]) == ("run-1", "week06_data_factory", "trace-1")
    assert run["tags"] == {"dagster/partition": "2026-04-17", "git_sha": "0123abcd"}


def test_every_statement_names_the_index_it_rests_on(told: Tell) -> None:
    """Each basis of an item is an entry of the log, and that entry is about this item's step or asset."""
    ledger = told(failed_run("run-0"), good_run("run-1"))
    document = report(ledger, "run-1")
    with open_prefix(ledger) as prefix:
        rows = prefix.snapshot.rows("SELECT index, event_id, asset_key FROM events WHERE run_id = 'run-1'")
    entry_at = {index: (event_id, asset_key) for index, event_id, asset_key in rows}
    based = [item for item in document["items"] if item["basis"]]
    assert len(based) == 4  # all but Week04, which left no record at all
    for item in based:
        for basis in item["basis"]:
            assert entry_at[basis["index"]] == (basis["event_id"], item["asset_key"])
    read = document["provenance"]
    assert (read["first_index"], read["last_index"], read["events_read"]) == (
        min(entry_at),
        max(entry_at),
        len(rows),
    )


def test_the_checkpoint_is_the_logs_own(told: Tell) -> None:
    """The root in a document is the one the sealed checkpoint states for the size that was read."""
    ledger = told(good_run("run-1"))
    head = parse_checkpoint(paths(ledger).checkpoint(ledger.seal().size).read_text())
    stated = report(ledger, "run-1")["provenance"]["checkpoint"]
    assert stated == {"origin": head.origin, "size": head.size, "root_sha256": head.root.hex()}


def test_query_digests_are_those_of_the_files(told: Tell) -> None:
    """Who re-derives a document can tell whether he uses the same SQL, views included."""
    queries = report(told(good_run("run-1")), "run-1")["provenance"]["queries"]
    assert {q["name"] for q in queries} >= {"evidence/sql/runs.sql", "ledger/sql/events.sql", "ledger/sql/runs.sql"}
    for query in queries:
        package, *path = query["name"].split("/")
        assert query["sha256"] == hashlib.sha256(files(package).joinpath(*path).read_bytes()).hexdigest()


def test_nothing_sealed_means_no_checkpoint_and_says_so(told: Tell) -> None:
    """Unsealed entries are read, have no index, and the document says that nothing proves them."""
    document = report(told(good_run("run-1"), seal=False), "run-1")
    provenance = document["provenance"]
    assert provenance["checkpoint"] is None
    assert "Nothing is sealed" in provenance["checkpoint_note"]
    assert provenance["events_unsealed"] == provenance["events_read"]
    assert "nothing proves it" in document["statement"]


def test_an_open_run_gives_an_interim_report(told: Tell) -> None:
    """What is made while a run goes on says so, judges nothing, and shows what is still to come."""
    document = report(told(open_run("run-1")), "run-1")
    assert document["kind"] == "interim"
    assert "made while the run was running" in document["statement"]
    assert document["verdict"]["verdict"] == "unknown"
    assert document["verdict"]["denominators"] == "3 of 5 planned passed, 1 not available, 1 pending"
    assert document["run"]["ended_at"] is None
    assert document["capture"] is None


def test_a_run_that_ended_and_is_not_closed_is_interim(told: Tell) -> None:
    """Dagster's records after a run's end are normal, so the end alone decides nothing."""
    story = open_run("run-1").checked("row_count_output_count", FACT).end()
    document = report(told(story), "run-1")
    assert (document["kind"], document["verdict"]["reason_code"]) == ("interim", "run_not_closed")
    assert "has ended and is not closed" in document["statement"]


def test_a_reopened_run_is_judged_anew(told: Tell) -> None:
    """A late record makes a closed run interim again, and the next closing's outcomes count."""
    story = failed_run("run-1")
    ledger = told(story)
    closed_at = ledger.seal().size
    late = Story("run-1")
    late.events = []
    late._records = 50  # the records of the run so far have lower ids
    late.made(GATE).reopen()
    ledger = told(late)
    reopened = report(ledger, "run-1")
    assert (reopened["kind"], reopened["verdict"]["verdict"]) == ("interim", "unknown")
    assert "records came after the run was closed" in reopened["statement"]
    assert report(ledger, "run-1", closed_at)["verdict"]["verdict"] == "failed"
    story.events += late.events
    before = len(story.events)
    story.close(revision=2)
    final = Story("run-1")
    final.events = story.events[before:]
    again = report(told(final), "run-1")
    assert (again["kind"], again["run"]["late_events"]) == ("final", 1)
    gate = next(item for item in again["items"] if item["asset_key"] == GATE)
    assert gate["outcome"] == "materialized"


def test_a_failed_run_says_what_never_ran(told: Tell) -> None:
    """What Dagster never got to is in the document with its reason, and counted."""
    document = report(told(failed_run("run-1")), "run-1")
    assert document["verdict"]["verdict"] == "failed"
    assert document["verdict"]["denominators"] == (
        "0 of 5 planned passed, 1 failed, 1 not available, 2 never ran, 1 not evaluated"
    )
    outcome_of = {(i["asset_key"], i["check_name"]): i["outcome"] for i in document["items"]}
    assert outcome_of[RAW, None] == outcome_of[FACT, None] == "upstream_failed"
    assert outcome_of[FACT, "row_count_output_count"] == "not_evaluated"
    assert document["failures"][0]["error_class"] == "ValueError"
    assert document["failures"][0]["metadata"][0]["label"] == "reason_codes"


def test_skips_carry_their_reasons(told: Tell) -> None:
    """A declared skip is distinct from a step that Dagster skipped because of it."""
    skips = report(told(dry_run("run-1")), "run-1")["skips"]
    assert [(s["declared"], s["reason_code"]) for s in skips] == [
        (True, "dry_run_no_db_write"),
        (False, "upstream_skipped"),
        (False, "upstream_skipped"),
    ]
    assert skips[0]["reason"] == "dry run: 118 tickets would be ingested"


def test_the_table_of_runs_agrees_with_the_reports(told: Tell) -> None:
    """The cheap reading for a table and the whole reading of a run give the same verdict."""
    stories = (good_run("r1"), failed_run("r2"), dry_run("r3"), warned_run("r4"), open_run("r5"))
    with open_prefix(told(*stories)) as prefix:
        rows = read_rows(prefix)
        verdicts = read_verdicts(prefix, rows)
        whole = {run.row.run_id: run.verdict for run in read_runs(prefix, [row.run_id for row in rows])}
    assert verdicts == whole
    assert {r: v.verdict for r, v in whole.items()} == {
        "r1": "passed",
        "r2": "failed",
        "r3": "skipped",
        "r4": "warned",
        "r5": "unknown",
    }


def test_a_large_payload_is_read_from_beside_the_log(told: Tell) -> None:
    """Metadata too large for an entry is still in the document, with the digest it is kept under."""
    examples = ["x" * 300 for _ in range(200)]
    story = Story("run-1").plan([planned(FACT)]).made(FACT, examples=examples, rows=3).end().close()
    ledger = told(story)
    product = report(ledger, "run-1")["products"][0]
    labels = {entry["label"]: entry["value"] for entry in product["metadata"]}
    assert labels["rows"] == 3
    assert orjson.loads(labels["examples"]) == examples
    assert (paths(ledger).blobs / product["payload_sha256"]).is_file()
    (paths(ledger).blobs / product["payload_sha256"]).unlink()
    gone = report(ledger, "run-1")["products"][0]
    assert (gone["metadata"], gone["payload_sha256"]) == ([], product["payload_sha256"])
    assert (product["payload_state"], gone["payload_state"]) == ("kept", "gone")


def test_an_unknown_run_is_a_usage_error(told: Tell) -> None:
    """Neither a report nor a sealed prefix is made for a run that the ledger does not know."""
    ledger = told(good_run("run-1"))
    with open_prefix(ledger) as prefix, pytest.raises(UsageError, match="no run 'other'"):
        derive_report(prefix, "other")
    with pytest.raises(UsageError, match="no run 'other'"), sealed_prefix(ledger, "other"):
        pytest.fail("it must not open")


def test_the_sealed_prefix_is_the_shortest_that_covers_the_run(told: Tell) -> None:
    """Derived later, with more runs in the ledger, a closed run's document is of the same size still."""
    ledger = told(good_run("run-1"))
    size = ledger.seal().size
    told(good_run("run-2"))
    with sealed_prefix(ledger, "run-1") as prefix:
        assert prefix.head is not None
        assert prefix.snapshot.sealed == prefix.head.size == size
    with sealed_prefix(ledger) as prefix:
        assert prefix.snapshot.sealed > size


def test_a_damaged_inbox_stops_a_document(told: Tell) -> None:
    """What cannot be sealed might change what a document says, so none is made."""
    ledger = told(good_run("run-1"))
    (paths(ledger).inbox / f"{START:016d}-{'0' * 32}.jsonl").write_bytes(b"not what the name says\n")
    with pytest.raises(IntegrityError, match="cannot be sealed"), sealed_prefix(ledger, "run-1"):
        pytest.fail("it must not open")


def test_a_prefix_cut_by_time_has_no_tree_head(told: Tell) -> None:
    """Entries chosen by the time they were recorded are no prefix of the tree, so no root is claimed for them."""
    ledger = told(good_run("run-1"))
    with open_prefix(ledger, parse_as_of("2030-01-01T00:00:00Z")) as prefix:
        assert prefix.head is None
        assert read_rows(prefix)[0].run_id == "run-1"
    with open_prefix(ledger, parse_as_of("2020-01-01T00:00:00Z")) as prefix:
        assert read_rows(prefix) == []

"""A run in the formats of other tools, each read back by a reader that is not ours."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest
from calling import Ask, Call
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from dateutil.parser import isoparse
from evidence_runs import (
    FACT,
    ORIGIN,
    Story,
    Tell,
    dry_run,
    failed_run,
    good_run,
    open_run,
    planned,
    planned_check,
    warned_run,
)
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

from run_evidence.evidence.exports import run as exports_run
from run_evidence.evidence.exports.cloudevents import cloudevents
from run_evidence.evidence.exports.junit import junit
from run_evidence.evidence.exports.openlineage import openlineage
from run_evidence.evidence.exports.run import RunExport, read_export
from run_evidence.ledger import OUTCOMES, Ledger

pytestmark = pytest.mark.foreign
FORMATS = (cloudevents, junit, openlineage)
HOSTILE = "".join(map(chr, range(0x20))) + "\x7f\x85\u202e\ufffe</failure>]]>&<x a='\"'>\x1b[31m😀" + "x" * 10_000


def stories() -> list[Story]:
    """Tell a run of each kind there is, all but the last closed."""
    return [
        good_run("good", start=1_776_384_000_000_000),
        failed_run("failed", start=1_776_384_100_000_000),
        dry_run("dry", start=1_776_384_200_000_000),
        warned_run("warned", start=1_776_384_300_000_000),
        open_run("open", start=1_776_384_400_000_000),
        Story("empty", start=1_776_384_500_000_000).plan(()).end().close(),
    ]


RUNS = ("good", "failed", "dry", "warned", "open", "empty")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunExport]:
    from evidence_runs import fixed_ledger

    ledger = fixed_ledger(tmp_path_factory.mktemp("exports") / "ledger")
    for story in stories():
        ledger.append(story.events)
    ledger.seal()
    return {run_id: read_export(ledger, run_id) for run_id in RUNS}


def cases(content: bytes) -> dict[tuple[str, str], TestCase]:
    document = JUnitXml.fromstring(content)
    (suite,) = document
    found = {(case.classname, case.name): case for case in suite}
    assert len(found) == document.tests == suite.tests
    return found


def lines(content: bytes) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in content.splitlines()]


@pytest.mark.parametrize("run_id", RUNS)
def test_in_junit_nothing_passes_but_what_passed(runs: dict[str, RunExport], run_id: str) -> None:
    """One case for each item and one for the verdict; a skip has its reason, an empty run does not pass."""
    run = runs[run_id]
    found = cases(junit(run))
    assert len(found) == len(run.facts.outcomes) + 1
    passed = sum(o.verdict == "passed" for o in run.facts.outcomes) + (run.facts.verdict.verdict == "passed")
    assert sum(case.is_passed for case in found.values()) == passed
    for case in found.values():
        assert all(result.message for result in case.result)
    verdict = found["run", "verdict"]
    assert verdict.is_passed == (run_id == "good")
    if run_id in {"open", "empty"}:
        assert [type(result) for result in verdict.result] == [Error]


def test_junit_tells_a_skip_a_failure_and_what_never_ran_apart(runs: dict[str, RunExport]) -> None:
    kinds = {
        run_id: {type(r) for case in cases(junit(runs[run_id])).values() for r in case.result} for run_id in RUNS
    }
    assert kinds["good"] == {Skipped}  # Week04, which is optional
    assert kinds["failed"] == {Skipped, Failure, Error}
    assert kinds["dry"] >= {Skipped}
    assert Failure in kinds["warned"]
    assert "week04_lakehouse_not_available" in junit(runs["good"]).decode()


@pytest.mark.parametrize("verdict", OUTCOMES)
def test_every_outcome_has_a_standing_and_one_of_them_passes(runs: dict[str, RunExport], verdict: str) -> None:
    words = exports_run._STANDINGS.get(verdict, "error")
    assert (words == "passed") == (verdict == "passed")


@pytest.mark.parametrize("run_id", RUNS)
def test_cloudevents_are_the_entries_and_are_read_by_the_library(runs: dict[str, RunExport], run_id: str) -> None:
    run = runs[run_id]
    read = [JSONFormat().read(CloudEvent, line) for line in cloudevents(run).splitlines()]
    assert len(read) == len(run.entries) == run.facts.row.events > 0
    assert {index for index, _ in run.entries} == {event.index for event in run.facts.events}
    for event, (index, entry) in zip(read, run.entries, strict=True):
        body = orjson.loads(entry)
        assert event.get_data() == body
        assert (event.get_id(), event.get_type(), event.get_source()) == (
            body["event_id"],
            body["event_type"],
            ORIGIN,
        )
        assert int(event.get_attributes()["sequence"]) == index
        assert round(event.get_time().timestamp() * 1_000_000) == body["occurred_at"]


@pytest.mark.parametrize("run_id", RUNS)
def test_openlineage_says_complete_of_nothing_that_did_not_come_about(
    runs: dict[str, RunExport], run_id: str
) -> None:
    """Read back by the client's own classes; each of its runs starts once, and ends if ours is closed."""
    run = runs[run_id]
    ends: dict[str, list[str]] = {}
    events = lines(openlineage(run))
    for event in events:
        read = RunEvent(
            eventTime=event["eventTime"],
            eventType=RunState(event["eventType"]),
            run=Run(**event["run"]),
            job=Job(**event["job"]),
            producer=event["producer"],
        )
        assert read.schemaURL == event["schemaURL"]
        assert "/2-0-2/" in read.schemaURL
        isoparse(str(event["eventTime"]))
        ends.setdefault(read.run.runId, []).append(read.eventType.value)
        if event["outputs"]:
            assert event["eventType"] == "COMPLETE"
    final = run.facts.final
    assert all(each[0] == "START" and len(each) == 1 + final for each in ends.values())
    whole = next(iter(ends.values()))[-1]
    expected = {"good": "COMPLETE", "warned": "COMPLETE", "failed": "FAIL", "open": "START"}
    assert whole == expected.get(run_id, "ABORT")


def test_openlineage_has_checks_as_tests_and_row_counts_as_statistics(ledger: Ledger) -> None:
    story = Story("rows").plan((planned(FACT), planned_check("never", FACT)), {})
    ledger.append(story.made(FACT, **{"dagster/row_count": 119}).end().close().events)
    events = lines(openlineage(read_export(ledger, "rows")))
    ((output,),) = [event["outputs"] for event in events if event["outputs"]]
    assert (output["namespace"], output["name"]) == (ORIGIN, FACT)
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 119
    (test,) = events[-1]["run"]["facets"]["test"]["tests"]
    assert (test["status"], test["severity"]) == ("fail", "error")
    assert test["description"]


def test_hostile_text_breaks_no_file(ledger: Ledger) -> None:
    """Control characters, markup, escapes and ten thousand characters in every text that a project chooses."""
    key = f"a{HOSTILE}"
    story = Story("hostile", job=f"j{HOSTILE[:300]}").plan((planned(key), planned_check(HOSTILE[:300], key)), {})
    ledger.append(story.failed(key, HOSTILE).end("failed").close().events)
    run = read_export(ledger, "hostile")
    content = junit(run)
    found = cases(content)
    assert len(found) == 3
    assert any("x" * 10_000 in of for of, _ in found)
    assert "😀" in content.decode() or "&#128512;" in content.decode()
    assert not {"\x1b", "\u202e"} & set("".join(ElementTree.fromstring(content).itertext()))  # noqa: S314
    assert len(lines(openlineage(run))) == 4
    for line in cloudevents(run).splitlines():
        event = JSONFormat().read(CloudEvent, line)
        assert not any(ord(sign) < 0x20 for sign in event.get_subject() or "")


def test_no_two_items_share_a_name(ledger: Ledger) -> None:
    """A control character is not taken for the escape that it is written as."""
    keys = ("a\x1b", r"a\x1b", r"a\\x1b", "a\r", "a\n", r"a\r", "a")
    ledger.append(Story("names").plan([planned(key) for key in keys], {}).end().close().events)
    run = read_export(ledger, "names")
    assert len(cases(junit(run))) == len(keys) + 1
    assert len({str(event["run"]["runId"]) for event in lines(openlineage(run))}) == len(keys) + 1


def test_a_verdict_that_rests_on_amended_evidence_does_not_pass_unsaid(told: Tell, ask: Ask) -> None:
    run = read_export(told(good_run("good")), "good")
    (made,) = [
        e.event_id for e in run.facts.events if (e.event_type, e.asset_key) == ("asset.materialized.v1", FACT)
    ]
    ask("amend", made, "--reason", "recounted", "--actor", "ana")
    amended = read_export(told(), "good")
    (result,) = cases(junit(amended))["run", "verdict"].result
    assert (type(result), result.type) == (Failure, "amended")
    assert "ana: recounted" in result.message
    assert "ana: recounted" in str(lines(openlineage(amended))[-1])


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)
def test_an_export_is_the_same_bytes_whatever_comes_after_it(told: Tell, form: exports_run.Format) -> None:
    ledger = told(good_run("good"))
    before = form(read_export(ledger, "good"))
    told(failed_run("later", start=1_776_384_900_000_000))
    assert form(read_export(ledger, "good")) == before


@pytest.mark.parametrize("name", ["cloudevents", "junit", "openlineage"])
def test_without_its_library_a_format_names_the_extra(
    told: Tell, ask: Ask, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    told(good_run("good"))
    needed = {"cloudevents": "cloudevents", "junit": "junitparser", "openlineage": "openlineage"}[name]
    for module in [m for m in sys.modules if m == needed or m.startswith(f"{needed}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    assert "run-evidence-ledger[exports]" in ask("export", name, "good", code=4)


def test_the_command_writes_a_file_or_prints_and_replaces_nothing(told: Tell, ask: Ask, tmp_path: Path) -> None:
    run = read_export(told(good_run("good")), "good")
    file = tmp_path / "good.xml"
    assert ask("export", "junit", "goo", "-o", str(file)).strip() == str(file)
    assert file.read_bytes() == junit(run)
    assert ask("export", "cloudevents", "latest") == cloudevents(run).decode()
    file.write_text("mine")
    assert "--force" in ask("export", "junit", "good", "-o", str(file), code=2)
    assert file.read_text() == "mine"
    assert "no run" in ask("export", "junit", "nothing", code=2)
    assert "yaml" in ask("export", "yaml", "good", code=2)


@pytest.mark.soak
def test_a_format_of_another_package_is_found_by_its_entry_point(
    told: Tell, ask: Ask, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not load, fails or returns no bytes, says so, and takes neither ours nor another's place."""
    told(good_run("good"))
    about = tmp_path / "shop-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[run_evidence.exports]\nline = shop_formats:line\ntext = shop_formats:text\n"
        "raising = shop_formats:raising\nbroken = shop_absent:form\njunit = shop_formats:line\n"
    )
    (tmp_path / "shop_formats.py").write_text(
        'def line(run):\n    """Write one line."""\n'
        '    return f"{run.facts.row.run_id} {run.facts.verdict.verdict} {len(run.entries)}\\n".encode()\n\n'
        "def text(run):\n    return 'no bytes'\n\n"
        "def raising(run):\n    raise ValueError('no such thing')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    told_by_help = ask("export", "--help")
    assert "Write one line." in told_by_help
    assert {"checkpoint", "tlog", "junit", "broken"} <= set(told_by_help.split())
    events = read_export(told(), "good").facts.row.events
    assert ask("export", "line", "good") == f"good passed {events}\n"
    assert ask("export", "junit", "good").startswith("<?xml")
    assert "shop_absent" in ask("export", "broken", "good", code=4)
    assert "no bytes" in ask("export", "text", "good", code=4)
    assert "shop_formats:raising) failed: ValueError: no such thing" in ask("export", "raising", "good", code=4)

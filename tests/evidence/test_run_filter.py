"""`ledger runs` lists what it is asked for, says how many more there are, and shows reason and decision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from calling import Call
from evidence_runs import DAY, RAW, START, Tell, dry_run, failed_run, good_run, open_run, warned_run

from run_evidence.evidence.run_filter import parse_verdicts
from run_evidence.ledger import OUTCOMES, UsageError, parse_moment
from run_evidence.ledger.model.event import MAX_DATA_BYTES
from tests.paths import paths

HOUR = 3_600_000_000
PROFILE = ("--profile", "pipelines.delivery:WEEK06")


@pytest.fixture
def runs(told: Tell) -> None:
    """Five runs an hour apart, two of them of one release."""
    of_release = [
        good_run("aa-good", start=START - 4 * HOUR),
        failed_run("ab-failed", start=START - 3 * HOUR, **{"dagster/schedule_name": "nightly"}),
    ]
    for story in of_release:
        story.events = [replace(event, release_id="r1") for event in story.events]
    told(
        *of_release,
        dry_run("b-dry", start=START - 2 * HOUR, **{"dagster/backfill": "abcd"}),
        warned_run("c-warned", start=START - HOUR, **{"dagster/parent_run_id": "aa-good"}),
        open_run("d-open", start=START, **{"dagster/sensor_name": "on_file"}),
    )


@pytest.mark.soak
@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["d-open", "c-warned", "b-dry", "ab-failed", "aa-good"]),
        (("--since", "2026-04-16T22:00:00Z"), ["d-open", "c-warned", "b-dry"]),
        (("--since", "1m"), []),
        (("--since", "2026-04-16T22:00:00+00:00", "--until", "2026-04-16T23:00:00Z"), ["b-dry"]),
        (("--verdict", "failed"), ["ab-failed"]),
        (("--verdict", "failed,unknown"), ["d-open", "ab-failed"]),
        (("--verdict", "!passed,!unknown"), ["c-warned", "b-dry", "ab-failed"]),
        (("--release", "r1"), ["ab-failed", "aa-good"]),
        (("--trigger", "schedule"), ["ab-failed"]),
        (("--trigger", "nightly"), ["ab-failed"]),
        (("--trigger", "backfill", "--trigger", "re-execution,sensor"), ["d-open", "c-warned", "b-dry"]),
        (("--trigger", "launched"), ["aa-good"]),
        (("--job", "week06_data_factory", "--verdict", "passed"), ["aa-good"]),
        (("--job", "another"), []),
        (("--asset", RAW, "--verdict", "warned"), ["c-warned"]),
        (("--asset", "no/such"), []),
        (("--partition", DAY, "-n", "1"), ["d-open"]),
        (("--partition", "2020-01-01"), []),
    ],
)
def test_runs_are_those_that_fit(call: Call, arguments: tuple[str, ...], expected: list[str]) -> None:
    said = call("runs", "--json", *arguments)
    assert said.code == 0
    assert [run["run_id"] for run in said.json] == expected


@pytest.mark.usefixtures("runs")
def test_what_is_not_listed_is_counted(call: Call) -> None:
    said = call("runs", "-n", "2")
    assert "(2 of 5 runs, the newest; -n 5 lists all)" in said.err
    assert "of 5 runs" not in call("runs").err
    assert "No run fits" in call("runs", "--job", "another").err


@pytest.mark.usefixtures("runs")
def test_a_row_says_why_and_what_was_decided(call: Call) -> None:
    said = call("runs", "--verdict", "failed", *PROFILE)
    assert "hold_downstream" in said.out
    assert "Failure" in said.out or "failed" in said.out
    (run,) = call("runs", "--verdict", "passed", "--json", *PROFILE).json
    assert run["deliveries"] == [
        {"partition": DAY, "decision": "proceed_to_week07", "in_force": "proceed_to_week07"}
    ]


@pytest.mark.usefixtures("runs")
def test_latest_is_the_run_that_started_last(call: Call, tmp_path: Path) -> None:
    for arguments in (("show",), ("report", "--out", str(tmp_path / "out"))):
        said = call(arguments[0], "latest", "--json", *arguments[1:])
        assert said.code == 0, said.err
        assert "d-open" in said.out


@pytest.mark.parametrize("text", ["", "1", "d", "1y", "-1d", "yesterday", "2026-13-01", "1d "])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="neither a time nor an age") as caught:
        parse_moment("--since", text, START)
    assert "12h" in str(caught.value.next_step)


def test_a_time_is_so_long_ago_or_a_moment() -> None:
    assert parse_moment("--since", "90m", START) == START - 90 * 60_000_000
    assert parse_moment("--since", "2w", START) == START - 14 * 24 * HOUR
    assert parse_moment("--since", "2026-04-17", 0) == START
    assert parse_moment("--since", "2026-04-17T02:00:00+02:00", 0) == START


def test_verdicts_are_words_of_the_lattice_or_all_but_some() -> None:
    assert parse_verdicts("failed, unknown") == ("failed", "unknown")
    assert set(parse_verdicts("!passed")) == set(OUTCOMES) - {"passed"}
    assert parse_verdicts(None) == ()
    with pytest.raises(UsageError, match="is no verdict"):
        parse_verdicts("green")


@pytest.mark.soak
@pytest.mark.parametrize("arguments", [(), PROFILE], ids=["alone", "by a profile"])
@pytest.mark.parametrize("damage", ["none", "gone"])
def test_a_run_with_payloads_of_its_own_is_found_by_its_verdict(
    told: Tell, call: Call, damage: str, arguments: tuple[str, ...]
) -> None:
    """Where a payload is kept changes no answer; one that is gone makes its run unknown, and hides no other."""
    large = failed_run("large", start=START)
    large.events = [
        replace(event, data={**event.data, "pad": "x" * MAX_DATA_BYTES})
        if event.event_type == "outcomes.derived.v1"
        else event
        for event in large.events
    ]
    ledger = told(good_run("good", start=START + HOUR), large)
    if damage == "gone":
        for path in paths(ledger).blobs.iterdir():
            path.unlink()
    word = "failed" if damage == "none" else "unknown"
    for asked in (("--verdict", word), ("--verdict", "!passed")):
        said = call("runs", "--json", *asked, *arguments)
        assert said.code == 0, said.err
        assert [(run["run_id"], run["verdict"]) for run in said.json] == [("large", word)]
    said = call("runs", "--json", *arguments)
    assert [run["run_id"] for run in said.json] == ["good", "large"], said.err

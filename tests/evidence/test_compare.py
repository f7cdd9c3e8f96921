"""What changed between two runs or releases, and nothing that did not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calling import Call
from evidence_runs import FACT, START, Story, Tell, failed_run, good_run, planned, planned_check

from run_evidence.evidence.compare import ItemChange, compare_releases, compare_runs
from run_evidence.ledger import UsageError

HOUR = 3_600_000_000


def run_of(run_id: str, rows: int, *, start: int = START, version: str = "v1", release: str = "r1") -> Story:
    """Return a closed run of one asset and one check, which passes on more than 100 rows."""
    story = Story(run_id, start=start).plan([planned(FACT), planned_check("enough", FACT)], {})
    story.made(FACT, rows=rows, path=f"/somewhere/{run_id}")
    story.events[-2] = replace(made := story.events[-2], data={**made.data, "data_version": version})
    story.checked("enough", FACT, "passed" if rows > 100 else "failed").end().close()
    story.events = [replace(event, release_id=release) for event in story.events]
    return story


def test_of_two_equal_runs_nothing_changed(told: Tell) -> None:
    """Other ids, other times, other paths: these are not what a person asks for."""
    compared = compare_runs(told(run_of("a", 120), run_of("b", 120, start=START + HOUR)), "a", "b")
    assert (compared.whole, compared.items, compared.same) == ((), (), 2)


def test_outcomes_counts_and_versions_are_told(told: Tell) -> None:
    ledger = told(run_of("a", 120), run_of("b", 80, start=START + HOUR, version="v2", release="r2"))
    compared = compare_runs(ledger, "a", "b")
    assert ItemChange("verdict", "passed", "failed") in compared.whole
    assert ItemChange("release_id", "r1", "r2") in compared.whole
    asset, check = compared.items
    assert asset.changes == (ItemChange("data_version", "v1", "v2"), ItemChange("rows", 120, 80))
    assert (check.check_name, check.changes[0]) == ("enough", ItemChange("outcome", "check_passed", "check_failed"))
    assert compared.same == 0
    back = compare_runs(ledger, "b", "a")
    assert [ItemChange(c.what, c.after, c.before) for c in back.items[0].changes] == list(asset.changes)


def test_an_item_that_one_side_lacks_is_told(told: Tell) -> None:
    compared = compare_runs(told(run_of("a", 120), good_run("b", start=START + HOUR)), "a", "b")
    changes = {(i.asset_key, i.check_name): i.changes for i in compared.items}
    assert changes[FACT, "enough"] == (ItemChange("outcome", "check_passed", None),)
    assert any(c == (ItemChange("outcome", None, "materialized"),) for c in changes.values())


def test_of_a_release_the_last_run_of_each_item_counts(told: Tell) -> None:
    runs = [run_of("a", 50), run_of("b", 120, start=START + HOUR)]
    runs += [run_of("c", 130, start=START + 2 * HOUR, release="r2")]
    compared = compare_releases(told(*runs), "r1", "r2")
    assert (compared.before, compared.after) == (("a", "b"), ("c",))
    assert [item.changes for item in compared.items] == [(ItemChange("rows", 120, 130),)]
    with pytest.raises(UsageError, match="no run of release 'r3'"):
        compare_releases(told(), "r1", "r3")


@pytest.mark.soak
def test_the_command_says_it_to_people_and_programs(told: Tell, call: Call) -> None:
    told(run_of("aaaa-1", 120), failed_run("bbbb-1", start=START + HOUR))
    said = call("compare", "aaaa", "latest")
    assert said.code == 0, said.err
    assert said.out.startswith("aaaa-1 → bbbb-1\n  verdict: passed → failed")
    assert call("compare", "--json", "aaaa", "bbbb").json["whole"][0] == {
        "what": "verdict",
        "before": "passed",
        "after": "failed",
    }
    assert "nothing changed" in call("compare", "aaaa", "aaaa-1").out
    assert call("compare", "aaaa").code == 2
    assert "There is no run 'cccc'" in call("compare", "aaaa", "cccc").err

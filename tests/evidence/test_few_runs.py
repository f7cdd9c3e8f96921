"""Reading some runs alone gives what reading all of them gives for these."""

from __future__ import annotations

import random

import pytest
from evidence_runs import START, Tell, dry_run, failed_run, good_run, open_run, warned_run

from run_evidence.evidence.facts import read_rows
from run_evidence.evidence.prefix import open_prefix
from run_evidence.ledger import Ledger
from run_evidence.ledger.query import snapshot

STORIES = (good_run, failed_run, dry_run, warned_run, open_run)
VIEWS = {
    "runs": "SELECT * FROM runs WHERE list_contains($ids, run_id) ORDER BY run_id",
    "outcomes": "SELECT * FROM outcomes WHERE list_contains($ids, run_id) ORDER BY run_id, position",
}


@pytest.fixture
def ledger(told: Tell) -> Ledger:
    """Twice each story there is, some corrected or reopened."""
    stories = [
        story(f"{story.__name__}-{again}", start=START + number * 10**9)
        for number, (again, story) in enumerate((again, story) for again in "ab" for story in STORIES)
    ]
    stories[1].reopen(2).close(3)
    return told(*stories)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_few_runs_is_the_part_of_it_that_is_about_them(ledger: Ledger, view: str) -> None:
    """None or one that is not there among them; the next question has all again."""
    chance = random.Random(view)  # noqa: S311 - a test's, not a key's
    with open_prefix(ledger) as prefix:
        everything = prefix.snapshot.rows(f"SELECT run_id FROM {view} ORDER BY run_id")
        known = sorted({str(run_id) for (run_id,) in everything})
        for size in (0, 1, 1, 2, 3, 5, len(known)):
            ids = [*chance.sample(known, size), "nobody's"]
            of_all = prefix.snapshot.rows(VIEWS[view], {"ids": ids})
            assert prefix.snapshot.rows(VIEWS[view], {"ids": ids}, runs=ids) == of_all
            assert {row[0] for row in of_all} == set(ids) - {"nobody's"}
            assert prefix.snapshot.rows(f"SELECT run_id FROM {view} ORDER BY run_id") == everything


def test_many_runs_are_read_as_all_are(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing every entry with a long list would take longer."""
    with open_prefix(ledger) as prefix:
        ids = [row.run_id for row in read_rows(prefix)][::2]
        few = read_rows(prefix, ids)
        monkeypatch.setattr(snapshot, "_FEW_RUNS", 2)
        assert read_rows(prefix, ids) == few
        assert [row.run_id for row in few] == ids

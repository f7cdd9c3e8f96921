"""The pages that are derived from definitions and ledger are those that are committed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.pages import CARDS, MATERIALIZATION_PAGE, pages

ROOT = Path(__file__).parents[2]
CARD_FIELDS = (
    *("asset_key", "group", "owner", "partition_def", "upstream", "downstream", "materialization_type"),
    *("checks", "evidence", "failure_mode"),
)


@pytest.fixture
def made(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], str]]:
    monkeypatch.chdir(ROOT)
    return pages(Path("data"))


def _without_date(text: str) -> str:
    """Take away the day of the smoke run, the one thing that differs from run to run."""
    return re.sub(r"(?m)^- date: \d{4}-\d\d-\d\d$", "- date:", text)


def test_every_page_is_what_definitions_and_ledger_say(made: dict[str, Callable[[], str]]) -> None:
    for name, make in made.items():
        committed = (ROOT / name).read_text(encoding="utf-8")
        assert _without_date(committed) == _without_date(make()), f"{name} is stale: python -m pipelines.pages"


def test_no_card_is_of_an_asset_that_is_gone(made: dict[str, Callable[[], str]]) -> None:
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / CARDS).glob("*.md")}
    assert there == {name for name in made if name.startswith(CARDS)}


def test_every_card_has_every_field_and_a_failure_mode(made: dict[str, Callable[[], str]]) -> None:
    """Nothing is blank: an asset without an owner or an answer to failure is not described."""
    for name, make in made.items():
        if name.startswith(CARDS) and not name.endswith("README.md"):
            fields = dict(re.findall(r"^\| (\w+) \| (.+) \|$", make(), re.M))
            assert tuple(fields)[1:] == CARD_FIELDS, name
            assert fields["failure_mode"] in {"retry", "replay", "backfill", "hold"}


def test_the_smoke_report_is_of_a_run_in_the_ledger(made: dict[str, Callable[[], str]]) -> None:
    text = made[MATERIALIZATION_PAGE]()
    assert "verdict of the ledger: passed" in text
    assert text.count("| materialized |") == 3

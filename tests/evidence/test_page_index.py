"""The index: every delivery, the state of every asset and partition, every run, on one page that stays small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from evidence_runs import DAY, FACT, START
from large_index import large
from pages import bad, good, ledger_of
from playwright.sync_api import Browser

from pipelines.delivery import WEEK06
from run_evidence.evidence.page.drawing import draw
from run_evidence.evidence.page.index_map import SHAPES
from run_evidence.evidence.page.making import make_index
from run_evidence.evidence.page.words import LETTERS, MEANINGS
from run_evidence.evidence.profile_data import declaration
from run_evidence.ledger import Ledger, read_trust
from run_evidence.ledger.proving.page_file import check_page
from tests.browser import chromium, opened
from tests.trust.ledgers import VKEY


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from chromium()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Return a ledger that knows its delivery, with a run that failed and a later one that passed."""
    ledger = ledger_of(tmp_path_factory.mktemp("index") / "ledger")
    ledger.append(declaration([WEEK06], [], START - 2 * 86_400_000_000))
    for story in (bad("before", START - 86_400_000_000), good()):
        ledger.append(story.events)
        ledger.seal()
    return ledger


@pytest.mark.soak
def test_it_has_every_delivery_state_and_run_and_is_bound_to_the_log(ledger: Ledger) -> None:
    made = make_index(ledger)
    document = made.document
    assert check_page(made.html, read_trust([VKEY], [])).vouched.signed_by == (VKEY,)
    (delivery,) = document["deliveries"]
    assert (delivery["product"], delivery["partition"], delivery["decision"]) == (FACT, DAY, "proceed_to_week07")
    assert [run["verdict"] for run in document["runs"]] == ["passed", "failed"]
    row = document["map"]["letters"][document["map"]["assets"].index(FACT)]
    assert row[document["map"]["partitions"].index(DAY)] == "P"
    assert document["headline"]["word"] == "PROCEED"
    assert make_index(ledger).html == made.html


def test_of_an_empty_ledger_nothing_is_good(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path / "ledger", bad("only"))
    said = make_index(ledger).document["headline"]
    assert (said["word"], said["sentence"]) == ("HELD", "0 of 1 run passed, 1 failed")


def test_every_verdict_has_a_letter_a_meaning_and_a_shape_of_its_own() -> None:
    assert set(LETTERS.values()) == set(MEANINGS) == set(SHAPES)
    assert len(set(SHAPES.values())) == len(SHAPES)


def test_a_year_of_fifty_assets_and_five_thousand_runs_stay_small() -> None:
    """One path for each verdict, and of the runs the newest: the rest are made from the document when asked."""
    assert len(draw(large(50, 365, 5_000))) < 1_000_000


@pytest.mark.soak
@pytest.mark.browser
def test_a_cell_can_be_read(browser: Browser, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(make_index(ledger).html)
    with opened(browser, tmp_path / "index.html") as shown:
        assert shown.locator("#seal").get_attribute("data-state") == "good"
        shown.locator("#states").click(position={"x": 5, "y": 23})
        said = shown.locator("#cell").inner_text()
    assert "]: " in said
    assert said.rpartition("]: ")[2] in {*MEANINGS.values(), "never planned"}

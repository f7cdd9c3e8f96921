"""The pages live: what is asked for is read and shown, and nothing else is answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from evidence_runs import DAY, FACT, GATE, START, Story
from pages import RUN, bad, good, ledger_of
from starlette.testclient import TestClient

from run_evidence.evidence.page.live import live_pages
from run_evidence.ledger import Ledger


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Return a ledger of a run that failed, one that passed, and one that goes on and is not sealed."""
    ledger = ledger_of(tmp_path_factory.mktemp("live") / "ledger", bad("before", START - 86_400_000_000), good())
    ledger.append(Story("going-on", start=START + 1_000_000).plan().made(GATE).events)
    return ledger


@pytest.fixture(scope="module")
def browser(ledger: Ledger) -> Iterator[TestClient]:
    with TestClient(live_pages(ledger), base_url="http://127.0.0.1:8765", raise_server_exceptions=False) as client:
        yield client


@pytest.mark.soak
@pytest.mark.parametrize(
    ("path", "shows", "goes_on"),
    [
        ("/", "3 runs", True),
        (f"/run/{RUN}", "4 of 5 planned passed", False),
        ("/run/before", "90325", False),
        ("/run/going-on", "Interim", True),
        ("/release/r1", "release r1", False),
        (f"/delivery?product={FACT}&partition={DAY}", FACT, True),
    ],
)
def test_what_there_is_is_shown_as_it_is_now(browser: TestClient, path: str, shows: str, goes_on: bool) -> None:
    """And of what goes on the page asks for itself again."""
    answer = browser.get(path)
    assert answer.status_code == 200
    assert shows in answer.text
    assert "Live, and not proved" in answer.text
    assert ('http-equiv="refresh"' in answer.text) is goes_on


def test_a_number_leads_to_the_entry_s_bytes(browser: TestClient, ledger: Ledger) -> None:
    answer = browser.get("/entry/3")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["event_id"]
    assert browser.get("/entry/999999").status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_reading_is_answered(browser: TestClient, method: str) -> None:
    assert browser.request(method, "/").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        *("/../ledger.json", "/%2e%2e/%2e%2e/etc/passwd", "/run/..%2f..%2fledger.json", "/run/nobody", "/entry/-1"),
        *("/entry/1;drop", "/delivery", "/delivery?product=", "/release/'; SELECT 1 --", "/static/x"),
        "/run/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    ],
)
def test_no_path_reaches_beyond_the_ledger(browser: TestClient, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code in {200, 404}
    assert "root:x:" not in answer.text
    assert "origin" not in answer.text or "<main" in answer.text
    assert "<script>alert" not in answer.text or answer.headers["content-type"].startswith("text/plain")


def test_a_name_that_was_made_to_lead_here_gets_nothing(ledger: Ledger) -> None:
    with TestClient(live_pages(ledger), base_url="http://evil.example") as client:
        assert client.get("/").status_code == 400


def test_nothing_is_written(browser: TestClient, ledger: Ledger) -> None:
    """Neither a record nor a seal: what waits in the inbox still waits."""

    def files(root: Path) -> set[Path]:
        return {path for path in root.rglob("*") if path.is_file() and "tile" not in path.parts}

    before = files(ledger.root)
    for path in ("/", f"/run/{RUN}", "/run/going-on"):
        browser.get(path)
    assert files(ledger.root) == before

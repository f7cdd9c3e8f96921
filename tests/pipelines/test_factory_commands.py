"""The lessons' commands as they stand there: what they print, how they end, and that a dry run writes nothing."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingestion import doc_ingest, seed_loader, ticket_ingest
from pipelines.ingestion.settings import warehouse_of
from run_evidence.ledger import InputError

ROOT = Path(__file__).parents[2]
SEED_LOADER = "python -m pipelines.ingestion.seed_loader --manifest-dir data/seed_manifests"
TICKET_INGEST = (
    "python -m pipelines.ingestion.ticket_ingest --input data/canonization/tickets/tickets-seed-001.jsonl "
    "--batch-id batch-20260415-001 --dry-run --limit 20"
)
PAGE = ROOT / "docs/factory.md"
DOC_INGEST = "python -m pipelines.ingestion.doc_ingest --manifest-dir data/seed_manifests"
MAINS = {"seed_loader": seed_loader.main, "ticket_ingest": ticket_ingest.main, "doc_ingest": doc_ingest.main}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    database = f"duckdb:///{tmp_path / 'warehouse.duckdb'}"
    return {"DATABASE_URL": database, "WEEK06_OBJECT_DIR": str(tmp_path / "objects")}


@pytest.fixture
def call(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Call a command's main as it is typed, from the checkout's root; return exit code, stdout and stderr."""
    monkeypatch.chdir(ROOT)

    def run(command: str, *more: str) -> tuple[int, str, str]:
        _, _, module, *arguments = [*shlex.split(command), *more]
        main: Callable[[Sequence[str], Mapping[str, str]], int] = MAINS[module.rpartition(".")[2]]
        code = main(arguments, environment)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


Call = Callable[..., tuple[int, str, str]]


def test_the_seed_loader_says_what_becomes_of_each_source(call: Call) -> None:
    code, shown, _ = call(SEED_LOADER)
    assert code == 0
    assert "success 5 / skip 1 / fail 0" in shown
    assert "doc:edge:000000000003" in shown
    code, shown, _ = call(SEED_LOADER, "--json")
    told = json.loads(shown)
    assert (told["success"], told["skip"], told["fail"]) == (5, 1, 0)
    assert {source["judgement"] for source in told["sources"]} == {"accept", "warn", "quarantine"}


def test_the_dry_run_of_tickets_counts_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    code, shown, said = call(TICKET_INGEST)
    assert code == 0
    assert "total 20 · valid 20 · invalid 0 · inserted 0 · duplicates 0 · skipped 20 · errors 0" in shown
    assert "nothing was written" in said
    assert "more lines" in said
    assert list(tmp_path.iterdir()) == []


def test_an_ingest_that_is_repeated_inserts_nothing_more(call: Call, environment: Mapping[str, str]) -> None:
    command = TICKET_INGEST.removesuffix(" --dry-run --limit 20")
    first, second = (json.loads(call(command, "--json")[1]) for _ in range(2))
    assert (first["inserted"], first["duplicates"], first["invalid"]) == (60, 1, 2)
    assert (second["inserted"], second["duplicates"], second["invalid"]) == (0, 61, 2)
    with warehouse_of(environment).database.reading() as run:
        lines = run("SELECT line_number, reason_codes, ticket_id FROM ticket_quarantine ORDER BY line_number")
    assert [(codes, bool(ticket_id)) for _, codes, ticket_id in lines] == [
        ("customer_id:missing", True),
        ("owner:null", True),
    ]


def test_documents_land_once(call: Call) -> None:
    assert "success 4 / skip 1 / fail 0" in call(DOC_INGEST)[1]
    code, shown, _ = call(DOC_INGEST)
    assert code == 0
    assert "success 0 / skip 5 / fail 0" in shown
    assert shown.count("already_landed") == 4


def test_a_dry_run_of_documents_writes_nothing(call: Call, tmp_path: Path) -> None:
    assert "success 4 / skip 1 / fail 0" in call(DOC_INGEST, "--dry-run")[1]
    assert list(tmp_path.iterdir()) == []


def test_a_refused_source_ends_with_1(call: Call, tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """The verdict is not met; the reason is on stderr."""
    path = deliver(tmp_path, "2026-04-17", [b"{}\n"], source={"checksum_sha256": "0" * 64})
    code, shown, said = call(f"python -m pipelines.ingestion.seed_loader --manifest-path {path}")
    assert code == 1
    assert "fail 1" in shown
    assert "checksum_sha256: expected" in said


def test_when_nothing_can_be_taken_nothing_has_passed(
    call: Call, tmp_path: Path, deliver: Callable[..., Path]
) -> None:
    path = deliver(tmp_path, "2026-04-17", [b"{}\n"], source={"source_url_or_path": "gone.jsonl"})
    assert call(f"python -m pipelines.ingestion.seed_loader --manifest-path {path}")[0] == 1


@pytest.mark.parametrize("contents", [None, b""])
def test_input_that_is_not_there_or_empty_is_refused(call: Call, tmp_path: Path, contents: bytes | None) -> None:
    """A file that is not there is not an empty one, and an empty one is not a success."""
    path = tmp_path / "tickets.jsonl"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(InputError, match=r"tickets\.jsonl"):
        call(f"python -m pipelines.ingestion.ticket_ingest --input {path} --batch-id b")


def test_a_hostile_line_reaches_no_terminal(call: Call, tmp_path: Path, ticket: Callable[..., Any]) -> None:
    path = tmp_path / "tickets.jsonl"
    path.write_text(json.dumps(ticket(status="\x1b[2Jopen", extra="\u202e")))
    _, shown, said = call(f"python -m pipelines.ingestion.ticket_ingest --input {path} --batch-id b --dry-run")
    assert "\x1b" not in shown + said


def _commands() -> list[str]:
    """Return the lessons' commands on the page that end by themselves."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## The lessons' commands\n")[2].partition("\n## ")[0]
    lines = section.splitlines()
    return [line for line in lines if line.startswith(("python -m", "dg ")) and line != "dg dev"]


def test_the_page_shows_the_commands_and_what_they_print(call: Call) -> None:
    assert {SEED_LOADER, TICKET_INGEST, DOC_INGEST, "dg check defs"} <= set(_commands())
    assert call(SEED_LOADER)[1].strip() in PAGE.read_text(encoding="utf-8")


@pytest.mark.soak
def test_the_commands_of_the_lessons_run_as_they_are_written(tmp_path: Path, environment: dict[str, str]) -> None:
    """Those of docs/factory.md, from the checkout's root, with the environment's programs on PATH."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    programs = Path(sys.executable).parent
    names = {
        **os.environ,
        **environment,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(programs.parent),
        "HOME": str(tmp_path),
        "DAGSTER_HOME": str(home),
        "LEDGER_URL": str(tmp_path / "ledger"),
    }
    for command in _commands():
        done = subprocess.run(
            shlex.split(command), cwd=ROOT, env=names, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    with warehouse_of(environment).database.reading() as run:
        assert run("SELECT count(*) FROM raw_doc_asset") == [(4,)]
        assert run("SELECT count(*) FROM ticket_fact") == [(60,)]

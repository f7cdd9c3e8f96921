"""The past is derived again, byte for byte: by size, by checkpoint, by time, whatever was recorded since."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from calling import Ask
from evidence_runs import START, Story, Tell, dry_run, failed_run, good_run, open_run

from run_evidence.ledger import Ledger
from run_evidence.ledger.admin.amend import amend
from run_evidence.ledger.query.as_of import parse_as_of
from run_evidence.ledger.query.prefix import calculated_checkpoint, sealed_size
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.storage.checkpoints import newest_checkpoint
from run_evidence.ledger.tlog.checkpoint import format_checkpoint
from run_evidence.ledger.verification.verify import verify
from tests.paths import paths

HOUR = 3_600_000_000


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder but the delivery summary's fixed name, which the past leaves alone."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found.pop("week06_delivery_summary.md", None)
    return found


def grown(told: Tell, ledger: Ledger) -> None:
    """Let the ledger grow by a correction of a run, by other runs, and by what is not sealed."""
    amend(ledger, event_of(ledger, "run.seen.v1"), reason="a remark", actor="ana")
    told(failed_run("run-2", start=START + HOUR))
    told(good_run("run-3", start=START + 2 * HOUR))
    told(dry_run("run-4", start=START + 3 * HOUR), seal=False)


def event_of(ledger: Ledger, event_type: str) -> str:
    """Return the id of the first event of a type."""
    with open_snapshot(ledger, views=("events",)) as snapshot:
        rows = snapshot.rows(
            "SELECT event_id FROM events WHERE event_type = $type ORDER BY index", {"type": event_type}
        )
    return str(rows[0][0])


@pytest.mark.soak
@pytest.mark.parametrize(
    "story",
    [good_run, open_run, *(pytest.param(each, marks=pytest.mark.soak) for each in (failed_run, dry_run))],
)
def test_a_report_of_the_past_is_the_one_that_was_given_then(
    told: Tell, ask: Ask, ledger: Ledger, tmp_path: Path, story: Callable[[str], Story]
) -> None:
    """Named by size, by a kept checkpoint or by time: all the same files, byte for byte, and nothing is sealed."""
    told(story("run-1"))
    ask("report", "run-1", "--out", str(tmp_path / "then"))
    size = ledger.log().size
    shutil.copy(paths(ledger).checkpoint(size), tmp_path / "kept")
    ledger.clock = lambda: START + 9 * HOUR
    grown(told, ledger)
    waiting = sorted(paths(ledger).inbox.iterdir())
    for number, as_of in enumerate((str(size), str(tmp_path / "kept"), "2026-04-17T05:00:00Z")):
        out = tmp_path / f"again-{number}"
        ask("report", "run-1", "--as-of", as_of, "--out", str(out))
        assert files(out) == files(tmp_path / "then")
        assert not (out / "week06_delivery_summary.md").exists()
    assert sorted(paths(ledger).inbox.iterdir()) == waiting


@pytest.mark.soak
def test_show_and_runs_of_the_past_are_as_they_were(told: Tell, ask: Ask, ledger: Ledger) -> None:
    """What a person was shown then, and what a program got, by size and by time."""
    told(open_run("run-1"))
    size = ledger.log().size
    shown = [ask("show", "run-1"), ask("show", "run-1", "--json"), ask("runs"), ask("runs", "--json")]
    ledger.clock = lambda: START + 9 * HOUR
    told(good_run("run-1"), failed_run("run-2", start=START + HOUR))
    at = ("--as-of", str(size))
    assert [ask("show", "run-1", *at), ask("show", "run-1", "--json", *at)] == shown[:2]
    assert [ask("runs", *at), ask("runs", "--json", *at)] == shown[2:]
    assert ask("runs", "--json", "--as-of", "2026-04-17T05:00:00Z") == shown[3]
    by_time = orjson.loads(ask("show", "run-1", "--json", "--as-of", "2026-04-17T05:00:00Z"))
    assert by_time["kind"] == "interim"
    assert by_time["provenance"]["checkpoint"] is None
    assert "what was recorded by 2026-04-17T05:00:00.000000Z" in by_time["statement"]


@pytest.mark.soak
def test_a_size_between_two_checkpoints_has_a_calculated_head(
    told: Tell, ask: Ask, ledger: Ledger, tmp_path: Path
) -> None:
    """The document says that no checkpoint was written there; its checkpoint is the one the entries give."""
    told(good_run("run-1"))
    told(good_run("run-2", start=START + HOUR))
    size = ledger.log().size - 5
    document: dict[str, Any] = orjson.loads(ask("show", "run-2", "--json", "--as-of", str(size)))
    assert "where no checkpoint was written (not signed)" in document["statement"]
    head = document["provenance"]["checkpoint"]
    stated = calculated_checkpoint(ledger, ledger.log(), size)
    assert (head["size"], head["root_sha256"]) == (size, stated.root.hex())
    kept = tmp_path / "stated"
    kept.write_text(format_checkpoint(stated))
    assert verify(ledger, since=[kept]).since == [size], "verify finds the same root from the entries"
    shutil.rmtree(paths(ledger).tiles)
    assert calculated_checkpoint(ledger, ledger.log(), size) == stated
    ask("report", "run-2", "--as-of", str(size), "--out", str(tmp_path / "out"))
    ask("report", "run-2", "--as-of", str(size), "--out", str(tmp_path / "out"))
    assert f"run_report/run-2_interim_{size}_unsigned.json" in files(tmp_path / "out")


def test_damaged_tiles_give_no_wrong_head(told: Tell, ledger: Ledger) -> None:
    """A head is calculated from a cache, and held against the newest checkpoint before anybody sees it."""
    told(good_run("run-1"))
    told(good_run("run-2", start=START + HOUR))
    right = calculated_checkpoint(ledger, ledger.log(), 20)
    for tile in (p for p in paths(ledger).tiles.rglob("*") if p.is_file() and p.name != "frontier"):
        content = bytearray(tile.read_bytes())
        content[5] ^= 1
        tile.write_bytes(content)
    assert calculated_checkpoint(ledger, ledger.log(), 20) == right
    newest = newest_checkpoint(ledger.store)
    assert newest is not None
    assert calculated_checkpoint(ledger, ledger.log(), newest.checkpoint.size) == newest.checkpoint


def test_where_no_tiles_can_be_made_the_entries_serve(told: Tell, ask: Ask, ledger: Ledger) -> None:
    """As on a disk that cannot be written: a cache may always be missing, and the answer is the same."""
    told(good_run("run-1"))
    size = ledger.log().size
    at_size, before = ask("show", "run-1", "--as-of", str(size)), ask("show", "run-1", "--as-of", str(size - 1))
    shutil.rmtree(paths(ledger).tiles)
    paths(ledger).tiles.write_text("in the way")
    assert ask("show", "run-1", "--as-of", str(size)) == at_size
    assert ask("show", "run-1", "--as-of", str(size - 1)) == before


@pytest.mark.soak
def test_event_time_bounds_a_document_and_is_said_in_it(
    told: Tell, ask: Ask, ledger: Ledger, tmp_path: Path
) -> None:
    """By the moment before its end the run was still going on; name and content say what bound was asked for."""
    told(good_run("run-1"))
    bound = ("--as-of", str(ledger.log().size), "--as-of-occurred", "2026-04-17T00:00:00.013Z")
    out = tmp_path / "out"
    ask("report", "run-1", *bound, "--out", str(out))
    found = files(out)
    told(failed_run("run-2", start=START + HOUR))
    ask("report", "run-1", *bound, "--out", str(out))
    assert files(out) == found
    (name,) = [n for n in found if n.startswith("run_report/")]
    assert f"_happened-by-{START + 13_000}_unsigned" in name
    document = orjson.loads(found[name])
    assert (document["kind"], document["run"]["ended_at"]) == ("interim", None)
    assert document["provenance"]["only_what_happened_by"] == "2026-04-17T00:00:00.013000Z"
    assert "of these what had happened by 2026-04-17T00:00:00.013000Z" in document["statement"]
    assert "run-1" not in ask("runs", "--as-of-occurred", "2026-04-16T00:00:00Z")
    assert ask("show", "run-1", "--as-of-occurred", "2026-04-17T00:00:00.013Z").count("not ended") == 1


def test_a_time_is_the_longest_prefix_recorded_by_then(told: Tell, ledger: Ledger) -> None:
    """An entry that was sealed after a later one is not in it, though it was recorded in time."""
    told(good_run("run-1"))
    first = ledger.log().size
    ledger.clock = lambda: START + 9 * HOUR
    told(failed_run("run-2"))
    ledger.clock = lambda: START + 2 * HOUR
    told(dry_run("run-3"))
    assert sealed_size(ledger, parse_as_of("2026-04-17T05:00:00Z")) == first
    assert sealed_size(ledger, parse_as_of("2026-04-17T09:00:00Z")) == ledger.log().size


def test_what_there_was_not_yet_is_refused(told: Tell, ask: Ask, ledger: Ledger, tmp_path: Path) -> None:
    """Before the first entry, before the run, beyond the log, and what is no point at all."""
    told(good_run("run-1"))
    size = ledger.log().size
    told(failed_run("run-2", start=START + HOUR))
    out = ("--out", str(tmp_path / "out"))
    assert "no run" in ask("report", "run-1", "--as-of", "2020-01-01", *out, code=2)
    assert "no run" in ask("report", "run-2", "--as-of", str(size), *out, code=2)
    assert "has" in ask("report", "run-1", "--as-of", "999", *out, code=2)
    assert "time" in ask("show", "run-1", "--as-of", "soon", code=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.soak
def test_where_reports_go_is_the_projects_setting(
    told: Tell, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WEEK06_REPORT_DIR holds for Week06 runs, and --out is stronger."""
    monkeypatch.setenv("WEEK06_REPORT_DIR", str(tmp_path / "setting"))
    told(good_run("run-1"))
    assert all(line.startswith(str(tmp_path / "setting")) for line in ask("report", "run-1").splitlines())
    assert ask("report", "run-1", "--out", str(tmp_path / "out")).startswith(str(tmp_path / "out"))

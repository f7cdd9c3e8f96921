"""A query takes no more time, memory and disk than it may, says what ended it, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from run_evidence.ledger import EnvironmentFault, Ledger, UsageError
from run_evidence.ledger.query.limits import DEFAULT_SECONDS, Limits, read_limits
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.query.sql_query import run_query, run_query_arrow
from tests.here import ledger_here
from tests.ledger.samples import Clock, records

ENDLESS = [
    "SELECT count(*) FROM range(1000000000000) t(i) WHERE hash(i) = 1",
    "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE hash(a.range, b.range) = 1",
    "SELECT * FROM range(1000000000000) t(i) WHERE hash(i) = 1",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    "SELECT a.run_id FROM events a, events b, range(1000000000000) c WHERE hash(c.range) = 1",
]
HUGE = "SELECT i, repeat('x', 100) || i AS s FROM range(3000000) t(i) ORDER BY hash(i)"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Make a ledger of a few entries."""
    made = Ledger(tmp_path / "ledger", clock=Clock())
    made.append(records(range(6)))
    made.seal()
    return made


@pytest.fixture
def spill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the folder in which queries of this test make theirs."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.mark.soak
@pytest.mark.parametrize("sql", ENDLESS, ids=range(len(ENDLESS)))
def test_a_query_ends_when_its_time_is_over(ledger: Ledger, spill: Path, sql: str) -> None:
    """Whatever it is in the middle of; the snapshot answers the next one, and the folder goes with the snapshot."""
    with open_snapshot(ledger, limits=Limits(seconds=0.2)) as snapshot:
        for run in (run_query, run_query_arrow):
            with pytest.raises(EnvironmentFault, match=r"time limit of 0\.2 s") as caught:
                run(snapshot, sql, {})
            assert caught.value.exit_code == 4
            assert "--timeout" in str(caught.value.next_step)
        assert run_query(replace(snapshot, limits=Limits()), "SELECT 1", {}).rows == [(1,)]
        assert len(list(spill.iterdir())) == 1
    assert not list(spill.iterdir())


def test_a_time_that_is_over_at_once_ends_the_query_too(ledger: Ledger) -> None:
    """An interruption from before the query runs is not lost."""
    at_once = Limits(seconds=0.000001)
    with open_snapshot(ledger, limits=at_once) as snapshot, pytest.raises(EnvironmentFault, match="time limit"):
        run_query(snapshot, ENDLESS[0], {})


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT list(i) FROM range(100000000) t(i)",
        "SELECT * FROM range(100000000000)",
        "SELECT repeat('x', 1000) FROM range(100000000000)",
    ],
)
def test_a_query_that_needs_more_memory_than_it_may_take_ends(ledger: Ledger, sql: str) -> None:
    """Also when it is the answer that never ends; the error names the option."""
    with open_snapshot(ledger, limits=Limits("100MB", None)) as snapshot:
        for run in (run_query, run_query_arrow):
            with pytest.raises(EnvironmentFault, match="more memory than its limit of 100MB") as caught:
                run(snapshot, sql, {})
            assert "--memory" in str(caught.value.next_step)
        assert run_query(snapshot, "SELECT 1", {}).rows == [(1,)]


@pytest.mark.soak
def test_what_does_not_fit_into_memory_is_kept_in_a_folder_of_the_query(
    ledger: Ledger, spill: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Never in the folder the user is in; it is for this user alone, and goes when the snapshot is closed."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    with open_snapshot(ledger, limits=Limits("200MB", None)) as snapshot:
        assert run_query(snapshot, f"SELECT count(s) FROM ({HUGE} OFFSET 100)", {}).rows == [(2_999_900,)]
        (folder,) = spill.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(folder.iterdir())
    assert not list(spill.iterdir())
    assert not list(work.iterdir())


def test_a_query_fails_only_when_it_has_to_spill_where_it_cannot(
    ledger: Ledger, spill: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is not there stops no query that fits into memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(spill / "gone"))
    with open_snapshot(ledger, limits=Limits("100MB", None)) as snapshot:
        assert run_query(snapshot, "SELECT count(*) FROM events", {}).rows == [(6,)]
        with pytest.raises(EnvironmentFault, match="more memory"):
            run_query(snapshot, f"SELECT count(*) FROM ({HUGE})  WHERE s IN (SELECT s FROM ({HUGE}))", {})


def test_a_full_disk_is_the_machines_fault(ledger: Ledger, spill: Path) -> None:
    """Files may not grow as far as the query needs: exit code 4, and what to change."""
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); "
        "from run_evidence.ledger.cli import main; main()"
    )
    done = _run([sys.executable, "-c", program], ledger, HUGE + " LIMIT 2000000 OFFSET 900000", "--memory", "100MB")
    assert done.returncode == 4, done.stderr
    assert f"more room in {spill}" in done.stderr
    assert "TMPDIR" in done.stderr
    assert not list(spill.iterdir())


def _run(command: list[str], ledger: Ledger, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, "--ledger", str(ledger.root), "query", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


LEDGER = [sys.executable, "-m", "run_evidence.ledger.cli"]


@pytest.mark.soak
@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "rows.json"])
@pytest.mark.parametrize("limit", [("--timeout", "0.5"), ("--memory", "100MB")])
def test_a_query_that_is_ended_writes_no_file(
    ledger: Ledger, tmp_path: Path, name: str, limit: tuple[str, str]
) -> None:
    """Neither a part of its answer nor an empty one; one that is there stays."""
    there = tmp_path / "there" / name
    there.parent.mkdir()
    there.write_text("before")
    sql = "SELECT repeat('x', 1000) FROM range(100000000000)"
    asked = (sql, *limit, "-o", str(there), "--force")
    if limit[0] == "--timeout":  # which may end the process
        done = _run(LEDGER, ledger, *asked)
    else:
        done = ledger_here("--ledger", str(ledger.root), "query", *asked)
    assert done.returncode == 4, done.stderr
    assert limit[0] in done.stderr
    assert done.stdout == ""
    assert [path.read_text() for path in there.parent.iterdir()] == ["before"]


def test_what_the_database_cannot_interrupt_ends_with_the_process(ledger: Ledger) -> None:
    """It calculates a constant before it runs anything, and hears nothing meanwhile."""
    sql = "SELECT list_sum(list_transform(range(30000000), lambda x: sha256(x::VARCHAR)::BLOB[1]::VARCHAR::INT))"
    done = _run(LEDGER, ledger, sql, "--timeout", "0.1")
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert "time limit" in done.stderr


def _is_locked(folder: Path) -> bool:
    """Tell whether some process has locked the folder, without trying to."""
    return f":{folder.stat().st_ino} " in Path("/proc/locks").read_text()


@pytest.mark.soak
def test_what_a_killed_query_left_is_removed_by_the_next(ledger: Ledger, spill: Path) -> None:
    """And nothing of a query that still runs, or of anybody else's."""
    others = spill / "ledger-something-else"
    others.mkdir()
    command = [*LEDGER, "--ledger", str(ledger.root), "query", ENDLESS[0]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        try:
            while not (folders := list(spill.glob("ledger-query-*"))) or not _is_locked(folders[0]):
                assert running.poll() is None
                time.sleep(0.01)
            with open_snapshot(ledger):
                assert set(folders) < set(spill.glob("ledger-query-*"))
        finally:
            running.send_signal(signal.SIGKILL)
    assert folders[0].exists()
    with open_snapshot(ledger):
        assert not folders[0].exists()
    assert list(spill.iterdir()) == [others]


@pytest.mark.parametrize(
    ("memory", "timeout", "limits"),
    [
        (None, None, Limits("50%", DEFAULT_SECONDS)),
        ("4GB", "30", Limits("4GB", 30.0)),
        ("512 MiB", "2h", Limits("512MiB", 7200.0)),
        ("1.5gb", "0", Limits("1.5gb", None)),
        ("100%", "0.5", Limits("100%", 0.5)),
    ],
)
def test_limits_are_read_from_options_and_else_from_the_environment(
    memory: str | None, timeout: str | None, limits: Limits
) -> None:
    """The option wins."""
    set_there = {"LEDGER_QUERY_MEMORY": memory or "", "LEDGER_QUERY_TIMEOUT": timeout or ""}
    other = {"LEDGER_QUERY_MEMORY": "7GB", "LEDGER_QUERY_TIMEOUT": "7"}
    assert read_limits(memory, timeout, {}) == limits
    assert read_limits(None, None, set_there) == limits
    if memory and timeout:
        assert read_limits(memory, timeout, other) == limits


@pytest.mark.parametrize("memory", ["", "0GB", "much", "4", "-1GB", "101%", "4GB; SET x", "1e9GB", "\u0661GB"])
def test_what_is_no_amount_of_memory_is_refused(memory: str) -> None:
    """With an example."""
    with pytest.raises(UsageError) as caught:
        read_limits(memory or "GB", None, {})
    assert "4GB" in str(caught.value.next_step)


@pytest.mark.parametrize("timeout", ["soon", "-1", "1d", "inf", "nan", "1e3", "99999999999", "\u0663"])
def test_what_is_no_time_is_refused(timeout: str) -> None:
    """With an example."""
    with pytest.raises(UsageError) as caught:
        read_limits(None, timeout, {})
    assert "--timeout 30" in str(caught.value.next_step)


@pytest.mark.parametrize("memory", ["1KB", "1MiB", "10MB", "1%", "0.001GB", "100TB"])
def test_any_amount_of_memory_is_an_answer_or_an_error_of_ours(ledger: Ledger, memory: str) -> None:
    """However little it is."""
    asked = ("SELECT count(*) AS n FROM runs", "--memory", memory, "-f", "csv")
    done = ledger_here("--ledger", str(ledger.root), "query", *asked)
    assert done.returncode in {0, 4}, done.stderr
    assert done.returncode == 0 or "--memory" in done.stderr


def test_the_files_of_the_machine_stay_out_of_reach(ledger: Ledger, spill: Path, tmp_path: Path) -> None:
    """A folder of its own opens no other to a query."""
    secret = tmp_path / "tmp" / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    with open_snapshot(ledger) as snapshot:
        for path in (secret, os.fspath(spill) + "/*", os.fspath(spill) + "/ledger-query-*/../secret.csv"):
            with pytest.raises(UsageError):
                run_query(snapshot, f"SELECT * FROM read_text('{path}')", {})


def test_the_database_prints_no_progress(ledger: Ledger) -> None:
    """It would stand among the rows, in a file or a pipe as well."""
    with open_snapshot(ledger) as snapshot:
        asked = "SELECT current_setting('enable_progress_bar'), current_setting('enable_progress_bar_print')"
        assert not all(run_query(snapshot, asked, {}).rows[0])

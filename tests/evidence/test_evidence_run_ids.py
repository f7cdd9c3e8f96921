"""A run may be named by the start of its id, the same wherever a command takes one; or it fits none."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from calling import Call
from evidence_runs import START, Story, Tell, failed_run, good_run, planned

from run_evidence.evidence.facts import read_rows, read_runs, read_verdicts
from run_evidence.evidence.prefix import open_prefix
from run_evidence.evidence.terminal import format_run, format_runs
from run_evidence.ledger import Ledger
from run_evidence.ledger.terminal import shortened, width_of

COMMANDS = [["show"], ["report", "--out", "out"], ["prove", "-o", "proof", "--force", "--run"]]


@pytest.mark.soak
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_unique_start_is_enough(
    told: Tell, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """An ambiguous one is refused with the runs it may mean, an id that is also the start of another is itself."""
    monkeypatch.chdir(tmp_path)
    told(good_run("1111-a"), failed_run("2222-b"), failed_run("2222-c"), good_run("2222-c-more"))
    for asked in ("1", "1111-a", "2222-b", "2222-c", "2222-c-"):
        assert call(*command, asked).code == 0, asked
    said = call(*command, "2222")
    assert said.code == 2
    assert "'2222' is the start of 3 run ids: 2222-b, 2222-c, 2222-c-more." in said.err
    for asked in ("", "3", "%"):
        assert call(*command, asked).code == 2, asked


def test_sync_takes_the_start_of_a_run_of_dagster(
    ledger: Ledger, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of runs that the ledger does not have yet too; with the same error where it is of several."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))

    @dg.job
    def nothing() -> None:
        return None

    with dg.DagsterInstance.get() as instance:
        ids = ["aaaa1111-0000-4000-8000-000000000001", "aaaa2222-0000-4000-8000-000000000002"]
        for run_id in ids:
            nothing.execute_in_process(instance=instance, run_id=run_id)
    said = call("sync", "--run", "aaaa")
    assert said.code == 2
    assert f"'aaaa' is the start of 2 run ids: {ids[0]}, {ids[1]}." in said.err
    assert call("sync", "--run", "aaaa1", "--grace", "0").code == 0
    assert [run["run_id"] for run in call("runs", "--json").json] == [ids[0]]
    assert call("sync", "--run", "bbbb").code == 2


@pytest.mark.parametrize("moment", ["0", "2020-01-01"])
def test_before_the_first_entry_is_no_empty_ledger(told: Tell, call: Call, moment: str) -> None:
    """What was not there then is not what has to be captured now."""
    told(good_run("1111-a"))
    said = call("runs", "--as-of", moment)
    assert (said.code, said.out) == (0, "")
    assert f"no runs as of {moment}" in said.err
    assert "sync" not in said.err
    said = call("show", "1111", "--as-of", moment)
    assert said.code == 2
    assert f"as of {moment}" in said.err
    assert "sync" not in said.err
    assert call("runs", "--as-of-occurred", "2020-01-01").code == 0


def test_an_empty_ledger_says_how_to_fill_it(ledger: Ledger, call: Call) -> None:
    """There is nothing yet, and the next step is a sync."""
    ledger.create()
    assert "Next: ledger sync" in call("runs").err


@pytest.mark.parametrize("width", [80, 100, 200, None])
def test_a_long_key_does_not_widen_the_table(told: Tell, width: int | None) -> None:
    """Names are shortened to the terminal's width, in a pipe to a column's own limit; both ends stay."""
    key = "first_" + "k" * 1000 + "_last"
    long = Story("11111111-aaaa", job="j" * 300).plan([planned("a/b", key)], {}).made("a/b", key)
    wide = Story("22222222-bbbb", job="票" * 300).plan([planned(f"a/{key}", None)], {}).made(f"a/{key}", None)
    with open_prefix(
        told(long.end().close(), wide.end().close(), good_run("33333333-cccc", start=START + 1))
    ) as prefix:
        rows = read_rows(prefix)
        lines = format_runs(rows, read_verdicts(prefix, rows), width)
        told_runs = [format_run(prefix, facts, width) for facts in read_runs(prefix, [row.run_id for row in rows])]
    assert max(map(width_of, lines)) <= (width or 250)
    assert "2026-04-17 00:00  33333333" in "\n".join(lines)
    if width:
        assets = [line for lines in told_runs for line in lines if "first_" in line and "materialized  a" in line]
        assert max(map(width_of, assets), default=0) <= width


def test_both_ends_of_a_name_are_shown() -> None:
    """Within the columns it may take, counted as a terminal does."""
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 10) == "abcde…hijk"
    assert width_of(shortened("票" * 50, 12)) <= 12
    assert shortened("ab", 1) == "…"

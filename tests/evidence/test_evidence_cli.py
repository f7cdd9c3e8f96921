"""`ledger runs`, `ledger show` and `ledger report`: what a person and a program get."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from calling import Call
from evidence_runs import START, Story, Tell, dry_run, failed_run, good_run, open_run, planned, warned_run

from run_evidence.evidence.facts import read_rows, read_runs, read_verdicts
from run_evidence.evidence.prefix import open_prefix
from run_evidence.evidence.terminal import format_run, format_runs
from run_evidence.ledger import Ledger

HOUR = 3_600_000_000


def test_runs_lists_every_run_with_its_denominators(told: Tell, call: Call) -> None:
    """Newest first; Dagster's word and the verdict stand side by side; the short id begins the whole one."""
    told(good_run("11111111-aaaa"), failed_run("22222222-bbbb", start=START + HOUR))
    said = call("runs")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "job week06_data_factory"
    assert lines[3].split()[:6] == ["2026-04-17", "01:00", "22222222", "2026-04-17", "failed", "failed"]
    assert lines[4].endswith("succeeded  passed   proceed_to_week07  4 of 5 planned passed, 1 not available")
    assert "\x1b" not in said.out


def test_runs_as_json_has_everything_whole(told: Tell, call: Call) -> None:
    """A program gets full ids, times, counts and reasons, of unsealed runs too."""
    told(good_run("11111111-aaaa"), failed_run("22222222-bbbb", start=START + HOUR))
    told(open_run("33333333-cccc", start=START + 2 * HOUR), seal=False)
    runs = call("runs", "--json").json
    assert [run["run_id"] for run in runs] == ["33333333-cccc", "22222222-bbbb", "11111111-aaaa"]
    assert [run["verdict"] for run in runs] == ["unknown", "failed", "passed"]
    assert [run["closed"] for run in runs] == [False, True, True]
    assert runs[1]["counts"]["never_ran"] == 2
    assert runs[1]["reason_code"] == "step_failed"
    assert len(call("runs", "--json", "--limit", "1").json) == 1


def test_runs_as_of_a_size_is_the_ledger_as_it_was(told: Tell, call: Call, ledger: Ledger) -> None:
    """The first so many entries know nothing of what was recorded later."""
    told(good_run("11111111-aaaa"))
    size = ledger.seal().size
    told(failed_run("22222222-bbbb"))
    assert [run["run_id"] for run in call("runs", "--json", "--as-of", str(size)).json] == ["11111111-aaaa"]
    assert call("runs", "--as-of", "soon").code == 2


def test_an_empty_ledger_says_what_to_do(call: Call) -> None:
    """No table of nothing: a message on stderr, and nothing on stdout."""
    said = call("runs")
    assert (said.code, said.out) == (0, "")
    assert "ledger sync" in said.err
    assert call("runs", "--json").json == []


def test_show_tells_one_run(told: Tell, call: Call) -> None:
    """Verdict, decision, timeline, assets, checks, skips with reasons and provenance, from the start of an id."""
    told(dry_run("11111111-aaaa"), good_run("22222222-bbbb"))
    said = call("show", "1111")
    assert said.code == 0
    for part in (
        "Run 11111111-aaaa  week06_data_factory",
        "skipped: 1 of 5 planned passed, 2 skipped, 1 not available, 1 not evaluated",
        "because    dry_run_no_db_write: week06/ingestion/raw_ticket_events_partitioned [2026-04-17]: dry run",
        "decision   dry_run_only for 2026-04-17",
        "left out week06/ingestion/raw_ticket_events_partitioned: dry_run_no_db_write",
        "upstream_skipped  week06/silver/ticket_fact_partitioned",
        "not_evaluated  row_count_output_count  upstream_skipped",
        "week04_lakehouse_not_available: no Week04 here",
        "2 steps were skipped by Dagster because an input was left out",
        "after the run had ended and its log was read whole",
        "checkpoint ",
    ):
        assert part in said.out, part


def test_show_tells_failures_with_their_next_step(told: Tell, call: Call) -> None:
    """The message of a failed step is there whole, its second line too."""
    told(failed_run("11111111-aaaa"))
    out = call("show", "11111111-aaaa").out
    assert "manifest <b>bad</b> | `x` _y_\n" in out
    assert "# Next step: deliver it again" in out
    assert "upstream_failed  week06/silver/ticket_fact_partitioned" in out


def test_show_as_json_is_the_report(told: Tell, call: Call) -> None:
    """What a program reads is the same document that `report` writes."""
    told(warned_run("11111111-aaaa"))
    document = call("show", "11111111-aaaa", "--json").json
    assert document["schema_version"] == "run_evidence_report_v1"
    assert document["verdict"]["verdict"] == "warned"


def test_an_unknown_run_names_the_nearest(told: Tell, call: Call) -> None:
    """A typing error gets the ids that were probably meant, exit code 2 and the next command."""
    told(good_run("11111111-aaaa"), good_run("99999999-zzzz"))
    said = call("show", "11111112")
    assert (said.code, said.out) == (2, "")
    assert "Nearest: 11111111-aaaa" in said.err
    assert "ledger sync" in said.err
    assert call("report", "").code == 2


def test_an_ambiguous_start_of_an_id_is_refused(told: Tell, call: Call) -> None:
    """Several runs start so: all are named, none is guessed; a whole id that starts another is itself."""
    told(good_run("1111-aaaa"), good_run("1111-aaaa-2"))
    said = call("show", "1111")
    assert said.code == 2
    assert "1111-aaaa, 1111-aaaa-2" in said.err
    assert call("show", "1111-aaaa").code == 0


def test_report_writes_and_prints_the_paths(told: Tell, call: Call, tmp_path: Path) -> None:
    """Data is the paths; it exits 0 whatever the verdict; the delivery summary comes up to date."""
    told(failed_run("11111111-aaaa"), seal=False)
    said = call("report", "1111", "--out", str(tmp_path / "out"))
    assert (said.code, said.err) == (0, "")
    paths = [Path(line) for line in said.out.splitlines()]
    assert [p.parent.name for p in paths] == ["run_evidence", "run_report", "summaries", "out"]
    assert all(p.is_file() for p in paths)
    assert call("report", "1111", "--out", str(tmp_path / "out"), "--json").json["files"] == list(map(str, paths))


def test_report_of_an_open_run_says_interim(told: Tell, call: Call, tmp_path: Path) -> None:
    """It is written all the same, and the command says how to get the final one."""
    told(open_run("11111111-aaaa"))
    said = call("report", "11111111-aaaa", "--out", str(tmp_path))
    assert said.code == 0
    assert "_interim_" in said.out
    assert "ledger sync" in said.err


def test_report_goes_where_the_project_keeps_its_reports(
    told: Tell, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --out, a Week06 run's documents go to reports/week06 and another project's to reports."""
    monkeypatch.chdir(tmp_path)
    other = Story("22222222-bbbb", job="other").plan([planned("a/b", None)], {}).made("a/b", None).end().close()
    told(good_run("11111111-aaaa"), other)
    assert call("report", "1111").out.startswith("reports/week06/run_evidence/")
    assert call("report", "2222").out.splitlines()[0].startswith("reports/run_report/")
    assert not (tmp_path / "reports" / "week06_delivery_summary.md").exists()


def test_lines_fit_a_terminal_of_100_columns(told: Tell) -> None:
    """What is wrapped keeps its words; only keys longer than the space overrun it."""
    ledger = told(failed_run("11111111-aaaa"), dry_run("22222222-bbbb"), warned_run("33333333-cccc"))
    with open_prefix(ledger) as prefix:
        rows = read_rows(prefix)
        shown = format_runs(rows, read_verdicts(prefix, rows), 100)
        for facts in read_runs(prefix, [row.run_id for row in rows]):
            shown += format_run(prefix, facts, 100)
    assert [line for line in shown if len(line) > 100] == []


def test_a_long_run_is_cut_where_it_repeats(told: Tell) -> None:
    """A hundred assets that passed are counted, not listed; the one that did not is there."""
    items = [planned(f"a/{n:03d}", None) for n in range(101)]
    story = Story("11111111-aaaa", job="wide").plan(items, {})
    for n in range(100):
        story.made(f"a/{n:03d}", None)
    with open_prefix(told(story.failed("a/100", "too many").end("failed").close())) as prefix:
        shown = "\n".join(format_run(prefix, read_runs(prefix, ["11111111-aaaa"])[0], None))
    assert "… and 60 more of 101 that passed" in shown
    assert "failed        a/100" in shown
    assert "more events" in shown
    assert len(shown.splitlines()) < 110


def test_a_terminal_never_obeys_recorded_text(told: Tell) -> None:
    """An escape sequence in an error message is shown as an escape and does nothing."""
    story = Story("11111111-aaaa").plan([planned("a/b")], {}).failed("a/b", "bad \x1b]0;title\x07 \x1b[2J end")
    with open_prefix(told(story.end("failed").close())) as prefix:
        shown = "\n".join(format_run(prefix, read_runs(prefix, ["11111111-aaaa"])[0], None))
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "end" in shown


def test_the_installed_command_knows_them(told: Tell, ledger: Ledger) -> None:
    """The entry points lead here: the real `ledger` lists runs."""
    told(good_run("11111111-aaaa"))
    command = Path(sys.executable).with_name("ledger")
    done = subprocess.run(
        [str(command), "--ledger", str(ledger.root), "runs", "--json"], capture_output=True, text=True, check=True
    )
    assert orjson.loads(done.stdout)[0]["run_id"] == "11111111-aaaa"

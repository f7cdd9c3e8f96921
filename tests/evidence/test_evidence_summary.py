"""The delivery summary: it depends on the runs, counts with denominators, and shows recorded text as it is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, replace

import orjson
import pytest
from calling import Call
from evidence_runs import DAY, START, Story, Tell, dry_run, failed_run, good_run, open_run, planned, warned_run
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pipelines.delivery import WEEK06
from run_evidence.evidence.facts import read_rows, read_runs, read_verdicts
from run_evidence.evidence.markdown import code, table, text
from run_evidence.evidence.prefix import open_prefix
from run_evidence.evidence.report import report_of
from run_evidence.evidence.summary import decided, derive_delivery_summary, derive_run_summary
from run_evidence.ledger import Event, Ledger
from run_evidence.ledger.model.event import MAX_DATA_BYTES
from run_evidence.ledger.model.plan import PlanItem
from tests.paths import paths

HOUR = 3_600_000_000
MARKS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""The marks of direction: every character that Unicode gives the property Bidi_Control."""


def summary(ledger: Ledger, run_ids: list[str] | None = None) -> str:
    """Derive the delivery summary."""
    with open_prefix(ledger) as prefix:
        return derive_delivery_summary(prefix, WEEK06, run_ids)


def row_of(markdown: str, partition: str) -> list[str]:
    """Return the cells of a partition's row in the overview."""
    (line,) = [line for line in markdown.splitlines() if line.startswith(f"| `{partition}`")]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_latest_run_of_a_partition_counts(told: Tell) -> None:
    """A partition that failed and was run again has the second run's decision, and the count of both."""
    ledger = told(failed_run("run-1"), good_run("run-2", start=START + HOUR))
    assert row_of(summary(ledger), "2026-04-17") == [
        "`2026-04-17`",
        "`proceed_to_week07`",
        "`passed`",
        "4 of 5 planned passed, 1 not available",
        "`run-2`",
        "2",
    ]
    assert "`run-1`" not in summary(ledger)


def test_a_run_without_the_product_does_not_hide_one_with_it(told: Tell) -> None:
    """A later run of the gate alone says nothing about the product."""
    gate_alone = Story("run-2", start=START + HOUR).plan([planned("week06/factory/manifest_gate")], {})
    ledger = told(good_run("run-1"), gate_alone.made("week06/factory/manifest_gate").end().close())
    assert row_of(summary(ledger), "2026-04-17")[4] == "`run-1`"


def _with_large(story: Story, event_type: str, **more: object) -> Story:
    """Let the payloads of a type be so large that they are files of their own."""
    padded = {"pad": "x" * MAX_DATA_BYTES, **more}
    story.events = [
        replace(event, data={**event.data, **padded}) if event.event_type == event_type else event
        for event in story.events
    ]
    return story


def _unreadable(ledger: Ledger, damage: str) -> None:
    """Damage every payload that is a file of its own."""
    for path in paths(ledger).blobs.iterdir():
        path.unlink() if damage == "gone" else path.write_bytes(b"{}")


@pytest.mark.soak
@pytest.mark.parametrize("event_type", ["plan.committed.v1", "outcomes.derived.v1"])
@pytest.mark.parametrize("damage", ["none", "gone", "altered", "of another shape"])
def test_a_run_that_cannot_be_read_is_named_and_takes_no_other_along(
    told: Tell, event_type: str, damage: str
) -> None:
    """Others are summarised as ever; what the damaged run delivered is not what an earlier run of the day did."""
    other = good_run("run-2", start=START + HOUR)
    shape = {"revision": None, "items": None} if damage == "of another shape" else {}
    ledger = told(
        good_run("run-1", start=START - HOUR),
        _with_large(good_run("bad", start=START), event_type, **shape),
        _on(other, "2026-04-18"),
    )
    whole = summary(ledger)
    if damage in {"gone", "altered"}:
        _unreadable(ledger, damage)
    markdown = summary(ledger)
    assert row_of(markdown, "2026-04-18")[1] == "`proceed_to_week07`"
    with open_prefix(ledger) as prefix:
        verdicts = {
            row.run_id: v.verdict for row in read_rows(prefix) for v in [read_verdicts(prefix, [row])[row.run_id]]
        }
        assert read_verdicts(prefix, read_rows(prefix)).keys() == {"run-1", "bad", "run-2"}
    assert (verdicts["run-1"], verdicts["run-2"]) == ("passed", "passed")
    if damage == "none":
        assert row_of(markdown, "2026-04-17")[4] == "`bad`"
        assert "cannot be read" not in whole
        return
    assert "1 run cannot be read" in markdown
    assert "- Run `bad`, " in markdown
    if event_type != "plan.committed.v1":  # outcomes are recorded apart from the plan
        assert verdicts["bad"] == "unknown"
        assert "| `2026-04-17`" not in markdown


def _on(story: Story, day: str) -> Story:
    """Move a run to another day."""
    moved = orjson.loads(
        orjson.dumps([asdict(event) for event in story.events]).replace(DAY.encode(), day.encode())
    )
    story.events = [Event(**event) for event in moved]
    return story


def test_a_summary_of_named_runs_knows_no_others(told: Tell) -> None:
    """The set of runs is part of what the text depends on."""
    ledger = told(failed_run("run-1"), good_run("run-2", start=START + HOUR))
    assert row_of(summary(ledger, ["run-1"]), "2026-04-17")[1] == "`hold_downstream`"
    assert summary(ledger, ["run-1"]) != summary(ledger, ["run-2"])


def test_skips_failures_and_what_never_came_are_named_with_denominators(told: Tell) -> None:
    """Each list says how many of how many, and each entry its reason."""
    failed = summary(told(failed_run("run-1")))
    assert "- Left out, 1 of 4:" in failed
    assert "- Never produced, 3 of 4:" in failed
    assert "- Checks never evaluated, 1 of 1:" in failed
    assert "week04_lakehouse_not_available: no Week04 here" in failed
    assert (
        "Of 1 partition, none may proceed (`proceed_to_week07`) and 1 is held back (`hold_downstream`)." in failed
    )
    warned = summary(told(warned_run("run-2", start=START + HOUR)))
    assert "- Checks that did not pass, 1 of 1:" in warned
    assert "partition_has_no_seed_rows; rows=0" in warned
    assert "Never produced" not in warned


@pytest.mark.parametrize(
    ("proceed", "review", "dry", "held", "said"),
    [
        (1, 0, 0, 0, "Of 1 partition, 1 may proceed (`proceed_to_week07`)"),
        (0, 0, 1, 1, "Of 2 partitions, none may proceed (…), 1 was a dry run (…) and 1 is held back (…)"),
        (2, 1, 0, 2, "Of 5 partitions, 2 may proceed (…), 1 needs a person's review (…) and 2 are held back (…)"),
        (0, 3, 2, 0, "Of 5 partitions, none may proceed (…), 3 need a person's review (…) and 2 were dry runs (…)"),
    ],
)
def test_the_counts_make_a_sentence(proceed: int, review: int, dry: int, held: int, said: str) -> None:
    """Of none, of one and of many; every decision that was made has its code beside it."""
    decisions = ["hold_downstream"] * held + ["dry_run_only"] * dry + ["manual_review_required"] * review
    sentence = decided(decisions + ["proceed_to_week07"] * proceed, "proceed_to_week07")
    assert all(f"(`{name}`)" in sentence for name in decisions)
    assert re.sub(r"`[a-z0-9_]+`", "…", sentence) == re.sub(r"`[a-z0-9_]+`", "…", said)


def test_the_summary_of_an_open_run_says_interim_and_calls_nothing_lost(told: Tell) -> None:
    """What has not come yet is not what never came; after closing it says final."""
    with open_prefix(told(open_run("run-1"))) as prefix:
        interim = derive_run_summary(prefix, read_runs(prefix, ["run-1"])[0])
    assert "Not signed. Interim: made while the run was running." in interim
    assert "- Checks not evaluated yet, 1 of 1:" in interim
    assert "never" not in interim
    with open_prefix(told(good_run("run-2"))) as prefix:
        final = derive_run_summary(prefix, read_runs(prefix, ["run-2"])[0])
    assert "Not signed. Final, after the run had ended and its log was read whole." in final


def test_the_product_stands_with_what_was_measured_of_it(told: Tell) -> None:
    """Rows read and written, snapshot, manifest and batch, as far as the run measured them."""
    markdown = summary(told(good_run("run-1")))
    assert (
        "- Product `week06/silver/ticket_fact_partitioned`, `materialized`: 121 rows read, 119 rows written, "
        "snapshot `sha256:bb`, manifest `manifest-tickets-20260417-001`, batch `batch-20260417`" in markdown
    )
    assert "`, `upstream_failed`\n" in summary(told(failed_run("run-2", start=START + HOUR)))


def test_a_dry_run_and_an_open_run_are_not_shown_as_done(told: Tell) -> None:
    """Neither is a delivery: the decision says so, and an open run says that it is open."""
    assert row_of(summary(told(dry_run("run-1"))), "2026-04-17")[1:3] == ["`dry_run_only`", "`skipped`"]
    still_open = summary(told(open_run("run-2", start=START + HOUR)))
    assert row_of(still_open, "2026-04-17")[1:3] == ["`hold_downstream`", "`unknown`"]
    assert "run_not_closed" in still_open


def test_it_says_what_it_was_derived_from_and_how_to_verify(told: Tell) -> None:
    """Checkpoint, checkpoint and SQL digests are there, and the command that checks them."""
    ledger = told(good_run("run-1"))
    with open_prefix(ledger) as prefix:
        assert prefix.head is not None
        markdown = derive_delivery_summary(prefix, WEEK06)
        assert f"As of checkpoint {prefix.head.size} of `{prefix.head.origin}`." in markdown
        assert prefix.head.root.hex() in markdown
    assert "`ledger verify`" in markdown
    assert len(re.findall(r"SHA-256 `[0-9a-f]{64}`", markdown)) >= 5
    unsealed = summary(told(good_run("run-2"), seal=False))
    assert "entries that are not sealed" in unsealed


def test_no_run_of_the_factory_is_nothing_to_hand_over(told: Tell) -> None:
    """An empty summary says so; it does not look like a delivery."""
    ledger = told(Story("run-1", job="other").plan([planned("a/b")], {}).made("a/b").end().close())
    assert "nothing to hand over" in summary(ledger)
    with open_prefix(ledger) as prefix:
        markdown = derive_run_summary(prefix, read_runs(prefix, ["run-1"])[0])
    assert "# Run `run-1`: `passed`" in markdown
    assert "1 of 1 planned passed" in markdown


def test_recorded_words_stay_words(told: Tell) -> None:
    """An error message full of Markdown and HTML makes no heading, no table cell and no tag."""
    html = MarkdownIt("commonmark").enable("table").render(summary(told(failed_run("run-1"))))
    assert "manifest &lt;b&gt;bad&lt;/b&gt; | `x` _y_; # Next step: deliver it again" in html
    assert html.count("<tr>") == 2
    assert re.findall(r"<h[1-6]>(.*?)</h", html)[0] == "Week06 delivery summary"
    assert len(re.findall(r"<h[1-6]>", html)) == 3


@given(st.text(max_size=60))
def test_any_text_is_shown_as_it_is(value: str) -> None:
    """Rendered by a foreign Markdown implementation, escaped text reads as the text did, in a list and a table."""
    flat = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", value).strip()
    flat = "".join(f"\\u{ord(c):04x}" if c in MARKS else c for c in flat)
    parser = MarkdownIt("commonmark").enable("table")
    in_list = parser.parse(f"- {text(value)}")
    in_table = parser.parse("\n".join(table(["a", "b"], [[text(value), code(value)]])))
    shown = [_plain(token.children or []) for token in in_list if token.type == "inline"]
    assert shown == ([flat] if flat else [])
    cells = [_plain(token.children or []) for token in in_table if token.type == "inline"]
    assert cells == ["a", "b", flat, flat]


@pytest.mark.parametrize("mark", MARKS)
def test_no_text_turns_the_words_after_it_round(mark: str) -> None:
    """A mark of direction is shown as its number; letters that are written from the right stay."""
    kinds = {unicodedata.bidirectional(c) for c in text(f"\u05e9\u05dc\u05d5\u05dd{mark}a")}
    assert "R" in kinds
    assert kinds.isdisjoint({"AL", "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
    assert f"u{ord(mark):04x}" in text(f"a{mark}b")
    assert mark not in text(f"a{mark}b")


def _plain(tokens: Sequence[Token]) -> str:
    parts = []
    for token in tokens:
        assert token.type in {"text", "code_inline", "text_special"}, token.type
        parts.append(token.content)
    return "".join(parts)


def test_a_run_of_several_partitions_names_each_item_with_its_own(told: Tell, call: Call) -> None:
    """The range and the count stand for the run; no item is shown without its partition, a check's included."""
    days = ("2026-04-15", "2026-04-16", "2026-04-17")
    items = [planned("made", day) for day in days]
    items += [PlanItem("made", day, "whole", "made", kind="check") for day in days]
    story = Story("run-1").plan([*items, planned("alone", None)], {})
    for day in days:
        story.made("made", day)
    ledger = told(story.made("alone", None).checked("whole", "made", "warned", partition=days[2]).end().close())
    told_range = "2026-04-15..2026-04-17 (3)"
    assert call("runs", "--json").json[0]["partition"] == told_range
    shown = call("show", "run-1")
    assert told_range in shown.out
    for name in ("made [2026-04-17]", "whole [2026-04-17]", "check whole of made [2026-04-17]: warned"):
        assert name in shown.out
    assert re.search(r"materialized +alone$", shown.out, re.MULTILINE)
    assert not re.search(r"materialized +made$|whole: ", shown.out, re.MULTILINE)
    with open_prefix(ledger) as prefix:
        (facts,) = read_runs(prefix, ["run-1"])
        assert f"check whole of made {text('[2026-04-17]')}" in derive_run_summary(prefix, facts)
        assert report_of(prefix, facts)["run"]["partition"] == told_range

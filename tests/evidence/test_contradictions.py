"""What contradicts itself is found, whoever looks: the gate, `ledger show`, and SQL."""

from __future__ import annotations

from typing import Any

import pytest
from calling import Ask, Call
from evidence_runs import (
    DAY,
    FACT,
    GATE,
    RAW,
    START,
    Story,
    Tell,
    dry_run,
    failed_run,
    metadata,
    planned,
    planned_check,
    step_of,
)
from test_gate import HOUR, LATER, RUN, failing, got, of_release

from run_evidence.evidence.contradictions import Declared, declared_by, find_contradictions
from run_evidence.evidence.facts import read_rows, read_runs
from run_evidence.evidence.prefix import open_prefix
from run_evidence.evidence.profile import DeliveryProfile, Field
from run_evidence.ledger import Ledger, UsageError, open_snapshot

ROWS = Declared(read="rows_in", written="rows_out", counts=frozenset({"rows_in", "rows_out", "rows"}))
A, B, C = "shop/raw", "shop/rates", "shop/orders"


def found(ledger: Ledger, declared: Declared = ROWS, run_id: str = RUN) -> list[tuple[str, str, str | None]]:
    """Return (kind, asset, partition) of each finding about a run."""
    with open_prefix(ledger, also=declared.views) as prefix:
        facts = read_runs(prefix, [run_id])[0]
        every = find_contradictions(prefix, facts, facts.outcomes, declared)
    return [(c.kind, c.outcome.item.asset_key, c.outcome.item.partition) for c in every]


def versioned(story: Story, asset_key: str, made_from: tuple[str, ...] = (), **measured: Any) -> Story:
    """Record a materialization with the version of it, and those of its inputs, as Dagster does."""
    step: dict[str, Any] = {"step_key": step_of(asset_key), "attempt": 1}
    tags = {f"dagster/input_data_version/{key}": f"version of {key}" for key in made_from}
    data = {"metadata": metadata(measured), "data_version": f"version of {asset_key}", "tags": tags}
    story.record("step.started.v1", **step)
    story.record("asset.materialized.v1", data, asset_key=asset_key, partition=DAY, outcome="passed", **step)
    return story.record("step.succeeded.v1", **step)


def chain(read: Any, *, raw: Any = 120, rates: Any = None) -> Story:
    """Tell a run in which orders are made from raw and from rates."""
    story = Story(RUN).plan((planned(A), planned(B), planned(C)), {})
    versioned(story, A, **({} if raw is None else {"rows_out": raw}))
    versioned(story, B, **({} if rates is None else {"rows_out": rates}))
    return versioned(story, C, (A, B), **({} if read is None else {"rows_in": read})).end().close()


@pytest.mark.soak
@pytest.mark.parametrize("status", ["failed", "**Skipped**", "not available", "unknown", "not_evaluated"])
def test_a_green_record_that_says_it_is_none(told: Tell, status: str) -> None:
    """An asset's and a check's; one that says it is fine, or warns, contradicts nothing."""
    items = (planned(A), planned(B), planned(C), planned_check("complete", C))
    story = Story(RUN).plan(items, {}).made(A, status=status).made(B, status="success").made(C, status="warning")
    told(story.checked("complete", C, status=status).end().close())
    with open_snapshot(told(), views=("contradictions",)) as snapshot:
        asked = "SELECT kind, asset_key, check_name FROM contradictions ORDER BY ALL"
        assert snapshot.rows(asked) == [("says_otherwise", C, "complete"), ("says_otherwise", A, None)]
    assert sorted(found(told())) == [("says_otherwise", C, None), ("says_otherwise", A, DAY)]


def test_a_green_record_that_says_in_the_profiles_word_that_nothing_was_written(told: Tell) -> None:
    story = Story(RUN).plan((planned(A),), {}).made(A, reason_codes=["nothing_written"])
    ledger = told(story.end().close())
    assert found(ledger) == []
    assert found(ledger, Declared(dry_run_codes=frozenset({"nothing_written"}))) == [("says_otherwise", A, DAY)]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("asset", "check", "contradicts"),
    [
        ({}, {"rows": 0}, True),
        ({"rows_out": 7}, {"rows": 0}, True),
        ({"rows_out": 0}, {}, True),
        ({"rows_out": 0}, {"rows": 3}, False),
        ({"rows_out": 0}, {"other": 0}, True),
        ({"rows_out": 7}, {}, False),
        ({"lines": 0}, {"lines": 0}, False),
        ({}, {"rows": 0, "rows_in": 4}, False),
        ({}, {"rows": False}, False),
        ({}, {"rows": "0"}, False),
        ({}, {}, False),
    ],
)
def test_a_check_that_passed_on_nothing(
    told: Tell, asset: dict[str, Any], check: dict[str, Any], contradicts: bool
) -> None:
    """By declared names alone: what the check counted, else what its asset wrote."""
    story = Story(RUN).plan((planned(C), planned_check("complete", C)), {}).made(C, **asset)
    ledger = told(story.checked("complete", C, **check).end().close())
    assert ([kind for kind, *_ in found(ledger)] == ["passed_on_nothing"]) is contradicts
    assert found(ledger, Declared()) == []


def test_a_check_that_did_not_pass_on_nothing_is_as_it_should_be(told: Tell) -> None:
    story = Story(RUN).plan((planned(C), planned_check("complete", C)), {}).made(C, rows_out=0)
    assert found(told(story.checked("complete", C, "warned", rows=0).end().close())) == []


@pytest.mark.soak
@pytest.mark.parametrize(
    ("read", "raw", "rates", "closes"),
    [
        (120, 120, None, True),
        (119, 120, None, False),
        (121, 120, None, False),
        (0, 120, None, False),
        (123, 120, 3, True),
        (120, 120, 3, True),
        (3, 120, 3, True),
        (122, 120, 3, False),
        (7, None, None, True),
        (None, 120, 3, True),
        (True, 120, None, True),
    ],
)
def test_rows_read_are_rows_written(told: Tell, read: Any, raw: Any, rates: Any, closes: bool) -> None:
    """All of what it was made from, or one of it; where a count is not known there is nothing to compare."""
    ledger = told(chain(read, raw=raw, rates=rates))
    assert ([kind for kind, *_ in found(ledger)] == []) is closes
    assert found(ledger, Declared(read="rows_in")) == []


def test_rows_of_an_input_that_another_run_made(told: Tell) -> None:
    """Lineage leads there, across runs."""
    first = versioned(Story(LATER, start=START - HOUR).plan((planned(A),), {}), A, rows_out=120).end().close()
    second = versioned(Story(RUN).plan((planned(C),), {}), C, (A,), rows_in=100).end().close()
    assert found(told(first, second)) == [("rows_do_not_close", C, DAY)]


def test_a_plan_that_nobody_ever_fulfilled(told: Tell) -> None:
    """Until any run makes it; an optional one was not wanted, and an open run may still make it."""
    optional = planned("shop/extra", required=False, reason_code="none_today", reason="none")
    story = Story(RUN).plan((planned(C), optional), {}).failed(C, "no").end("failed")
    assert found(told(story)) == []
    ledger = told(Story(LATER).plan((planned(C), optional), {}).failed(C, "no").end("failed").close())
    assert found(ledger, run_id=LATER) == [("never_made", C, DAY)]
    told(Story("33333333", start=START + HOUR).plan((planned(C),), {}).made(C, "2026-04-18").end().close())
    assert found(ledger, run_id=LATER) == [("never_made", C, DAY)]
    told(Story("44444444", start=START + HOUR).plan((planned(C),), {}).made(C).end().close())
    assert found(ledger, run_id=LATER) == []


def test_sql_says_what_python_says(told: Tell) -> None:
    """Of every run of a history, of the kinds that need no name."""
    odd = Story("odd").plan((planned(A), planned(C)), {}).made(A, status="failed").made(C, status="None")
    ledger = told(failed_run("failed"), dry_run("dry"), odd.end().close())
    with open_prefix(ledger, also=("contradictions",)) as prefix:
        python = {
            (c.kind, facts.row.run_id, c.outcome.item.asset_key, c.outcome.item.partition)
            for facts in read_runs(prefix, [row.run_id for row in read_rows(prefix)])
            for c in find_contradictions(prefix, facts, facts.outcomes, Declared())
        }
        sql = set(prefix.snapshot.rows("SELECT kind, run_id, asset_key, partition FROM contradictions"))
    assert {kind for kind, *_ in sql} == {"says_otherwise", "never_made"}
    assert sql == python


def test_the_gate_and_show_tell_them(told: Tell, call: Call, ask: Ask) -> None:
    """The gate is not met although the verdict is passed and the decision sets it free."""
    story = Story(RUN).plan()
    story.made(GATE).made(RAW).made(FACT, output_row_count=0)
    told(story.checked("row_count_output_count", FACT).end().close())
    said = call("gate", "--product", FACT, "--partition", DAY, "--json")
    assert (said.code, failing(said)) == (1, {"contradictions"})
    assert "output_row_count 0 (passed_on_nothing)" in got(said, "contradictions")
    assert "output_row_count 0 (passed_on_nothing)" in ask("show", RUN)


def test_a_policy_declares_rows_where_there_is_no_profile(told: Tell, call: Call, tmp_path: Any) -> None:
    told(of_release(chain(100)))
    assert call("gate", "--run", RUN).code == 0
    policy = tmp_path / "policy.toml"
    policy.write_text('rows_read = "rows_in"\nrows_written = "rows_out"')
    said = call("gate", "--run", RUN, "--policy", str(policy), "--json")
    assert failing(said) == {"contradictions"}
    assert "it read 100 rows, and shop/raw wrote 120" in got(said, "contradictions")
    policy.write_text('rows_read = "rows_in"\nrows_written = "rows_out"\noff = ["contradictions"]')
    assert call("gate", "--run", RUN, "--policy", str(policy)).code == 0


def test_a_profile_says_which_counts_are_rows() -> None:
    """Each of the two once, and of a count."""
    fields = (Field("seen", "count", rows="read"), Field("kept", "count", rows="written"), Field("size", "count"))
    about: dict[str, Any] = {"name": "a", "title": "A", "contract": "a_v1", "product": C, "key_prefix": C}
    profile = DeliveryProfile(**about, proceed="go", fields=fields)
    declared = declared_by(profile)
    assert (declared.read, declared.written, declared.counts) == ("seen", "kept", {"seen", "kept", "size"})
    assert declared_by(profile, read="lines").read == "lines"
    with pytest.raises(UsageError, match="several fields of the rows read"):
        DeliveryProfile(**about, proceed="go", fields=(*fields, Field("other", "count", rows="read")))
    with pytest.raises(UsageError, match="neither read nor written"):
        Field("note", "text", rows="read")

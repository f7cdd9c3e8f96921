"""Secrets in the names and texts of Dagster's runs: none gets in, no two names become one, nothing is repeated."""

import re
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from holding import assert_holds, outcomes, rows, sync

from run_evidence.ledger import Event, Ledger
from run_evidence.ledger.redaction.redact import Redaction
from run_evidence.ledger.verification.verify import verify
from run_evidence.sensors import skip
from run_evidence.sensors.capture.capture import CaptureContext, capture_run

SECRET_PARTITIONS = dg.StaticPartitionsDefinition(["token:abcdef", "token:ghijkl", "plain"])


@dg.asset(partitions_def=SECRET_PARTITIONS, output_required=False)
def keyed(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
    skip(context, reason_code="not_wanted", text="password=hunter2 was wrong")
    if context.partition_key == "never":
        yield dg.Output(None)


@dg.asset(partitions_def=SECRET_PARTITIONS)
def made() -> None: ...


def _count(ledger: Ledger, event_type: str) -> int:
    (count,) = rows(ledger, f"SELECT count(*) FROM events WHERE event_type = '{event_type}'")[0]
    return int(count)


def run_with_secrets(instance: dg.DagsterInstance, partition: str = "token:abcdef") -> str:
    tags = {"contact": "postgres://me:hunter2@host/db", "password=hunter2": "x", "token": "hunter2"}
    return dg.materialize([keyed, made], instance=instance, partition_key=partition, tags=tags).run_id


def test_secrets_in_tags_and_keys_neither_get_in_nor_confuse(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """What the ledger masks is compared masked: nothing is recorded twice, and every item still has its outcome."""
    run_id = run_with_secrets(instance)
    capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=3_600))
    sync(instance, ledger)
    assert sync(instance, ledger).appended == 0
    found = dict(sorted(outcomes(ledger, run_id).items()))
    assert [re.sub(r"[0-9a-f]{16}", "…", name) for name in found] == [
        "keyed@token:[redacted:…]",
        "made@token:[redacted:…]",
    ]
    assert list(found.values()) == ["skipped:not_wanted", "materialized"]
    assert _count(ledger, "asset.skipped.v1") == 1
    assert _count(ledger, "run.tags_changed.v1") == 0
    assert_holds(instance, ledger)
    assert rows(ledger, "SELECT 1 FROM entries WHERE contains(decode(entry), 'hunter2')") == []


def test_partitions_that_differ_in_a_secret_alone_stay_two(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """In records, plans, outcomes and skips alike: each run's items are its own."""
    names = [set(outcomes_of(instance, ledger, f"token:{secret}")) for secret in ("abcdef", "ghijkl", "abcdef")]
    assert names[0] == names[2]
    assert not names[0] & names[1]
    planned, recorded = (
        {name for (name,) in rows(ledger, f"SELECT DISTINCT partition FROM {view} WHERE partition IS NOT NULL")}
        for view in ("outcomes", "materializations")
    )
    assert len(planned) == 2
    assert planned == recorded


def outcomes_of(instance: dg.DagsterInstance, ledger: Ledger, partition: str) -> dict[str, str]:
    run_id = run_with_secrets(instance, partition)
    sync(instance, ledger)
    return outcomes(ledger, run_id)


def as_it_is(event: Event) -> Event:
    return event


EARLIER_RULES: dict[str, Any] = {
    "without digests": Redaction().apply,
    "without any forms": as_it_is,
}


@pytest.mark.soak
@pytest.mark.parametrize("rules", EARLIER_RULES)
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
def test_what_earlier_rules_recorded_is_neither_repeated_nor_reopened(
    instance: dg.DagsterInstance, ledger: Ledger, rules: str, closed: bool
) -> None:
    """What was recorded of a run under other rules holds, and each of its items has one outcome."""
    run_id = run_with_secrets(instance)
    earlier = SimpleNamespace(apply=EARLIER_RULES[rules], unkeyed=SimpleNamespace(apply=EARLIER_RULES[rules]))
    earlier.is_personal = Redaction().is_personal
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("run_evidence.ledger.ledger.read_redaction", lambda _: earlier)
        capture_run(instance, run_id, CaptureContext(ledger, grace_seconds=0 if closed else 3_600))
    ledger.seal()
    before = rows(ledger, "SELECT event_type, count(*) FROM events GROUP BY ALL ORDER BY ALL")
    sync(instance, ledger)
    after = rows(ledger, "SELECT event_type, count(*) FROM events GROUP BY ALL ORDER BY ALL")
    added = set(after) - set(before)
    assert {name for name, _ in added} == (set() if closed else {"outcomes.derived.v1", "run.closed.v1"})
    assert sync(instance, ledger).appended == 0
    assert sorted(outcomes(ledger, run_id).values()) == ["materialized", "skipped:not_wanted"]
    assert verify(ledger).ok

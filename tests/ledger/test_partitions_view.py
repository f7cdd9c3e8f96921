"""The view `partitions`: what was never planned is a row, and what nobody declared is not guessed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from run_evidence.ledger import Event, InputError, Json, Ledger, open_snapshot, outcome_parts
from run_evidence.ledger.model.extent import (
    MAX_KEYS,
    PARTITIONS_DECLARED,
    Extent,
    extent_data,
    extent_digest,
    of_keys,
    partition_keys,
    read_extent,
)
from run_evidence.ledger.model.outcomes import Outcome
from run_evidence.ledger.model.plan import Plan, PlanItem, plan_parts
from run_evidence.ledger.query.as_of import AsOf
from tests.here import ledger_here

NOW = round(datetime(2026, 4, 20, 12, tzinfo=UTC).timestamp() * 1_000_000)
START = round(datetime(2026, 4, 15, tzinfo=UTC).timestamp() * 1_000_000)
SECOND = 1_000_000
DAILY = Extent(kind="windows", start=START, cadence="daily", format="%Y-%m-%d")
REGIONS = of_keys("static", ["eu", "us"])


@pytest.fixture
def ledger(tmp_path: Any) -> Ledger:
    return Ledger(tmp_path / "ledger", clock=lambda: NOW)


def declared(extent: Extent, *asset_keys: str, at: int = START) -> Event:
    named: list[Json] = list(asset_keys)
    data: dict[str, Json] = {"asset_keys": named, "extent": extent_data(extent), "sha256": extent_digest(extent)}
    return Event(event_type=PARTITIONS_DECLARED, occurred_at=at, data=data, run_id="")


class Run:
    """A run's events, a second apart from its start on."""

    def __init__(self, run_id: str, start: int) -> None:
        self.run_id, self.at, self.records, self.events = run_id, start, 0, list[Event]()
        self.own("run.seen.v1", tags={})

    def own(self, event_type: str, **data: Any) -> None:
        self.events.append(
            Event(event_type=event_type, occurred_at=self.at, store_id="s", run_id=self.run_id, data=data)
        )

    def record(self, event_type: str, data: dict[str, Json] | None = None, **about: Any) -> None:
        self.records += 1
        self.at += SECOND
        digest = f"{self.run_id}-{self.records}".encode().hex().rjust(64, "0")[-64:]
        self.events.append(
            Event(
                event_type=event_type,
                occurred_at=self.at,
                store_id="s",
                run_id=self.run_id,
                storage_id=self.records,
                source_digest=digest,
                data=data or {},
                **about,
            )
        )

    def plan(self, *items: tuple[str, str | None]) -> Run:
        for part in plan_parts(Plan(tuple(PlanItem(*item) for item in items), {})):
            self.own("plan.committed.v1", **part)
        self.record("run.started.v1")
        return self

    def made(self, key: str, partition: str | None, version: str = "1", **inputs: str) -> Run:
        tags: dict[str, Json] = {f"dagster/input_data_version/{name}": used for name, used in inputs.items()}
        self.record(
            "asset.materialized.v1",
            {"metadata": [], "data_version": version, "tags": tags},
            asset_key=key,
            partition=partition,
            outcome="passed",
        )
        return self

    def close(self, **words: str) -> list[Event]:
        """Close the run; `words` are outcomes by `asset__partition`, the partition's hyphens left out."""
        self.record("run.succeeded.v1")
        found = []
        for name, word in words.items():
            key, _, day = name.partition("__")
            partition = f"2026-04-{day}" if day.isdecimal() else day or None
            item = PlanItem(key, partition)
            code = None if word == "materialized" else "why"
            found.append(Outcome(item=item, outcome=word, reason_code=code, reason=None, basis=(), attempts=1))
        for part in outcome_parts(found, 1):
            self.own("outcomes.derived.v1", **part)
        self.own("run.closed.v1", revision=1, status="succeeded")
        return self.events


def states(ledger: Ledger, as_of: AsOf | None = None) -> dict[tuple[str, str | None], tuple[str, bool | None]]:
    """Return state and `defined` of each partition of each asset."""
    with open_snapshot(ledger, as_of or AsOf(), ("partitions",)) as snapshot:
        found = snapshot.rows("SELECT asset_key, partition, state, defined FROM partitions")
    assert len({row[:2] for row in found}) == len(found)
    return {(key, partition): (state, defined) for key, partition, state, defined in found}


def test_each_partition_of_the_definition_has_its_state(ledger: Ledger) -> None:
    """From the first to the last day that has ended, whether or not any run ever planned it."""
    days = [("a", f"2026-04-{day}") for day in (16, 17, 18)]
    run = Run("run-1", START).plan(*days).made("a", "2026-04-16")
    events = run.close(a__16="materialized", a__17="skipped", a__18="failed")
    still_open = Run("run-2", START + 100 * SECOND).plan(("a", "2026-04-19")).events
    ledger.append([declared(DAILY, "a", "never"), *events, *still_open])
    assert states(ledger) == {
        ("a", "2026-04-15"): ("missing", True),
        ("a", "2026-04-16"): ("materialized", True),
        ("a", "2026-04-17"): ("skipped", True),
        ("a", "2026-04-18"): ("failed", True),
        ("a", "2026-04-19"): ("pending", True),
        **{("never", f"2026-04-{day}"): ("missing", True) for day in range(15, 20)},
    }


def test_what_was_wiped_is_not_there(ledger: Ledger) -> None:
    run = Run("run-1", START).plan(("a", "2026-04-16")).made("a", "2026-04-16").close(a__16="materialized")
    wipe = Event(
        event_type="asset.wiped.v1",
        occurred_at=START + 1_000 * SECOND,
        run_id="",
        asset_key="a",
        store_id="s",
        storage_id=99,
        source_digest="f" * 64,
        data={"partition_keys": ["2026-04-16"]},
    )
    ledger.append([declared(DAILY, "a"), *run, wipe])
    assert states(ledger)["a", "2026-04-16"] == ("wiped", True)


def test_what_was_made_from_an_older_version_is_stale(ledger: Ledger) -> None:
    """An input that was made again with the same version changes nothing."""
    first = Run("run-1", START).plan(("raw", "eu"), ("a", "eu"), ("raw", "us"), ("a", "us"))
    first.made("raw", "eu", "1").made("a", "eu", "7", raw="1").made("raw", "us", "1").made("a", "us", "7", raw="1")
    ledger.append([declared(REGIONS, "raw", "a")])
    every = {f"{key}__{region}": "materialized" for key in ("raw", "a") for region in ("eu", "us")}
    ledger.append(first.close(**every))
    assert {state for state, _ in states(ledger).values()} == {"materialized"}
    again = Run("run-2", START + 100 * SECOND).plan(("raw", "eu"), ("raw", "us"))
    again.made("raw", "eu", "2").made("raw", "us", "1")
    ledger.append(again.close(raw__eu="materialized", raw__us="materialized"))
    found = states(ledger)
    assert [key for key, (state, _) in found.items() if state == "stale"] == [("a", "eu")]
    with open_snapshot(ledger, views=("partitions",)) as snapshot:
        (row,) = snapshot.rows("SELECT stale_by, epoch_us(stale_since) FROM partitions WHERE state = 'stale'")
    assert row == (["raw"], START + 102 * SECOND)


def test_what_nobody_declared_is_not_guessed(ledger: Ledger) -> None:
    """Runs have dealt with some of its partitions; whether there are others, nobody says."""
    hidden = Extent(kind="windows")
    events = [
        event
        for key in ("undeclared", "hidden", "gone")
        for event in Run(f"run-{key}", START)
        .plan((key, "eu"))
        .made(key, "eu")
        .close(**{f"{key}__eu": "materialized"})
    ]
    ledger.append([declared(hidden, "hidden"), declared(of_keys("static", ["us"]), "gone"), *events])
    assert states(ledger) == {
        ("undeclared", "eu"): ("materialized", None),
        ("hidden", "eu"): ("materialized", None),
        ("gone", "eu"): ("materialized", False),
        ("gone", "us"): ("missing", True),
    }


def test_an_asset_without_partitions_is_one_row(ledger: Ledger) -> None:
    made = Run("run-1", START).plan(("whole", None)).made("whole", None).close(whole="materialized")
    ledger.append([declared(Extent(kind="none"), "whole", "never"), *made])
    assert states(ledger) == {("whole", None): ("materialized", True), ("never", None): ("missing", True)}


def test_the_last_declaration_of_an_asset_counts_and_the_past_has_its_own(ledger: Ledger) -> None:
    """As of a prefix, windows end with its last entry; what cannot be read makes them not known."""
    ledger.append([declared(REGIONS, "a", "b")])
    ledger.seal()
    ledger.append([declared(of_keys("static", ["asia"]), "a", at=START + SECOND)])
    ledger.seal()
    assert set(states(ledger)) == {("a", "asia"), ("b", "eu"), ("b", "us")}
    assert set(states(ledger, AsOf(size=1))) == {("a", "eu"), ("a", "us"), ("b", "eu"), ("b", "us")}
    wrong: dict[str, Json] = {"asset_keys": ["a"], "extent": {"kind": "static", "eval": "x"}, "sha256": "0"}
    ledger.append([Event(event_type=PARTITIONS_DECLARED, occurred_at=START + 2 * SECOND, data=wrong, run_id="")])
    ledger.seal()
    assert set(states(ledger)) == {("b", "eu"), ("b", "us")}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"kind": "weeks"},
        {"kind": "windows", "cadence": "daily"},
        {"kind": "windows", "cadence": "yearly", "start": 0},
        {"kind": "windows", "cadence": "daily", "start": "2026"},
        {"kind": "windows", "cadence": "daily", "start": 0, "hour": -1},
        {"kind": "windows", "cadence": "daily", "start": 0, "format": "%999999999d"},
        {"kind": "static", "keys": [1]},
        {"kind": "static", "keys": 5},
        {"kind": "static", "tomorrow": 5},
    ],
)
def test_what_is_no_extent_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        read_extent(said)


def test_time_is_bounded_whatever_somebody_declares() -> None:
    """A window since the beginning of time, a zone that is none, a day that no month has."""
    assert partition_keys(Extent(kind="windows", start=-(10**17), cadence="hourly", format="%H"), NOW) is None
    for wrong in (
        Extent(kind="windows", start=START, cadence="daily", timezone="No/Where", format="%Y"),
        Extent(kind="windows", start=START, cadence="daily", timezone="../../etc/passwd", format="%Y"),
        Extent(kind="windows", start=START, cadence="monthly", day=31, format="%Y"),
        Extent(kind="windows", start=10**30, cadence="daily", format="%Y"),
    ):
        with pytest.raises(InputError):
            partition_keys(wrong, NOW)


def test_a_long_list_of_keys_is_not_recorded() -> None:
    assert of_keys("static", ["k"] * MAX_KEYS).known
    long = of_keys("static", ["k"] * (MAX_KEYS + 1))
    assert (long.known, long.count, long.keys) == (False, MAX_KEYS + 1, None)
    assert read_extent(extent_data(long)) == long


# --- the command ------------------------------------------------------------------------------------------


def asked(ledger: Ledger, *words: str) -> Any:
    return ledger_here("--ledger", str(ledger.root), "partitions", *words)


def test_the_command_lists_what_is_missing_and_says_how_many_there_are(ledger: Ledger) -> None:
    """The clock of the command is the machine's: only partitions up to then are asked for, by a fixed end."""
    ended = replace(DAILY, end=START + 3 * 24 * 3600 * SECOND)
    ledger.append([declared(ended, "shop/orders")])
    said = asked(ledger, "shop/orders", "--state", "missing,skipped")
    assert said.returncode == 0, said.stderr
    assert [line.split()[:2] for line in said.stdout.splitlines()[1:]] == [
        ["missing", "2026-04-15"],
        ["missing", "2026-04-16"],
        ["missing", "2026-04-17"],
    ]
    assert "3 of 3 partitions; 3 missing" in said.stderr
    found = orjson.loads(asked(ledger, "shop/orders", "--json").stdout)
    assert {row["partition"]: row["state"] for row in found} == dict.fromkeys(
        ["2026-04-15", "2026-04-16", "2026-04-17"], "missing"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["shop/order"], "Nearest: shop/orders"),
        (["shop/orders", "--state", "gone"], "'gone' is no state"),
        (["\x1b[31m"], "\\x1b[31m"),
    ],
)
def test_the_command_refuses_what_there_is_not(ledger: Ledger, words: list[str], says: str) -> None:
    ledger.append([declared(REGIONS, "shop/orders")])
    said = asked(ledger, *words)
    assert said.returncode == 2
    assert says in said.stderr
    assert "\x1b" not in said.stderr

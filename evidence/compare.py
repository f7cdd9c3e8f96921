"""What changed between two runs or two releases: outcomes, counts, versions, durations, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from run_evidence.evidence.prefix import query_text
from run_evidence.ledger import NOW, UsageError, one_run, open_snapshot, runs_starting_with

if TYPE_CHECKING:
    from run_evidence.ledger import AsOf, Ledger, Snapshot

_SLOWER: Final = 1.5
_SECONDS: Final = 1.0
"""A step took another time when it took half as long again, or less, and the difference is a second or more."""

_Key = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class ItemChange:
    """One thing that is not the same: `what` (outcome, a label of metadata, …), as it was and as it is.

    `None` where there is none: an item that only one side has, a value that was not stated.
    """

    what: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ChangedItem:
    """An asset or a check, and what changed of it. `partition` is `None` for that of the runs themselves."""

    asset_key: str
    partition: str | None
    check_name: str | None
    changes: tuple[ItemChange, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, each a list of run ids; what changed of the runs as a whole, and of each item."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    whole: tuple[ItemChange, ...]
    items: tuple[ChangedItem, ...]
    same: int


def compare_runs(ledger: Ledger, before: str, after: str, as_of: AsOf = NOW) -> Comparison:
    """Compare two runs. Their own partitions stand for each other. Raises: UsageError when one is not there."""
    with open_snapshot(ledger, as_of) as snapshot:
        one, other = _run(snapshot, before), _run(snapshot, after)
        runs = {run["run_id"]: run for run in _dicts(snapshot, _RUNS, _OF_RUNS, {"run_ids": [one, other]})}
        whole = _whole(runs[one], runs[other])
        return _compared(snapshot, [one], [other], whole, own=True)


def compare_releases(ledger: Ledger, before: str, after: str, as_of: AsOf = NOW) -> Comparison:
    """Compare the outcomes of two releases' runs, item by item: of several runs the last one counts.

    Where they have no partition in common, those of the last runs stand for each other.

    Raises: UsageError when a release has no run.
    """
    with open_snapshot(ledger, as_of) as snapshot:
        sides = []
        for release in (before, after):
            rows = snapshot.rows(_OF_RELEASE, {"release": release})
            if not rows:
                raise UsageError(
                    f"There is no run of release {release!r}.",
                    next_step='ledger query "SELECT release_id, count(*) FROM runs GROUP BY ALL"',
                )
            sides.append([run_id for (run_id,) in rows])
        return _compared(snapshot, sides[0], sides[1], (), own=False)


_OF_RELEASE: Final = "SELECT run_id FROM runs WHERE release_id = $release ORDER BY started_at"
_OF_RUN: Final = (
    *("verdict", "reason_code", "partition", "status", "planned", "unplanned", "passed", "trigger", "release_id"),
)
_OF_RUNS: Final = ("run_id", "duration_s", *_OF_RUN)
_RUNS: Final = f"SELECT {', '.join(_OF_RUNS)} FROM runs WHERE list_contains($run_ids::VARCHAR[], run_id)"  # noqa: S608
_OF_ITEM: Final = (
    *("asset_key", "partition", "check_name", "verdict", "outcome", "reason_code", "reason", "attempts"),
    *("data_version", "code_version", "metadata", "duration_s", "run_id"),
)
"""The columns of `sql/compared_runs.sql`."""


def _run(snapshot: Snapshot, asked: str) -> str:
    found = one_run(asked, runs_starting_with(snapshot, asked))
    if found is None:
        raise UsageError(f"There is no run {asked!r}.", next_step="ledger runs")
    return found


def _whole(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[ItemChange, ...]:
    changed = [ItemChange(name, before[name], after[name]) for name in _OF_RUN if before[name] != after[name]]
    return (*changed, *_durations(before["duration_s"], after["duration_s"]))


def _compared(
    snapshot: Snapshot, before: Sequence[str], after: Sequence[str], whole: tuple[ItemChange, ...], *, own: bool
) -> Comparison:
    one, other = (_items(snapshot, run_ids, own=own) for run_ids in (before, after))
    if not own and not {key for key in one.keys() & other.keys() if key[1] is not None}:
        one, other = (_items(snapshot, run_ids, own=True) for run_ids in (before, after))
    changed, same = [], 0
    for key in sorted({*one, *other}, key=lambda names: tuple(name or "" for name in names)):
        changes = tuple(_changes(one.get(key), other.get(key)))
        if changes:
            changed.append(ChangedItem(key[0], key[1], key[2], changes))
        else:
            same += 1
    return Comparison(tuple(before), tuple(after), whole, tuple(changed), same)


def _items(snapshot: Snapshot, run_ids: Sequence[str], *, own: bool) -> dict[_Key, dict[str, Any]]:
    rows = _dicts(snapshot, query_text("compared_runs"), _OF_ITEM, {"run_ids": list(run_ids), "own": own})
    return {(row["asset_key"], row["partition"], row["check_name"]): row for row in rows}


def _dicts(
    snapshot: Snapshot, sql: str, names: Sequence[str], parameters: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in snapshot.rows(sql, dict(parameters))]


def _changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Iterator[ItemChange]:
    if before is None or after is None:
        yield ItemChange("outcome", before and before["outcome"], after and after["outcome"])
        return
    for name in ("outcome", "reason_code", "attempts", "data_version"):
        if before[name] != after[name]:
            yield ItemChange(name, before[name], after[name])
    # Where nobody states a code version, Dagster takes the run's id.
    stated = [None if side["code_version"] == side["run_id"] else side["code_version"] for side in (before, after)]
    if stated[0] != stated[1]:
        yield ItemChange("code_version", *stated)
    one, other = _counts(before["metadata"]), _counts(after["metadata"])
    for label in sorted({*one, *other}):
        if one.get(label) != other.get(label):
            yield ItemChange(label, one.get(label), other.get(label))
    yield from _durations(before["duration_s"], after["duration_s"])


def _counts(metadata: Mapping[str, str] | None) -> dict[str, float]:
    """Return what metadata counts: paths and texts differ from run to run."""
    found = {}
    for label, text in (metadata or {}).items():
        with suppress(ValueError, TypeError):
            value = float(text)
            found[label] = int(value) if value.is_integer() else value
    return found


def _durations(before: float | None, after: float | None) -> Iterator[ItemChange]:
    if before is None or after is None:
        return
    least, most = sorted((before, after))
    if most - least >= _SECONDS and most >= least * _SLOWER:
        yield ItemChange("duration_s", round(before, 3), round(after, 3))

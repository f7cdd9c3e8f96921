"""Verdicts where Dagster's screens have room for them: tags on a run that is closed, notes on what it left out.

`evidence` judges the run; this module only writes the result. A tag is written where it differs and a note where
there is none, so that a second call changes nothing. Capture leaves both out of what it records
(`dagster_log.own_tags`, `ledger.reported.v1`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from run_evidence.evidence.brief import Brief, LeftOut, read_briefs
from run_evidence.ledger import MASKED, NOW, Ledger, open_snapshot
from run_evidence.sensors.dagster_log.names import asset_key_text
from run_evidence.sensors.dagster_log.own_tags import DECISION, STAMP, VERDICT, format_stamp
from run_evidence.sensors.dagster_log.source import RunFacts, run_facts
from run_evidence.sensors.dagster_log.vocabulary import TOLD_LABEL

if TYPE_CHECKING:
    from dagster import AssetKey, AssetObservation, DagsterInstance

PAGE_RUNS: Final = 100
PAGE_RECORDS: Final = 20_000
"""How many runs, and about how many records of theirs, are judged together."""

RECENT_US: Final = 86_400_000_000
"""A run that ended longer ago than a day gets its tags and no note: history is not told again as news."""

_SQL: Final = Path(__file__).parent / "sql" / "runs_to_show.sql"
_ENDED: Final = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
_SHORTENED: Final = re.compile(f"…sha256:|{MASKED.pattern}")
_NOTHING_DELIVERED: Final = "none"
_RECORDS: Final = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown: the index to go on from, how many runs got a tag, and those to be tried again, with why.

    A run that goes on and has the tags of the run that it executes again waits for its end, which is no trouble:
    the reason is empty. `complete`: there is nothing more to show now.
    """

    start: int
    tagged: int
    waiting: Mapping[str, str]
    complete: bool


def show_verdicts(
    instance: DagsterInstance,
    ledger: Ledger,
    start: int = 0,
    waiting: Iterable[str] = (),
    is_late: Callable[[], bool] = lambda: False,
) -> Shown:
    """Show the verdicts of runs with entries from `start` on, and of those that are `waiting`, until it is late.

    Only what is sealed is looked for. A run that cannot be tagged keeps no other from it.

    Raises: LedgerError when the ledger cannot be read.
    """
    again: dict[str, str] = {}
    first = _Page(dict.fromkeys(waiting, 0), frozenset(), start, ledger.exists())
    tagged = _show_page(instance, ledger, first, again)
    page = first
    while page.more and not is_late():
        page = _next_page(ledger, page.after)
        tagged += _show_page(instance, ledger, page, again)
    return Shown(page.after, tagged, again, not page.more)


@dataclass(frozen=True, slots=True)
class _Page:
    """Runs to look at, by their ids how many records each has, and where to go on; `more`: there may be more.

    `opening` are those of which nothing but their beginning is known.
    """

    runs: Mapping[str, int]
    opening: frozenset[str]
    after: int
    more: bool

    def parts(self) -> Iterator[list[str]]:
        """Yield the runs in parts that can be judged together: a large one by itself."""
        part: list[str] = []
        records = 0
        for run_id, held in self.runs.items():
            if part and records + held > PAGE_RECORDS:
                yield part
                part, records = [], 0
            part.append(run_id)
            records += held
        if part:
            yield part


def _next_page(ledger: Ledger, start: int) -> _Page:
    with open_snapshot(ledger, NOW, ("events", "amendments"), payloads=False) as snapshot:
        rows = snapshot.rows(_SQL.read_text(encoding="utf-8"), {"from": start, "limit": PAGE_RUNS})
    runs = dict.fromkeys((run_id for _, run_id, _, _ in rows), 0)
    for _, run_id, _, held in rows:
        runs[run_id] = max(runs[run_id], held)
    judged = {run_id for _, run_id, opens, _ in rows if not opens}
    after = rows[-1][0] + 1 if rows else start
    return _Page(runs, frozenset(runs.keys() - judged), after, len(rows) == PAGE_RUNS)


def _show_page(instance: DagsterInstance, ledger: Ledger, page: _Page, again: dict[str, str]) -> int:
    return sum(_show_part(instance, ledger, part, page.opening, again) for part in page.parts())


def _show_part(
    instance: DagsterInstance, ledger: Ledger, run_ids: Sequence[str], opening: Set[str], again: dict[str, str]
) -> int:
    found = (facts for run_id in run_ids if (facts := run_facts(instance, run_id)))
    # No tag is the right one for a run that nobody has judged.
    rows = {facts.run_id: facts for facts in found if facts.own_tags or facts.run_id not in opening}
    if not rows:
        return 0
    briefs, damaged = read_briefs(ledger, list(rows))
    tagged = 0
    for run_id, brief in briefs.items():
        if not brief.final and not rows[run_id].own_tags:
            continue
        if not brief.final and rows[run_id].status not in _ENDED:
            again[run_id] = ""  # Dagster writes a row as a whole: it might lose the status that it writes just then
            continue
        try:
            if _tag(instance, rows[run_id], brief):
                tagged += 1
            for left_out in brief.left_out if _is_recent(brief, ledger.clock()) else ():
                note_left_out(instance, brief, left_out)
        except Exception as error:  # noqa: BLE001 - whatever Dagster or its database says, the others get theirs
            again[run_id] = f"{type(error).__name__}: {error}"
    again.update(damaged)
    return tagged


def _is_recent(brief: Brief, now: int) -> bool:
    return brief.ended_at is not None and now - brief.ended_at <= RECENT_US


def _tag(instance: DagsterInstance, facts: RunFacts, brief: Brief) -> bool:
    """Write the tags that differ; tell whether one did."""
    wanted = {VERDICT: brief.verdict}
    if brief.decision is not None or DECISION in facts.own_tags:
        wanted[DECISION] = brief.decision or _NOTHING_DELIVERED
    wanted[STAMP] = format_stamp(facts.run_id, facts.status, facts.tags, facts.changed_at)
    changed = {name: value for name, value in wanted.items() if facts.own_tags.get(name) != value}
    if changed:
        instance.add_run_tags(facts.run_id, changed)
    return bool(changed)


def note_left_out(instance: DagsterInstance, brief: Brief, left_out: LeftOut) -> bool:
    """Note on an asset that a run left it out, and why, unless that is noted; tell whether it was.

    Nothing is noted where the names are not Dagster's any more, because they were too long or held a secret.
    """
    import dagster as dg

    key = known_key(instance, left_out.asset_key)
    if key is None or _SHORTENED.search(left_out.partition or ""):
        return False
    metadata: dict[str, Any] = {
        TOLD_LABEL: dg.MetadataValue.dagster_run(brief.run_id),
        "outcome": left_out.outcome,
        "reason_code": left_out.reason_code,
        "reason": left_out.reason,
    }
    repeated = left_out.reason_code == left_out.outcome  # then the code says nothing that the outcome did not
    words = left_out.outcome.replace("_", " ") + ("" if repeated else f": {left_out.reason_code}")
    observation = dg.AssetObservation(key, description=words, metadata=metadata, partition=left_out.partition)
    return report_once(instance, observation, brief.ended_at or 0)


def known_key(instance: DagsterInstance, text: str) -> AssetKey | None:
    """Return the key of an asset that Dagster knows; `None` for a text that is the key of none."""
    import dagster as dg

    key = dg.AssetKey.from_escaped_user_string(text) if text else None
    return key if key and asset_key_text(key.path) == text and instance.has_asset_key(key) else None


def report_once(instance: DagsterInstance, observation: AssetObservation, since: int) -> bool:
    """Report an observation of a run, unless Dagster has one that says the same; tell whether it was reported.

    `since` is when the run ended, in microseconds. The note does not name where the documents are.
    """
    import dagster as dg

    partition = observation.partition
    about = dg.AssetRecordsFilter(
        asset_key=observation.asset_key,
        asset_partitions=[partition] if partition is not None else None,
        after_timestamp=max(since - RECENT_US, 0) / 1e6,  # clocks of several hosts
    )
    cursor = None
    while True:
        found = instance.fetch_observations(about, limit=_RECORDS, cursor=cursor)
        latest = (each.event_log_entry.asset_observation for each in found.records)
        of_run = (o for o in latest if o and o.metadata.get(TOLD_LABEL) == observation.metadata[TOLD_LABEL])
        if (last := next(of_run, None)) is not None:
            if _said(last) == _said(observation):
                return False
            break
        if not found.has_more:
            break
        cursor = found.cursor
    instance.report_runless_asset_event(observation)
    return True


def _said(observation: AssetObservation) -> tuple[str | None, Mapping[str, Any]]:
    from dagster import TextMetadataValue

    words = {label: v.value for label, v in observation.metadata.items() if isinstance(v, TextMetadataValue)}
    return observation.description, words

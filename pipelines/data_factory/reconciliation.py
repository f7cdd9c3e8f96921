"""Reconcile a partition: from the declaration through the files to Bronze and Silver, every gap named.

Integrity asks whether the result is sound; this asks whether declaration and result close. Each number is counted
in its own place: sources in the manifests, lines in the files, events, tickets and refused lines in the warehouse,
what the last run said in the ledger. They are compared row by row, so that one row too many never hides one that
is missing. What becomes fewer from one step to the next is a gap, with a code and whether it is explained. A place
that cannot be read makes its numbers unknown (None), and the partition does not close.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pipelines.data_factory.inputs import judge_inputs
from pipelines.data_factory.quality import QualityFinding
from pipelines.ingestion.databases import DatabaseMissingError, load_sql
from pipelines.ingestion.gate import judge_manifest
from pipelines.ingestion.ticket_reader import RejectedLine, TicketReader, TicketReadError
from pipelines.manifests import TICKET_CONTRACT, Judgement, scan_manifests
from pipelines.partitions import parse_instant
from pipelines.tickets import Ticket, read_tickets
from run_evidence.ledger import LedgerError, open_snapshot

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pipelines.data_factory.inputs import PartitionInputs
    from pipelines.ingestion.gate import AssetJudgement, ManifestJudgement
    from pipelines.ingestion.ticket_reader import TicketSource
    from pipelines.ingestion.warehouse import Warehouse
    from pipelines.manifests import SourceSettings
    from pipelines.partitions import DailyWindow
    from run_evidence.ledger import Ledger

BRONZE: Final = "week06/ingestion/raw_ticket_events_partitioned"
SILVER: Final = "week06/silver/ticket_fact_partitioned"

Verdict = Literal["closes", "does_not_close", "unknown"]
Event = tuple[str, str]
"""A Bronze event's key: source_id, source_fingerprint."""

_SHOWN: Final = 3
_SQL_FOLDER: Final = Path(__file__).parent / "sql"
_EXPLAINED: Final = {
    "left_out_by_gate": "sources that the gate left out",
    "other_partition": "valid tickets of another day",
    "refused": "lines refused, kept in the quarantine",
    "repeated": "lines that were delivered before",
    "batch_refused": "events of a batch with a line that is no JSON, refused as a whole",
    "gate_rejected": "events that wait, for the gate rejects the partition",
    "older_version": "events that a newer version of their ticket took the place of",
    "delivered_outside_window": "Bronze events of a delivery that is read for other days",
}
_UNEXPLAINED: Final = {
    "not_in_bronze": "events of the sources that Bronze lacks",
    "not_in_quarantine": "refused lines that the quarantine lacks",
    "bronze_without_source": "Bronze events that no delivery explains",
    "not_in_silver": "tickets of Bronze that Silver lacks",
    "silver_not_newest": "tickets of which Silver holds another version than Bronze's newest",
    "silver_without_bronze": "Silver tickets that Bronze has no event of",
    "bronze_not_as_recorded": "rows of Bronze, otherwise than the last run recorded",
    "silver_not_as_recorded": "tickets of Silver, otherwise than the last run recorded",
    "silver_changed_since_recorded": "tickets of Silver whose contents the last run recorded otherwise",
}
_NEXT_STEP: Final = {
    "not_in_bronze": "python -m pipelines.recovery --mode rerun --partition {day} --operator NAME",
    "not_in_quarantine": "python -m pipelines.recovery --mode replay --partition {day} --operator NAME",
    "not_in_silver": "python -m pipelines.recovery --mode replay --partition {day} --operator NAME",
    "silver_not_newest": "python -m pipelines.recovery --mode replay --partition {day} --operator NAME",
    "manifest_rejected": "have the delivery corrected and sent again, then run this partition again",
    "nothing_compared": "ask the source whether nothing was to come that day",
}
_LOOK: Final = "find out who wrote it: no recovery explains it"


@dataclass(frozen=True, slots=True)
class Gap:
    """A difference between two steps: `count` rows. `parts` counts them by what they are, `rows` names some."""

    code: str
    count: int
    explained: bool
    parts: Mapping[str, int] = field(default_factory=dict)
    rows: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Say it in one line."""
        listed = [f"{name} ({count})" for name, count in sorted(self.parts.items())] or list(self.rows[:_SHOWN])
        more = [f"and {self.count - _SHOWN} more"] if len(self.rows) > _SHOWN else []
        detail = ", ".join([*listed, *more])
        return f"{self.count} {(_EXPLAINED | _UNEXPLAINED)[self.code]}" + (f": {detail}" if detail else "")

    def __add__(self, other: Gap) -> Gap:
        """Sum two gaps of one code."""
        parts = dict(Counter(self.parts) + Counter(other.parts))
        rows = tuple(sorted({*self.rows, *other.rows})[: _SHOWN + 1])
        return replace(self, count=self.count + other.count, parts=parts, rows=rows)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A place that could not be read: which numbers it would have given, and why there are none."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """One declared source for one partition, step by step. A number is None where its place could not be read.

    `lines = valid + refused` of the file. Of the partition: `tickets` valid ones, `refused_here` refused ones,
    `quarantined` of those in the quarantine, `events` distinct ones no earlier source had, `bronze` of those in
    Bronze, `silver` of those that a Silver ticket is at.
    """

    manifest_id: str
    batch_id: str | None
    source_id: str
    late: bool
    judgement: str
    lines: int | None = None
    valid: int | None = None
    refused: int | None = None
    tickets: int | None = None
    refused_here: int | None = None
    quarantined: int | None = None
    events: int | None = None
    bronze: int | None = None
    silver: int | None = None
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedCounts:
    """What the last run said in the ledger, of Bronze or Silver."""

    run_id: str
    output_row_count: int | None
    output_snapshot_id: str | None
    source_snapshot_id: str | None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One partition, reconciled. `rejected` says that its gate stops it.

    `bronze_count` events and `silver_count` tickets are all that the warehouse has of it.
    """

    partition: str
    rejected: bool
    sources: tuple[SourceCounts, ...]
    bronze_count: int | None
    silver_count: int | None
    recorded_bronze: RecordedCounts | None
    recorded_silver: RecordedCounts | None
    gaps: tuple[Gap, ...]
    unknown: tuple[Unknown, ...]

    @property
    def all_gaps(self) -> tuple[Gap, ...]:
        """The gaps of the sources and of the whole, summed by code; in the order of the chain."""
        order = [*_EXPLAINED, *_UNEXPLAINED]
        found: dict[str, Gap] = {}
        for gap in (*(gap for source in self.sources for gap in source.gaps), *self.gaps):
            found[gap.code] = found[gap.code] + gap if gap.code in found else gap
        return tuple(sorted(found.values(), key=lambda gap: order.index(gap.code)))

    @property
    def unexplained(self) -> tuple[Gap, ...]:
        """The gaps that nothing explains."""
        return tuple(gap for gap in self.all_gaps if not gap.explained)

    @property
    def verdict(self) -> Verdict:
        """Whether it closes: something is in Bronze, all was read and admitted, and no gap is left unexplained."""
        if self.unexplained:
            return "does_not_close"
        if self.unknown:
            return "unknown"
        return "closes" if self.bronze_count and not self.rejected else "does_not_close"

    @property
    def reason_codes(self) -> tuple[str, ...]:
        """Why it does not close, as codes; empty exactly when it does."""
        if self.verdict == "closes":
            return ()
        codes = [gap.code for gap in self.unexplained] + [f"{unknown.place}_unknown" for unknown in self.unknown]
        return tuple(dict.fromkeys(codes)) or (("manifest_rejected",) if self.rejected else ("nothing_compared",))

    @property
    def next_step(self) -> str:
        """The command that gets on, empty when it closes."""
        steps = [_NEXT_STEP.get(code, _LOOK) for code in self.reason_codes if not code.endswith("_unknown")]
        return "; ".join(dict.fromkeys(steps)).format(day=self.partition)

    def to_document(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**asdict(self), "verdict": self.verdict, "reason_codes": list(self.reason_codes)}


@dataclass(slots=True)
class _Held:
    """What the warehouse holds of one partition, from one state."""

    bronze: dict[Event, str | None]
    newest: dict[str, Event]
    tickets: dict[Event, str]
    silver: dict[str, str | None]
    silver_here: set[str]
    quarantine: dict[tuple[str, int], str]


@dataclass(slots=True)
class _Read:
    """What one file holds for the partition, read to its end. Of a ticket its event and its id."""

    tickets: list[tuple[Event, str]] = field(default_factory=list)
    rejected: list[RejectedLine] = field(default_factory=list)
    lines: int = 0
    valid: int = 0
    broken: int = 0
    elsewhere: Mapping[str, int] = field(default_factory=dict)


def reconcile_partition(
    settings: SourceSettings, warehouse: Warehouse, partition_key: str, ledger: Ledger | None = None
) -> Reconciliation:
    """Reconcile one daily partition; without `ledger` it is left out, with one that is not there it is unknown.

    Cost: every covering file is read twice; memory for the keys of the partition's tickets.

    Raises: InputError for a key that is no day, or when there are no manifests at all.
    """
    inputs = judge_inputs(settings, partition_key)
    unknown = [Unknown("manifest", reason.text) for reason in inputs.reasons if reason.code == "manifest_invalid"]
    read, unread = _read_sources(inputs)
    unknown += [*unread, *_not_there(inputs)]
    held = _hold(warehouse, inputs.window, [source.sha256 for source in read])
    if isinstance(held, Unknown):
        unknown.append(held)
    whole = _Whole(inputs, read, None if isinstance(held, Unknown) else held)
    sources = whole.sources()
    gaps = whole.beyond_sources(settings)
    recorded: dict[str, RecordedCounts] = {}
    if ledger is not None:
        try:
            recorded = _recorded(ledger, partition_key)
        except LedgerError as error:
            unknown.append(Unknown("ledger", str(error)))
        else:
            lacking = [] if inputs.judgement is Judgement.REJECT else {BRONZE, SILVER} - recorded.keys()
            unknown += [Unknown("ledger", f"no run that made {key} is recorded") for key in sorted(lacking)]
    bronze_count = silver_count = None
    if not isinstance(held, Unknown):
        bronze_count, silver_count = len(held.bronze), len(held.silver_here)
        gaps += _held_to_record(recorded, warehouse, inputs.window, bronze_count, silver_count)
    return Reconciliation(
        partition_key,
        inputs.judgement is Judgement.REJECT,
        sources,
        bronze_count,
        silver_count,
        recorded.get(BRONZE),
        recorded.get(SILVER),
        tuple(gaps),
        tuple(unknown),
    )


def days_to_reconcile(settings: SourceSettings, warehouse: Warehouse) -> list[str]:
    """Return every day that a delivery is for, that a ticket of one was created on, or that Bronze has events of.

    Raises: InputError when there are no manifests at all.
    """
    scan = scan_manifests(settings.manifest_path)
    days = {problem.delivery_day for problem in scan.problems if problem.delivery_day}
    for manifest in scan.manifests:
        if manifest.contract_ref != TICKET_CONTRACT:
            continue
        days.add(manifest.delivery_day)
        judged = judge_manifest(manifest, bucket=settings.bucket, data_folder=settings.data_folder)
        for path in (asset.path for asset in judged.assets if asset.path is not None):
            lines = (line.content for line in read_tickets(path))
            days |= {ticket.created_at.date().isoformat() for ticket in lines if isinstance(ticket, Ticket)}
    try:
        with warehouse.database.reading() as run:
            if run(load_sql("existing_tables"))[0][0]:
                epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
                held = run(load_sql("reconcile_days"))
                days |= {(epoch + timedelta(days=day)).date().isoformat() for (day,) in held}
    except LedgerError:
        pass  # each day says so
    return sorted(days)


def check_reconciled(found: Reconciliation) -> QualityFinding:
    """Turn a partition into a finding: an error where a gap is unexplained, a warning where it is not known."""
    said = [gap.text for gap in found.unexplained] + [f"{u.place}: {u.reason}" for u in found.unknown]
    text = "; ".join(said) or {
        "manifest_rejected": "the gate rejects the partition, so nothing of it was ingested",
        "nothing_compared": "nothing was compared: 0 of 0 does not close",
    }.get("".join(found.reason_codes), "")
    if text and found.next_step:
        text = f"{text}. Next step: {found.next_step}"
    numbers = {
        "declared_source_count": len(found.sources),
        "source_line_count": sum(s.lines or 0 for s in found.sources),
        "source_event_count": sum(s.events or 0 for s in found.sources),
        "quarantined_line_count": sum(s.quarantined or 0 for s in found.sources),
        "bronze_event_count": found.bronze_count or 0,
        "silver_ticket_count": found.silver_count or 0,
        "explained_gap_count": sum(gap.count for gap in found.all_gaps if gap.explained),
        "unexplained_gap_count": sum(gap.count for gap in found.unexplained),
    }
    gaps = tuple(f"{gap.code}: {gap.text}" for gap in found.all_gaps)
    return QualityFinding("ERROR" if found.unexplained else "WARN", found.reason_codes, numbers, text, gaps)


def _read_sources(inputs: PartitionInputs) -> tuple[dict[TicketSource, _Read], list[Unknown]]:
    read: dict[TicketSource, _Read] = {}
    unread = []
    for source in inputs.sources:
        try:
            read[source] = _read(source, inputs.window)
        except LedgerError as error:
            unread.append(Unknown("source", str(error)))
    return read, unread


def _read(source: TicketSource, window: DailyWindow) -> _Read:
    """Read one file whole. Raises: InputError when it cannot be read."""
    reader, found = TicketReader([source], window), _Read()
    try:
        for item in reader.read():
            if isinstance(item, Ticket):
                found.tickets.append(((item.source_id, item.fingerprint), item.ticket_id))
            else:
                found.rejected.append(item)
    except TicketReadError:  # after the last line; the lines that are no JSON are counted below
        pass
    report = reader.report()
    found.lines, found.valid, found.broken = report.counts.total, report.counts.valid, report.counts.errors
    found.elsewhere = report.elsewhere
    return found


def _not_there(inputs: PartitionInputs) -> list[Unknown]:
    """Name the declared sources whose file is not there: how many lines they have nobody knows."""
    if any(source.source_id is None for source in inputs.sources):  # a file of the operator's own is read instead
        return []
    return [
        Unknown("source", f"{judged.manifest.manifest_id}: {asset.source_id}: {_said(asset)}")
        for judged in (*inputs.own, *inputs.later)
        for asset in judged.assets
        if asset.path is None
    ]


def _said(asset: AssetJudgement) -> str:
    gravest = sorted(asset.reasons, key=lambda reason: -reason.judgement.rank)
    return gravest[0].text if gravest else ""


def _hold(warehouse: Warehouse, window: DailyWindow, files: Sequence[str]) -> _Held | Unknown:
    days = [window.start, window.end]
    try:
        with warehouse.database.reading() as run:
            if not run(load_sql("existing_tables"))[0][0]:
                raise DatabaseMissingError(f"{warehouse.database.name}: the warehouse's tables are not there")
            bronze = run(load_sql("reconcile_bronze"), days)
            silver = run(load_sql("reconcile_silver"), days)
            refused = run(load_sql("reconcile_quarantine"), [list(files)])
    except LedgerError as error:
        return Unknown("warehouse", str(error))
    newest: dict[str, tuple[datetime, str, Event]] = {}
    for source_id, fingerprint, ticket_id, _, created_at, updated_at, _ in bronze:
        at = (updated_at and parse_instant(updated_at)) or created_at
        version = (at, fingerprint, (source_id, fingerprint))
        newest[ticket_id] = max(newest.get(ticket_id, version), version)
    return _Held(
        bronze={(row[0], row[1]): row[3] for row in bronze if row[6]},
        newest={ticket_id: event for ticket_id, (_, _, event) in newest.items()},
        tickets={(row[0], row[1]): row[2] for row in bronze},
        silver={ticket_id: fingerprint for ticket_id, fingerprint, _ in silver},
        silver_here={ticket_id for ticket_id, _, here in silver if here},
        quarantine={(sha256, number): codes for sha256, number, codes in refused},
    )


class _Whole:
    """The sources of one partition held against the warehouse; `held` is None where that could not be read."""

    def __init__(self, inputs: PartitionInputs, read: Mapping[TicketSource, _Read], held: _Held | None) -> None:
        self._inputs = inputs
        self._read = read
        self._held = held
        self._why_not_in_bronze = (
            "gate_rejected"
            if inputs.judgement is Judgement.REJECT
            else "batch_refused"
            if any(found.broken for found in read.values())
            else "not_in_bronze"
        )
        self._first: dict[Event, str] = {}
        self._replaced = any(source.source_id is None for source in read)  # a file is read that no manifest names
        self._declared_as = {(source.path, source.batch_id, source.source_id): source for source in read}

    def sources(self) -> tuple[SourceCounts, ...]:
        """Count every declared source, in the order in which they are read."""
        rows = [
            self._declared(judged, asset, late)
            for late, deliveries in ((False, self._inputs.own), (True, self._inputs.later))
            for judged in deliveries
            for asset in judged.assets
        ]
        own = [source for source in self._read if source.source_id is None]  # a file that no manifest names
        return tuple(rows + [self._counted(source, "(none)", source.path.name, "warn") for source in own])

    def beyond_sources(self, settings: SourceSettings) -> list[Gap]:
        """Name what the warehouse holds and no source of the partition explains."""
        if self._held is None:
            return []
        held, gaps = self._held, []
        extra = [event for event in held.bronze if event not in self._first]
        if extra:
            elsewhere = _delivered_elsewhere(settings, extra, {held.bronze[event] for event in extra})
            gaps += _gap("delivered_outside_window", [held.tickets[e] for e in extra if e in elsewhere])
            gaps += _gap("bronze_without_source", [held.tickets[e] for e in extra if e not in elsewhere])
            gaps += self._towards_silver(held, extra)[1]
        return gaps + _gap("silver_without_bronze", held.silver_here - set(held.newest))

    def _declared(self, judged: ManifestJudgement, asset: AssetJudgement, late: bool) -> SourceCounts:
        manifest = judged.manifest
        source = asset.path and self._declared_as.get((asset.path, manifest.batch_id, asset.source_id))
        if source:
            return self._counted(source, manifest.manifest_id, asset.source_id, asset.judgement.value)
        worst = asset.judgement if asset.judgement.rank >= Judgement.QUARANTINE.rank else judged.judgement
        gaps: list[Gap] = []
        if asset.path is not None:
            codes = [r.code for r in asset.reasons if r.judgement.rank >= Judgement.QUARANTINE.rank]
            if self._replaced:
                codes = ["ticket_seed_path_overrides_manifest"]
            why = ", ".join(dict.fromkeys(codes)) or f"the delivery is judged {judged.judgement.value}"
            gaps = _gap("left_out_by_gate", 1, {f"{asset.source_id} of {manifest.manifest_id}: {why}": 1})
        return SourceCounts(
            manifest.manifest_id, manifest.batch_id, asset.source_id, late, worst.value, gaps=tuple(gaps)
        )

    def _counted(self, source: TicketSource, manifest_id: str, source_id: str, judgement: str) -> SourceCounts:
        found, gaps = self._read[source], []
        gaps += _gap("other_partition", found.valid - len(found.tickets), found.elsewhere)
        events: dict[Event, None] = {}
        for event, ticket_id in found.tickets:
            if event not in self._first:
                self._first[event] = ticket_id
                events[event] = None
        gaps += _gap("repeated", len(found.tickets) - len(events))
        kept = self._kept(source, found)
        if kept is not None:
            lacking = [line for line in found.rejected if (source.sha256, line.number) not in kept]
            gaps += _gap("refused", len(kept), Counter(c for codes in kept.values() for c in codes.split(",")))
            gaps += _gap("not_in_quarantine", [f"{source.path.name}:{line.number}" for line in lacking])
        bronze, silver = None, None
        if self._held is not None:
            there = [event for event in events if event in self._held.bronze]
            gaps += _gap(self._why_not_in_bronze, [self._first[e] for e in events if e not in self._held.bronze])
            silver, more = self._towards_silver(self._held, there)
            bronze, gaps = len(there), gaps + more
        return SourceCounts(
            manifest_id,
            source.batch_id,
            source_id,
            source.late,
            judgement,
            lines=found.lines,
            valid=found.valid,
            refused=found.lines - found.valid,
            tickets=len(found.tickets),
            refused_here=len(found.rejected),
            quarantined=None if kept is None else len(kept),
            events=len(events),
            bronze=bronze,
            silver=silver,
            gaps=tuple(gaps),
        )

    def _kept(self, source: TicketSource, found: _Read) -> dict[tuple[str, int], str] | None:
        """Return the refused lines of the partition that the quarantine has, with their codes."""
        if self._held is None:
            return None
        here = {(source.sha256, line.number) for line in found.rejected}
        return {key: codes for key, codes in self._held.quarantine.items() if key in here}

    @staticmethod
    def _towards_silver(held: _Held, events: Iterable[Event]) -> tuple[int, list[Gap]]:
        """Count the events a Silver ticket is at, and name what became of the others."""
        at, older, lacking, behind = 0, 0, [], []
        for event in events:
            ticket_id = held.tickets[event]
            if held.newest[ticket_id] != event:
                older += 1
            elif ticket_id not in held.silver:
                lacking.append(ticket_id)
            elif held.silver[ticket_id] != event[1]:
                behind.append(ticket_id)
            else:
                at += 1
        return at, [
            *_gap("older_version", older),
            *_gap("not_in_silver", lacking),
            *_gap("silver_not_newest", behind),
        ]


def _gap(code: str, rows: int | Collection[str], parts: Mapping[str, int] | None = None) -> list[Gap]:
    """Return the gap of these rows, named or only counted; none of no rows."""
    count, names = (rows, ()) if isinstance(rows, int) else (len(rows), tuple(sorted(rows)[: _SHOWN + 1]))
    return [Gap(code, count, code in _EXPLAINED, dict(parts or {}), names)] if count else []


def _delivered_elsewhere(
    settings: SourceSettings, events: Collection[Event], batches: Collection[str | None]
) -> set[Event]:
    """Return those events that a delivery of their batch really holds, whatever days it is read for."""
    found: set[Event] = set()
    for manifest in scan_manifests(settings.manifest_path).manifests:
        if manifest.batch_id not in batches or manifest.contract_ref != TICKET_CONTRACT:
            continue
        judged = judge_manifest(manifest, bucket=settings.bucket, data_folder=settings.data_folder)
        for path in (asset.path for asset in judged.assets if asset.path is not None):
            tickets = (line.content for line in read_tickets(path))
            found |= {(t.source_id, t.fingerprint) for t in tickets if isinstance(t, Ticket)} & set(events)
    return found


def _recorded(ledger: Ledger, partition: str) -> dict[str, RecordedCounts]:
    with open_snapshot(ledger, views=("materializations",)) as snapshot:
        rows = snapshot.rows(
            load_query("recorded_partition"), {"asset_keys": [BRONZE, SILVER], "partition": partition}
        )
    return {
        key: RecordedCounts(run_id, int(count) if count.isdigit() else None, snapshot_id or None, source_id or None)
        for key, run_id, count, snapshot_id, source_id in rows
    }


@cache
def load_query(name: str) -> str:
    """Return the query over the ledger in `pipelines/data_factory/sql/<name>.sql`."""
    return (_SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def _held_to_record(
    recorded: Mapping[str, RecordedCounts], warehouse: Warehouse, window: DailyWindow, bronze: int, silver: int
) -> list[Gap]:
    """Hold what is there now against what the last run said it left."""
    gaps = []
    for key, code, count in (
        (BRONZE, "bronze_not_as_recorded", bronze),
        (SILVER, "silver_not_as_recorded", silver),
    ):
        said = recorded[key].output_row_count if key in recorded else None
        if said is not None and said != count:
            run = recorded[key].run_id[:8]
            gaps += _gap(code, abs(said - count), {f"run {run} recorded {said}, there are {count}": 1})
    digest = recorded[SILVER].output_snapshot_id if SILVER in recorded else None
    if not gaps and digest and digest != warehouse.partition_state(window).snapshot_id:
        gaps += _gap("silver_changed_since_recorded", silver, {f"run {recorded[SILVER].run_id[:8]}": silver})
    return gaps

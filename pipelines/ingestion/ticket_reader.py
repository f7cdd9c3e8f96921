"""Reading tickets out of their sources, those of one partition or all, with every line accounted for.

The counts of one read reconcile: `total = valid + invalid + errors`, `valid = in_partition + skipped`, and
after a write `in_partition = inserted + duplicates`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from pipelines.contract import Violation
from pipelines.ingestion.refusals import RefusedInputError
from pipelines.partitions import format_instant, partition_of
from pipelines.tickets import InvalidTicket, Ticket, UnreadableLine, read_tickets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from pipelines.partitions import DailyWindow
    from pipelines.tickets import TicketLine

# How many offending lines are quoted; all of them are counted.
MAX_EXAMPLES: Final = 20
# A reason quotes what was found; of a line with a thousand unknown fields it does not name them all.
MAX_REASON_LENGTH: Final = 1_000
# Clocks differ, and a manifest may be written before the last ticket of its day.
FUTURE_GRACE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TicketSource:
    """A tickets file admitted for a partition. `late` when it was delivered after the partition's day.

    `batch_id` and `source_id` are what its manifest says; None for a file no manifest names. No ticket of it can
    be newer than `latest` (aware UTC); None when nobody knows.
    """

    path: Path
    sha256: str
    size_bytes: int
    late: bool
    batch_id: str | None
    source_id: str | None
    latest: datetime | None = None


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that was refused. `number` counts from 1 in the file with this SHA-256; `reason` is for a person."""

    source_sha256: str
    file_name: str
    batch_id: str | None
    number: int
    ticket_id: str | None
    reason_codes: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class TicketCounts:
    """What became of every line read for one partition.

    `total` lines read · `valid` tickets · `invalid` objects that break the contract · `errors` lines that
    are no JSON object · `in_partition` valid tickets of this partition · `invalid_in_partition` invalid ones
    of it (by their own time if it can be read, else by the delivery they came in) · `skipped` valid tickets
    of other partitions · `late` tickets of this partition that came with a later delivery · `inserted` new
    Bronze rows · `updated` Silver rows changed by a newer version · `duplicates` tickets Bronze already
    held. The last three are None when nothing was written: not known is not 0.
    """

    total: int = 0
    valid: int = 0
    invalid: int = 0
    errors: int = 0
    in_partition: int = 0
    invalid_in_partition: int = 0
    skipped: int = 0
    late: int = 0
    inserted: int | None = None
    updated: int | None = None
    duplicates: int | None = None

    def written(self, *, inserted: int, updated: int) -> TicketCounts:
        """Add what a write did."""
        return replace(self, inserted=inserted, updated=updated, duplicates=self.in_partition - inserted)

    def to_document(self) -> dict[str, int | None]:
        """Return the counts by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ReadReport:
    """The outcome of reading a partition's sources to their end.

    `violations` counts invalid tickets' breaches by `field:code`, `examples` quotes the first offending lines
    as `file:line: reason`, and `elsewhere` counts the skipped tickets by the partition they belong to.
    """

    counts: TicketCounts
    violations: dict[str, int]
    elsewhere: dict[str, int]
    examples: tuple[str, ...]
    limit_reached: bool


class TicketReadError(RefusedInputError):
    """Lines of a tickets file are not JSON, so nobody can say what is missing. `report` holds the counts."""

    def __init__(self, first: str, report: ReadReport) -> None:
        others = report.counts.errors - 1
        super().__init__(
            f"{first}" + (f" (and {others} more such lines)" if others else ""),
            next_step="have the line corrected in the delivery, then run this partition again",
            reason_codes=["ticket_ingest_errors"],
            details={"counts": report.counts.to_document(), "examples": list(report.examples)},
        )
        self.report = report


@dataclass(slots=True)
class TicketReader:
    """Streams the tickets of one partition, or with `window=None` all, out of their sources.

    Iterate once, then ask for the report. Reads at most `limit` lines over all sources when one is given. One
    line is held at a time.
    """

    sources: Sequence[TicketSource]
    window: DailyWindow | None
    limit: int | None = None
    _tally: Counter[str] = field(default_factory=Counter)
    _violations: Counter[str] = field(default_factory=Counter)
    _elsewhere: Counter[str] = field(default_factory=Counter)
    _examples: list[str] = field(default_factory=list)
    _first_error: str | None = None
    _limit_reached: bool = False

    def __iter__(self) -> Iterator[Ticket]:
        """Yield the tickets in source order, repeats included.

        Raises: as `read`.
        """
        for item in self.read():
            if isinstance(item, Ticket):
                yield item

    def read(self) -> Iterator[Ticket | RejectedLine]:
        """Yield the tickets and the refused lines of this partition in source order, repeats included.

        Raises: TicketReadError after the last line when any line was not JSON; InputError when a source
        cannot be read. Neither leaves a half-read partition looking whole.
        """
        for source in self.sources:
            for line in read_tickets(source.path):
                if self.limit is not None and self._tally["total"] >= self.limit:
                    self._limit_reached = True
                    break
                self._tally["total"] += 1
                item = self._account(source, line)
                if item is not None:
                    yield item
        if self._first_error is not None:
            raise TicketReadError(self._first_error, self.report())

    def report(self) -> ReadReport:
        """Return what was read so far."""
        return ReadReport(
            counts=TicketCounts(**self._tally),
            violations=dict(sorted(self._violations.items())),
            elsewhere=dict(sorted(self._elsewhere.items())),
            examples=tuple(self._examples),
            limit_reached=self._limit_reached,
        )

    def _account(self, source: TicketSource, line: TicketLine) -> Ticket | RejectedLine | None:
        """Count one line; return it when it is a ticket of this partition, or refused and not another's."""
        content = _not_in_future(line.content, source.latest)
        if isinstance(content, UnreadableLine):
            self._tally["errors"] += 1
            where = f"{source.path}:{line.number}"
            self._first_error = self._first_error or f"{where}: {content.text}"
            return self._reject(source, line.number, None, [content.code], content.text)
        if isinstance(content, InvalidTicket):
            return self._account_invalid(source, content, line.number)
        self._tally["valid"] += 1
        if not self._holds(content.created_at):
            self._tally["skipped"] += 1
            self._elsewhere[partition_of(content.created_at)] += 1
            return None
        self._tally["in_partition"] += 1
        self._tally["late"] += source.late
        return content

    def _holds(self, instant: datetime) -> bool:
        return self.window is None or self.window.holds(instant)

    def _account_invalid(self, source: TicketSource, ticket: InvalidTicket, number: int) -> RejectedLine | None:
        self._tally["invalid"] += 1
        ours = self._holds(ticket.created_at) if ticket.created_at else self.window is None or not source.late
        self._tally["invalid_in_partition"] += ours
        if not ours:
            return None
        codes = [f"{violation.field}:{violation.code}" for violation in ticket.violations]
        self._violations.update(codes)
        text = "; ".join(str(violation) for violation in ticket.violations)
        return self._reject(source, number, ticket.ticket_id, codes, text)

    def _reject(
        self, source: TicketSource, number: int, ticket_id: str | None, codes: Sequence[str], text: str
    ) -> RejectedLine:
        if len(self._examples) < MAX_EXAMPLES:
            self._examples.append(f"{source.path}:{number}: {text}")
        return RejectedLine(
            source_sha256=source.sha256,
            file_name=source.path.name,
            batch_id=source.batch_id,
            number=number,
            ticket_id=ticket_id,
            reason_codes=tuple(sorted(set(codes))),
            reason=text[:MAX_REASON_LENGTH],
        )


def _not_in_future(
    content: Ticket | InvalidTicket | UnreadableLine, latest: datetime | None
) -> Ticket | InvalidTicket | UnreadableLine:
    """Refuse a ticket of which something happened after `latest`; when it is due may lie in the future."""
    if latest is None or not isinstance(content, Ticket):
        return content
    if (
        content.created_at <= latest
        and (content.updated_at is None or content.updated_at <= latest)
        and (content.resolved_at is None or content.resolved_at <= latest)
    ):
        return content
    moments = {name: getattr(content, name) for name in ("created_at", "updated_at", "resolved_at")}
    text = f"later than {format_instant(latest)}, by when it was delivered"
    violations = [Violation(name, "in_future", text) for name, at in moments.items() if at and at > latest]
    return InvalidTicket(content.ticket_id, content.created_at, tuple(violations)) if violations else content


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the sources say a partition must hold, counted without looking at any warehouse.

    `event_count` distinct (source_id, fingerprint) pairs: what Bronze must hold. `ticket_count` distinct
    ticket ids: what Silver must hold. `contested_count` ticket versions of one instant that disagree about a
    field of Silver, so that no rule can say which of them is true.
    """

    event_count: int
    ticket_count: int
    contested_count: int
    report: ReadReport


def expect_partition(sources: Sequence[TicketSource], window: DailyWindow) -> Expectation:
    """Read the sources to their end and count what the partition must hold.

    Memory: the fields of Silver, once for each version of a ticket of the partition.

    Raises: as iterating a `TicketReader`.
    """
    reader = TicketReader(sources, window)
    events: set[tuple[str, str]] = set()
    versions: dict[tuple[str, datetime], Ticket] = {}
    contested: set[tuple[str, datetime]] = set()
    for ticket in reader:
        events.add((ticket.source_id, ticket.fingerprint))
        version = (ticket.ticket_id, ticket.version_at)
        facts = msgspec.structs.replace(ticket, ingest_batch_id="", payload="", fingerprint="")
        if versions.setdefault(version, facts) != facts:
            contested.add(version)
    return Expectation(
        event_count=len(events),
        ticket_count=len({ticket_id for ticket_id, _ in versions}),
        contested_count=len(contested),
        report=reader.report(),
    )


@dataclass(frozen=True, slots=True)
class Attribution:
    """How many tickets a delivery holds, and how many name another source or batch than its manifest."""

    ticket_count: int
    foreign_source_count: int
    foreign_batch_count: int


def attribute_tickets(sources: Sequence[TicketSource]) -> Attribution:
    """Hold every ticket of the sources against the manifest it was delivered with.

    Tickets of a file no manifest names count as foreign on both.

    Raises: InputError when a source cannot be read.
    """
    tally: Counter[str] = Counter()
    for source in sources:
        for line in read_tickets(source.path):
            if isinstance(line.content, Ticket):
                tally["ticket"] += 1
                tally["source"] += line.content.source_id != source.source_id
                tally["batch"] += line.content.ingest_batch_id != source.batch_id
    return Attribution(tally["ticket"], tally["source"], tally["batch"])

"""`python -m pipelines.ingestion.ticket_ingest`: ingest a file of tickets as one batch.

Bronze, Silver and the quarantine are written in one transaction. A file with a line that is no JSON is refused as a
whole, for nobody can say what is missing from it; its refused lines are kept in the quarantine all the same.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.ingestion.command import run
from pipelines.ingestion.gate import ManifestJudgement, digest_file, judge_manifest
from pipelines.ingestion.increments import increment_of
from pipelines.ingestion.refusals import RefusedInputError
from pipelines.ingestion.settings import release_of, warehouse_of
from pipelines.ingestion.ticket_reader import (
    FUTURE_GRACE,
    RejectedLine,
    TicketReader,
    TicketReadError,
    TicketSource,
)
from pipelines.ingestion.warehouse import BatchOutcome, BatchStamp
from pipelines.manifests import TICKET_CONTRACT, Judgement, SourceSettings, scan_manifests
from run_evidence.ledger import InputError
from run_evidence.ledger.terminal import out, out_json, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipelines.ingestion.increments import Increment
    from pipelines.ingestion.ticket_reader import TicketCounts
    from pipelines.ingestion.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class TicketSummary:
    """What became of every line of a batch.

    `total = valid + invalid + errors`, and `valid = inserted + duplicates + skipped`. `skipped` are valid tickets
    that were not written: in a dry run, or because their batch was refused, all of them.
    """

    total: int
    valid: int
    invalid: int
    inserted: int
    duplicates: int
    skipped: int
    errors: int

    @classmethod
    def of(cls, counts: TicketCounts) -> TicketSummary:
        """Sum up a batch: one that was written knows what it inserted."""
        inserted, duplicates = counts.inserted or 0, counts.duplicates or 0
        return cls(
            total=counts.total,
            valid=counts.valid,
            invalid=counts.invalid,
            inserted=inserted,
            duplicates=duplicates,
            skipped=counts.valid - inserted - duplicates,
            errors=counts.errors,
        )

    def to_document(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def admitted_sources(deliveries: Sequence[ManifestJudgement], *, late: bool = False) -> tuple[TicketSource, ...]:
    """Return the files of judged deliveries that may be read; nothing of a rejected delivery."""
    return tuple(
        TicketSource(
            path=asset.path,
            sha256=asset.sha256,
            size_bytes=asset.size_bytes,
            late=late,
            batch_id=judged.manifest.batch_id,
            source_id=asset.source_id,
            latest=judged.manifest.created_at + FUTURE_GRACE,
        )
        for judged in deliveries
        if judged.judgement is not Judgement.REJECT
        for asset in judged.assets
        if asset.judgement.rank < Judgement.QUARANTINE.rank
        and asset.path is not None
        and asset.sha256 is not None
        and asset.size_bytes is not None
    )


def write_tickets(
    warehouse: Warehouse, reader: TicketReader, stamp: BatchStamp, increment: Increment | None = None
) -> BatchOutcome:
    """Write what a reader yields as one batch; an increment moves its sources' cursors with it.

    Raises: TicketReadError when a line was no JSON: then nothing but the refused lines is kept; InputError when a
    source cannot be read; as `Warehouse.write_batch`.
    """
    try:
        return warehouse.write_batch(reader.read(), stamp, increment)
    except TicketReadError:
        again = TicketReader(reader.sources, reader.window, reader.limit)
        warehouse.quarantine(_refused(again), stamp)
        raise


def _refused(reader: TicketReader) -> Iterator[RejectedLine]:
    try:
        for item in reader.read():
            if isinstance(item, RejectedLine):
                yield item
    except TicketReadError:  # what it says has been said
        return


def ingest_batch(
    warehouse: Warehouse | None,
    sources: Sequence[TicketSource],
    stamp: BatchStamp,
    limit: int | None = None,
    increment: Increment | None = None,
) -> tuple[TicketSummary, TicketReader]:
    """Ingest all tickets of these files as one batch, or without a warehouse only count them.

    Raises: as `write_tickets`; RefusedInputError when there is not one line.
    """
    reader = TicketReader(sources, None, limit)
    outcome = None
    if warehouse is not None:
        outcome = write_tickets(warehouse, reader, stamp, increment)
    else:
        for _ in reader:
            pass
    counts = reader.report().counts
    if counts.total == 0 and limit != 0:
        names = ", ".join(source.path.name for source in sources)
        raise RefusedInputError(
            f"{names}: there is not one line in it",
            next_step="ask the source whether that is so: a file that broke off looks the same",
            reason_codes=["input_empty"],
        )
    if outcome is not None:
        counts = counts.written(inserted=outcome.inserted, updated=outcome.updated)
    return TicketSummary.of(counts), reader


def ingest_manifests(
    settings: SourceSettings, warehouse: Warehouse | None, stamp: BatchStamp, limit: int | None = None
) -> dict[str, tuple[TicketSummary, TicketReader]]:
    """Ingest the tickets of every manifest that may be ingested, each manifest one batch; return them by batch id.

    Deliveries come in the order they were made in, so that cursors move forward. With a limit they stay.

    Raises: as `ingest_batch`, the first refusal of several, after all other batches are written.
    """
    done: dict[str, tuple[TicketSummary, TicketReader]] = {}
    refusal: RefusedInputError | None = None
    for manifest in sorted(scan_manifests(settings.manifest_path).manifests, key=lambda m: (m.created_at, m.path)):
        if manifest.contract_ref != TICKET_CONTRACT:
            continue
        judged = judge_manifest(manifest, bucket=settings.bucket, data_folder=settings.data_folder)
        sources = admitted_sources([judged])
        if not sources:
            continue
        try:
            taken = [source.source_id for source in sources if source.source_id is not None]
            increment = increment_of(manifest, taken, whole=limit is None)
            done[manifest.batch_id] = ingest_batch(warehouse, sources, stamp, limit, increment)
        except RefusedInputError as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal
    return done


def source_of_file(path: Path, batch_id: str, now: datetime) -> TicketSource:
    """Describe a file that no manifest names. Raises: InputError when it cannot be read."""
    try:
        size_bytes, sha256 = digest_file(path)
    except OSError as error:
        raise InputError(
            f"{path}: the tickets file cannot be read: {error.strerror}", next_step="correct --input"
        ) from error
    return TicketSource(path, sha256, size_bytes, False, batch_id, None, now + FUTURE_GRACE)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Ingest one file, or explain what ingesting it would do, and print the counts."""
    parser = argparse.ArgumentParser("python -m pipelines.ingestion.ticket_ingest", description=__doc__)
    parser.add_argument("--input", type=Path, required=True, metavar="FILE", help="tickets as JSON Lines")
    parser.add_argument("--batch-id", required=True, metavar="ID", help="the batch they are ingested as")
    parser.add_argument("--dry-run", action="store_true", help="read and count, write nothing")
    parser.add_argument("--limit", type=_line_count, metavar="N", help="read at most so many lines")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    now = datetime.now(UTC)
    warehouse = None if given.dry_run else warehouse_of(environ)
    stamp = BatchStamp(environ.get("TRACE_ID") or given.batch_id, release_of(environ), now)
    source = source_of_file(given.input, given.batch_id, now)
    summary, reader = ingest_batch(warehouse, [source], stamp, given.limit)
    if given.json:
        out_json({"batch_id": given.batch_id, "dry_run": given.dry_run, **summary.to_document()})
    else:
        verb = "would ingest" if given.dry_run else "ingested"
        out(f"{verb} {given.input} as {given.batch_id}")
        out("  " + " · ".join(f"{name} {count}" for name, count in summary.to_document().items()))
    _say_what_to_know(reader, dry_run=given.dry_run)
    return 0


def _say_what_to_know(reader: TicketReader, *, dry_run: bool) -> None:
    report = reader.report()
    for example in report.examples:
        say(f"refused: {example}")
    if report.limit_reached:
        say("the limit was reached; there are more lines in the file")
    if dry_run:
        say("dry run: nothing was written, and nothing is proved about a write")


def _line_count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a number of lines, 0 or more, got {text!r}")
    return int(text)


if __name__ == "__main__":
    run(main)

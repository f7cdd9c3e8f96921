"""`python -m pipelines.reconcile`: whether what was declared and what came of it close, partition by partition.

Manifests, files, Bronze, Silver, quarantine and ledger are each counted in their own place and compared row by row.
Nothing is written. 0 it closes · 1 it does not, or it is not known whether · 2 wrong usage · 4 the environment.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipelines.data_factory.reconciliation import Reconciliation, days_to_reconcile, reconcile_partition
from pipelines.ingestion.command import run, shown_count
from pipelines.ingestion.settings import DEFAULT_MANIFEST_PATH, warehouse_of
from pipelines.manifests import SourceSettings
from pipelines.partitions import daily_window
from run_evidence.ledger import open_ledger
from run_evidence.ledger.terminal import out, out_json, styled, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.data_factory.reconciliation import SourceCounts

_STYLES: Final = {"closes": "green", "does_not_close": "red", "unknown": "yellow"}
_HEADERS: Final = (
    *("partition", "batch", "source", "gate", "lines", "valid", "refused", "of the day", "quarantine"),
    *("events", "Bronze", "Silver"),
)


def settings_of(environ: Mapping[str, str], manifests: Path | None = None) -> SourceSettings:
    """Return where the input is: `manifests`, else as the environment says."""
    seed = environ.get("WEEK06_TICKET_SEED_PATH")
    return SourceSettings(
        manifests or Path(environ.get("SEED_MANIFEST_PATH") or DEFAULT_MANIFEST_PATH),
        Path(seed) if seed else None,
        environ.get("MINIO_BUCKET") or None,
    )


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Reconcile the partitions asked for, else all there are, and print what was found; 0 when all close."""
    parser = argparse.ArgumentParser("python -m pipelines.reconcile", description=__doc__)
    parser.add_argument("--partition", action="append", metavar="DAY", help="only this day; may be repeated")
    parser.add_argument("--manifests", type=Path, metavar="PATH", help="else SEED_MANIFEST_PATH")
    parser.add_argument("--ledger", metavar="FOLDER", help="else as the command ledger finds it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    settings, warehouse = settings_of(environ, given.manifests), warehouse_of(environ)
    days = [daily_window(day).key for day in given.partition or ()] or days_to_reconcile(settings, warehouse)
    ledger = open_ledger(given.ledger, environ)
    found = [reconcile_partition(settings, warehouse, day, ledger) for day in dict.fromkeys(days)]
    closes = bool(found) and all(each.verdict == "closes" for each in found)
    if given.json:
        out_json({"closes": closes, "partitions": [each.to_document() for each in found]})
    else:
        _print(found)
    return 0 if closes else 1


def _print(found: Sequence[Reconciliation]) -> None:
    rows = [_row(each.partition, source) for each in found for source in each.sources]
    out(*table(_HEADERS, rows))
    for each in found:
        out("")
        word = each.verdict.replace("_", " ")
        held = f"Bronze {shown_count(each.bronze_count)} events, Silver {shown_count(each.silver_count)} tickets"
        out(f"{each.partition}  {styled(word, _STYLES[each.verdict])}: {held}{_recorded(each)}")
        for gap in each.all_gaps:
            mark = "explained" if gap.explained else styled("UNEXPLAINED", "red")
            out(f"  {mark}  {gap.code}: {gap.text}")
        for unknown in each.unknown:
            out(f"  {styled('unknown', 'yellow')}  {unknown.place}: {unknown.reason}")
        if each.reason_codes == ("nothing_compared",):
            out("  nothing was compared: 0 of 0 does not close")
        if each.next_step:
            out(f"  next  {each.next_step}")
    closing = sum(each.verdict == "closes" for each in found)
    out("", f"{closing} of {len(found)} partitions close")


def _row(partition: str, counts: SourceCounts) -> list[str]:
    late = ", late" if counts.late else ""
    numbers = (
        *(counts.lines, counts.valid, counts.refused, counts.tickets, counts.quarantined),
        *(counts.events, counts.bronze, counts.silver),
    )
    gate = f"{counts.judgement}{late}"
    return [partition, counts.batch_id or "", counts.source_id, gate, *map(shown_count, numbers)]


def _recorded(found: Reconciliation) -> str:
    if found.recorded_silver is None:
        return ""
    said = shown_count(found.recorded_silver.output_row_count)
    return f"; the ledger's last run ({found.recorded_silver.run_id[:8]}) recorded {said}"


if __name__ == "__main__":
    run(main)

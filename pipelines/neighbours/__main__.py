"""`python -m pipelines.neighbours lakehouse|analytics`: build Week04's lakehouse or Week05's mart.

Both are made from the warehouse. The factory's own job never makes them; it observes what is there.

0 built · 1 dbt built it and a part failed · 2 wrong
usage, or switched off · 4 the environment.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pipelines.ingestion.command import run
from pipelines.ingestion.settings import warehouse_of
from pipelines.neighbours.lakehouse import build_lakehouse
from pipelines.neighbours.mart import build_mart
from pipelines.neighbours.places import lakehouse_place, mart_place
from run_evidence.ledger import UsageError
from run_evidence.ledger.terminal import out, say, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SWITCHES: Final = {"lakehouse": "LAKEHOUSE_ENABLED", "analytics": "ANALYTICS_ENABLED"}
_ON: Final = {"true", "1", "yes"}


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Build the neighbour asked for, and print what came of it."""
    parser = argparse.ArgumentParser("python -m pipelines.neighbours", description=__doc__)
    parser.add_argument("neighbour", choices=sorted(_SWITCHES), help="what to build")
    neighbour = parser.parse_args(arguments).neighbour
    switch = _SWITCHES[neighbour]
    if environ.get(switch, "").lower() not in _ON:
        raise UsageError(f"{switch} is not true, so nothing is built", next_step=f"export {switch}=true")
    return _lakehouse(environ) if neighbour == "lakehouse" else _mart(environ)


def _lakehouse(environ: Mapping[str, str]) -> int:
    place = lakehouse_place(environ)
    built = build_lakehouse(warehouse_of(environ), place, datetime.now(UTC))
    rows = [
        [name, str(made.snapshot_id), str(made.row_count), "new" if made.new_snapshot else "unchanged"]
        for name, made in built.items()
    ]
    out(*table(["table", "snapshot", "rows", ""], rows))
    _print_reports(environ, place.documents)
    return 0


def _mart(environ: Mapping[str, str]) -> int:
    place = mart_place(environ)
    built = build_mart(warehouse_of(environ), place, environ)
    out(*table(["node", "dbt says"], [[name, status] for name, status in built.statuses.items()]))
    failed = f"{len(built.failed)} of {len(built.statuses)} nodes failed"
    out("", f"invocation {built.invocation_id}: {failed}, {built.metric_count} metrics registered")
    _print_reports(environ, place.documents)
    return 1 if built.failed or not built.statuses else 0


def _print_reports(environ: Mapping[str, str], documents: Mapping[str, str]) -> None:
    for variable, path in documents.items():
        out(f"wrote {path}")
        if (read := environ.get(variable)) and read != path:
            say(f"the factory reads another one: {variable}={read}")


if __name__ == "__main__":
    run(main)

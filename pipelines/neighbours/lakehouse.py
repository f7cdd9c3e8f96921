"""Week04, small: Bronze and Silver as Iceberg tables in a folder, and the report that Week06 reads.

The catalogue is a file of SQLite beside the data. A build whose rows are those of the table's snapshot adds none,
so that an id stands for contents. Iceberg writes absolute paths: the folder cannot be moved, but be built again.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from pipelines.neighbours.tables import content_digest, read_tables
from pipelines.partitions import format_instant
from run_evidence.ledger import EnvironmentFault, replace_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from pyiceberg.catalog.sql import SqlCatalog

    from pipelines.ingestion.warehouse import Warehouse
    from pipelines.neighbours.places import LakehousePlace

BRONZE: Final = "bronze.raw_ticket_event"
SILVER: Final = "silver.ticket_fact"
CATALOG: Final = "lakehouse"  # tables are kept under this name, so a reader has to use it, too
_DIGEST: Final = "content_sha256"  # the property of a snapshot that has its contents' digest


@dataclass(frozen=True, slots=True)
class BuiltTable:
    """The current snapshot of a table: its id, whether this build made it, its rows and their digest."""

    snapshot_id: int
    new_snapshot: bool
    row_count: int
    content_sha256: str


def build_lakehouse(warehouse: Warehouse, place: LakehousePlace, now: datetime) -> dict[str, BuiltTable]:
    """Bring the tables to the warehouse's state and write the report, as of `now`; return the tables by name.

    From the first write on the report of an earlier build is gone.

    Raises: DatabaseMissingError, EnvironmentFault.
    """
    if find_spec("pyiceberg") is None:
        raise EnvironmentFault(
            "the lakehouse is built with pyiceberg, which is not installed",
            next_step="pip install -e '.[lakehouse]'",
        )
    from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError, ValidationException
    from sqlalchemy.exc import SQLAlchemyError

    found = read_tables(warehouse)
    folder = place.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    place.report.unlink(missing_ok=True)  # a build that fails must not leave an older one's
    # a rival's commit, in four forms; a file that is no catalogue; a table of other columns
    not_built = (CommitFailedException, TableAlreadyExistsError, ValidationException, SQLAlchemyError, ValueError)
    try:
        built = _bring_all(folder, {BRONZE: found.bronze, SILVER: found.silver})
    except not_built as error:
        first_line = str(error).partition("\n")[0]
        raise EnvironmentFault(
            f"{folder}: the lakehouse was not built: {first_line}",
            next_step="run it again when no other build runs, or move the folder away",
        ) from error
    document = {"generated_at": format_instant(now), "tables": {name: asdict(made) for name, made in built.items()}}
    replace_atomic(place.report, json.dumps(document, indent=2).encode() + b"\n")
    return built


def _bring_all(folder: Path, tables: Mapping[str, Any]) -> dict[str, BuiltTable]:
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog(CATALOG, uri=f"sqlite:///{folder / 'catalog.db'}", warehouse=folder.as_uri())
    try:
        return {name: _bring(catalog, name, rows) for name, rows in tables.items()}
    finally:
        catalog.close()


def _bring(catalog: SqlCatalog, name: str, rows: Any) -> BuiltTable:
    """Have a table's current snapshot hold these rows."""
    catalog.create_namespace_if_not_exists(name.partition(".")[0])
    table = catalog.create_table_if_not_exists(name, schema=rows.schema)
    digest, current = content_digest(rows), table.current_snapshot()
    new = current is None or current.summary is None or current.summary.get(_DIGEST) != digest
    if new:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Delete operation did not match any records")
            table.overwrite(rows, snapshot_properties={_DIGEST: digest})
        current = table.current_snapshot()
    if current is None:
        raise ValueError(f"{name} has no snapshot after it was written")
    return BuiltTable(current.snapshot_id, new, rows.num_rows, digest)

"""Bronze and Silver as Arrow tables, in the columns and the order of `ingestion/sql/whole_*.sql`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.ingestion.warehouse import Warehouse

_TEXT: Final = pyarrow.string()
_INSTANT: Final = pyarrow.timestamp("us", "UTC")
_BRONZE: Final = (
    *("source_id", "source_fingerprint", "ticket_id", "ingest_batch_id", "created_at", "payload"),
    *("ingest_run_id", "ingested_at"),
)
_SILVER: Final = (
    *("ticket_id", "customer_id", "status", "priority", "category", "product_line", "product_version"),
    *("assignee_id", "sla_tier", "pii_level", "quality_gate", "owner", "created_at", "updated_at", "resolved_at"),
    *("sla_due_at", "source_id", "source_fingerprint", "ingest_batch_id", "release_id"),
)


@dataclass(frozen=True, slots=True)
class WarehouseTables:
    """All of Bronze and of Silver, from one consistent state of the warehouse."""

    bronze: Any
    silver: Any


def read_tables(warehouse: Warehouse) -> WarehouseTables:
    """Read the whole warehouse. Raises: DatabaseMissingError, EnvironmentFault."""
    bronze, silver = warehouse.read_whole()
    return WarehouseTables(_table(bronze, _BRONZE), _table(silver, _SILVER))


def content_digest(table: Any) -> str:
    """Return a SHA-256 over a table's rows in their order, hex; another version of Arrow may give another one."""
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()


def _table(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> Any:
    columns = zip(*rows, strict=True) if rows else [() for _ in names]
    types = [_INSTANT if name.endswith("_at") else _TEXT for name in names]
    arrays = [pyarrow.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return pyarrow.Table.from_arrays(arrays, names=list(names))

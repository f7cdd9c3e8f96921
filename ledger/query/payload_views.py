"""Payloads that are kept outside their entries, as SQL reads them: where an entry says where its payload is.

A query that needs no payload opens none. One that does reads the files of the types it asks for, holds each
against the digest that its entry has, and shows one that was erased, was altered or is missing as just that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from run_evidence.ledger.model.event import BLOB_REFERENCE, BLOB_START, Row
from run_evidence.ledger.model.schema import COLUMNS
from run_evidence.ledger.storage.layout import PAYLOADS, payload_name
from run_evidence.ledger.storage.search import answer, sql_text

if TYPE_CHECKING:
    import duckdb

    from run_evidence.ledger.storage.log import Log
    from run_evidence.ledger.storage.store import Store

_ERASED: Final = "payload.erased.v1"
_TYPE: Final = COLUMNS.index("event_type")
_DATA: Final = COLUMNS.index("data")


def add_payloads(
    connection: duckdb.DuckDBPyConnection, store: Store, log: Log, unsealed: Sequence[Row]
) -> list[str] | None:
    """Make the view `payloads_beside` over the view `all_entries`, and return the files that it reads.

    `None` where the ledger neither has such payloads nor had any: then there is no such view. Else the column
    `data` is read once, to learn which entries name one; that takes 10 to 20 ms for 100,000 entries.

    Raises: IntegrityError when a segment cannot be read.
    """
    kept = {stored.name for stored in store.objects(PAYLOADS)}
    erased = _erased(connection, log, unsealed)
    if not kept and not erased:
        return None
    asked = {"start": BLOB_START, "reference": BLOB_REFERENCE}
    references = answer(connection, sql_text("payload_references"), asked)
    gone = {
        sha256: "erased" if sha256 in erased else "missing"
        for _, _, sha256 in references
        if sha256 in erased or payload_name(sha256) not in kept
    }
    connection.execute(sql_text("create_references"))
    _insert(connection, "payload_references", references)
    _insert(connection, "gone_payloads", list(gone.items()))
    files = defaultdict(set)
    for _, event_type, sha256 in references:
        if sha256 not in gone:
            files[event_type].add(str(store.path(payload_name(sha256))))
    _add_view(connection, {kind: sorted(paths) for kind, paths in sorted(files.items())})
    return sorted(set().union(*files.values()))


def _erased(connection: duckdb.DuckDBPyConnection, log: Log, unsealed: Sequence[Row]) -> frozenset[str]:
    """Return what is recorded as erased today, whatever prefix of the log is shown: it does not come back."""
    texts = [row.values[_DATA] for row in unsealed if row.values[_TYPE] == _ERASED]
    if log.segments:
        paths = [str(segment.path) for segment in log.segments]
        texts += [data for (data,) in answer(connection, sql_text("erasures"), {"paths": paths})]
    return frozenset(orjson.loads(str(text)).get("erased_sha256", "") for text in texts)


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        import pyarrow as pa

        names = [name for (name, *_) in connection.execute(f"DESCRIBE {table}").fetchall()]
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        connection.register("arrived", pa.table(columns))
        connection.execute(f"INSERT INTO {table} SELECT * FROM arrived")  # noqa: S608 - our own names
        connection.unregister("arrived")


def _add_view(connection: duckdb.DuckDBPyConnection, files: dict[str, list[str]]) -> None:
    """Put the payloads of all types into one view, which takes no parameters: the paths are written into it."""
    connection.execute(f"CREATE MACRO payloads_of_type(kind, files) AS TABLE {sql_text('payloads_of_type')}")
    parts = [sql_text("payloads_gone")]
    for kind, paths in files.items():
        listed = ", ".join(map(_quoted, paths))
        parts.append(f"SELECT * FROM payloads_of_type({_quoted(kind)}, [{listed}])")  # noqa: S608
    connection.execute(f"CREATE VIEW payloads_beside AS {' UNION ALL '.join(parts)}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

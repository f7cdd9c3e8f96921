"""A snapshot: one consistent prefix of a ledger, open for SQL. Gap-free without a lock.

The inbox is read first and the log loaded after it, so an entry that a sealer moves meanwhile is in one of
them at least; what is in both is shown once. The database is in memory and only calculates: it holds
nothing that is not in the ledger, and it can be closed and made again at any time.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from run_evidence.ledger.errors import IntegrityError, NewerSchemaError, UsageError
from run_evidence.ledger.model.event import Key, Row
from run_evidence.ledger.model.schema import VERSION
from run_evidence.ledger.query.as_of import NOW, AsOf
from run_evidence.ledger.query.limits import Limits, limited
from run_evidence.ledger.query.payload_views import add_payloads
from run_evidence.ledger.storage import inbox
from run_evidence.ledger.storage.search import answer, memory_database, sealed_digests, sql_text, unreadable_segment

if TYPE_CHECKING:
    import duckdb

    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.storage.log import Log

VIEWS: Final = (
    "entries",
    "events",
    "amendments",
    "effective_events",
    "payloads",
    "outcomes",
    "runs",
    "materializations",
    "observations",
    "checks",
    "skips",
    "failures",
    "assets",
    "steps",
    "lineage",
    "check_history",
    "contradictions",
    "deliveries",
    "partitions",
)
"""The views of a ledger, in the order in which they build on each other."""

_LIMITS: Final = Limits()

CALCULATED: Final = "run_evidence.rows"
"""Entry points of this group give the rows of a view that is not SQL alone: called with a ledger, a snapshot of it
and an `AsOf`, they return JSON objects."""

_BENEATH: Final[Mapping[str, frozenset[str]]] = {
    "deliveries": frozenset({"events", "amendments", "outcomes", "runs"}),
    "partitions": frozenset({"events"}),
}
"""The views that are calculated so, and those that they are calculated from."""

_DECISIVE: Final = frozenset({"amendments", "payloads", "outcomes", "runs"})
"""The views that a verdict rests on; they build on `decisive_events`."""

_FEW_RUNS: Final = 500
"""Each entry's run is compared with every one of them; from a thousand on, reading all runs takes less."""

_WORD: Final = re.compile(r"[a-z_]+")
_COMMENT: Final = re.compile(r"^\s*--.*$", re.MULTILINE)
_CATALOG: Final = re.compile(r"show|query|duckdb_|information_schema|pg_|sqlite_")
"""Words of SQL that may reach a view without its name."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A prefix of the ledger: `sealed` entries of the log that count, and `unsealed` ones that are visible.

    `damaged` names inbox objects that cannot be read, or are of a newer program; their entries are not in the
    snapshot. `files` are those that it reads: segments and payloads. `memory_bytes` is what the database may take
    by its `limits`, and as much again an answer.
    """

    connection: duckdb.DuckDBPyConnection
    log: Log
    sealed: int
    unsealed: int
    damaged: tuple[str, ...]
    files: tuple[str, ...]
    limits: Limits
    memory_bytes: int
    add_views: Callable[[Iterable[str]], None]
    """Makes views, and what they build on, where they are not there yet."""

    def rows(
        self, sql: str, parameters: dict[str, Any] | None = None, *, runs: Sequence[str] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run SQL of our own over the views and return all rows.

        SQL that is about some `runs` alone says so here too: where they are few, the views `runs` and `outcomes`
        have no others, and take no time for them. Raises `IntegrityError` when a segment it touches cannot be read.
        """
        if runs is None or len(runs) > _FEW_RUNS:
            return answer(self.connection, sql, parameters or {})
        # No filter reaches through the joins of those views to the entries, but they ask for this one there.
        self.connection.execute("SET VARIABLE runs = $runs::VARCHAR[]", {"runs": list(runs)})
        try:
            return answer(self.connection, sql, parameters or {})
        finally:
            self.connection.execute("RESET VARIABLE runs")


@contextlib.contextmanager
def open_snapshot(
    ledger: Ledger,
    as_of: AsOf = NOW,
    views: Sequence[str] = VIEWS,
    *,
    payloads: bool = True,
    limits: Limits = _LIMITS,
) -> Iterator[Snapshot]:
    """Open the newest state of the ledger, or its state `as_of` an index or a time, with all or some `views`.

    The views answer alike whether an event's payload is in its entry or in a file of its own; without `payloads`
    they show of the latter what its entry has: the reference to it. The connection reaches the segments of this
    ledger, and the payloads that these name, and no other file. Raises `NotALedgerError` when there is no
    ledger, `IntegrityError` when the log cannot be loaded, `UsageError` when `as_of` lies beyond the log.
    """
    ledger.require()
    unsealed, damaged = _read_inbox(ledger)
    log = ledger.log()
    if as_of.size is not None and as_of.size > log.size:
        raise UsageError(
            f"--as-of {as_of.size}: the log has {log.size} sealed entries.",
            next_step="ledger seal, or a smaller index",
        )
    if as_of.head is not None:
        from run_evidence.ledger.storage.consistency import require_prefix

        require_prefix(ledger.store, ledger.require(), log, as_of.head)
    for key in sealed_digests(log, unsealed.keys()):
        del unsealed[key]
    arrived = list(unsealed.values())
    if as_of.size is not None:
        unsealed.clear()  # an entry without an index is in no prefix that is named by its size
    with memory_database() as connection, limited(connection, limits) as memory_bytes:
        _add_entries(connection, log, list(unsealed.values()), as_of)
        files = add_payloads(connection, ledger.store, log, arrived) if payloads else None
        sealed = log.size if as_of.size is None else as_of.size
        readable = (*(str(s.path) for s in log.segments), *(files or ()))
        made: set[str] = set()

        def add_views(wanted: Iterable[str]) -> None:
            if made.issuperset(wanted):
                return
            ending = "" if files is not None else "_whole" if payloads else "_recorded"
            _add_views(connection, wanted, made, ending, lambda view: _calculated(ledger, snapshot, as_of, view))

        damage = tuple(damaged)
        snapshot = Snapshot(
            connection, log, sealed, len(unsealed), damage, readable, limits, memory_bytes, add_views
        )
        add_views(views)
        connection.execute("SET allowed_paths = $paths", {"paths": list(readable)})
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        yield snapshot


def _read_inbox(ledger: Ledger) -> tuple[dict[Key, Row], list[str]]:
    rows: dict[Key, Row] = {}
    damaged = []
    for name in inbox.names(ledger.store):
        try:
            for row in inbox.read_rows(ledger.store, name) or ():
                rows.setdefault(row.key, row)
        except (IntegrityError, NewerSchemaError) as error:
            damaged.append(str(error))
    return rows, damaged


def _add_entries(connection: duckdb.DuckDBPyConnection, log: Log, unsealed: list[Row], as_of: AsOf) -> None:
    """Make the table `unsealed_entries`; over it and the segments, the views `stored_entries` and `all_entries`.

    Both are the same, until entries are held in memory: then `all_entries` has no bytes of theirs. The column
    `place` tells entries apart that have no index yet: theirs is negative.
    """
    import duckdb

    connection.execute(sql_text("create_unsealed"))
    if unsealed:
        from run_evidence.ledger.storage.rows import (
            table,  # brings Arrow, which a query of sealed entries does without
        )

        connection.register("arrived", table(unsealed))
        connection.execute("INSERT INTO unsealed_entries SELECT * FROM arrived")
        connection.unregister("arrived")
    source = "SELECT *, -1 - rowid AS place FROM unsealed_entries"
    if log.segments:
        paths = ", ".join("'" + str(s.path).replace("'", "''") + "'" for s in log.segments)
        # Segments of an older schema version lack columns, and those of two versions have them in another order.
        mixed = ", union_by_name = true" if VERSION > 1 else ""
        source = f"SELECT *, index AS place FROM read_parquet([{paths}]{mixed}) UNION ALL BY NAME {source}"  # noqa: S608 - no parameters in views
    try:
        connection.execute(f"CREATE VIEW stored_entries AS SELECT * FROM ({source}) WHERE {as_of.condition()}")  # noqa: S608
        connection.execute("CREATE VIEW all_entries AS FROM stored_entries")
    except duckdb.Error as error:  # the SQL is ours, so it is a segment that is wrong
        raise unreadable_segment(error) from None


def _calculated(ledger: Ledger, snapshot: Snapshot, as_of: AsOf, view: str) -> None:
    """Make the table that a view shows, of what the entry point of its name calculates over the views before it."""
    import orjson

    (rows, *_) = entry_points(group=CALCULATED, name=view)
    found = orjson.dumps(rows.load()(ledger, snapshot, as_of)).decode()
    snapshot.connection.execute(sql_text(f"create_{view}"), {"rows": found})


def _add_views(
    connection: duckdb.DuckDBPyConnection,
    views: Iterable[str],
    made: set[str],
    payloads: str,
    calculate: Callable[[str], None],
) -> None:
    """Create views and what they build on, and add them to those that were `made`.

    `payloads` ends the names of the files that say where payloads are. `calculate` makes what a view shows that is
    not SQL alone, when those before it are there.
    """
    needed = set(views)
    for position, view in reversed(list(enumerate(VIEWS))):
        if view in needed:  # what it builds on comes before it; another name in its text is a column's or a word
            needed |= views_in(_COMMENT.sub("", sql_text(view))) & set(VIEWS[:position])
            needed |= _BENEATH.get(view, frozenset())
    if needed & _DECISIVE and not made & _DECISIVE:
        connection.execute(f"CREATE VIEW decisive_events AS {sql_text(f'decisive_events{payloads}')}")
    if "runs" in needed - made:
        connection.execute(f"CREATE VIEW run_rows AS {sql_text('run_rows')}")
    for view in (view for view in VIEWS if view in needed - made):
        text = sql_text(f"events{payloads}" if view == "events" else view)
        if view == "effective_events" and not _corrected(connection):
            text = sql_text("effective_events_uncorrected")
        if view in _BENEATH:
            calculate(view)
        connection.execute(f"CREATE VIEW {view} AS {text}")
        made.add(view)


def _corrected(connection: duckdb.DuckDBPyConnection) -> bool:
    """Tell whether anything may have been corrected: there are amendments, or a segment that cannot be read."""
    import duckdb

    try:
        return bool(connection.execute("SELECT 1 FROM amendments LIMIT 1").fetchall())
    except duckdb.Error:
        return True  # the query that needs that segment says what is wrong with it


def views_in(sql: str) -> set[str]:
    """Return the views that a text of SQL names, or may name; binding one takes a few milliseconds."""
    words = set(_WORD.findall(sql.lower()))
    return set(VIEWS) if any(map(_CATALOG.match, words)) else words & set(VIEWS)


def erased_payloads(ledger: Ledger) -> frozenset[str]:
    """Return the SHA-256 of every payload that was erased on record, sealed or not."""
    with open_snapshot(ledger, views=("events",), payloads=False) as snapshot:
        return frozenset(row[0] for row in snapshot.rows(sql_text("erased_payloads")))

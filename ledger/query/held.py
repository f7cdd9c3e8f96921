"""What a snapshot that is asked again and again holds in memory, so that it is not calculated for each question.

Views that take long and have few rows, from their third question on; and of a small log its entries, once reading
its segments took about as long as holding them. The answers are the same: a table holds what its view showed, and
is given up as soon as a file that it was made of is another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import LedgerError
from run_evidence.ledger.query.limits import timed
from run_evidence.ledger.storage.log import files_state
from run_evidence.ledger.storage.search import sql_text

if TYPE_CHECKING:
    from run_evidence.ledger.query.snapshot import Snapshot

_OF_FEW_ROWS: Final = ("runs", "assets")
"""They have a row for each run, or for each asset and partition."""

_OF_SMALL_LOGS: Final = ("outcomes", *_OF_FEW_ROWS)
_OF_ASKED_RUNS: Final = "WHERE coalesce(list_contains(getvariable('runs'), run_id), true)"
_ASKED_RUNS: Final = {"runs": _OF_ASKED_RUNS, "outcomes": _OF_ASKED_RUNS}
"""As these views are, see `Snapshot.rows`."""

_TIMES: Final = 2
_ENTRIES: Final = "all_entries"
_MOST_ENTRIES: Final = 100_000
_MOST_DATA_BYTES: Final = 64_000_000
_ENTRIES_A_QUESTION: Final = 2_000
"""Holding this many takes about what one question gains by it: 3.5 µs an entry, and 5 ms."""


class Held:
    """What of one snapshot is in memory. Not for two threads at once."""

    def __init__(self, snapshot: Snapshot, views: Collection[str]) -> None:
        """Begin with the question to these views that the snapshot was opened for."""
        self._snapshot = snapshot
        self._asked = Counter(views)
        self._questions = 1
        self._tried: set[str] = set()
        self._files: object = None

    @property
    def is_true(self) -> bool:
        """Whether all files are as they were when something was held; what is read from them is not asked here."""
        return self._files is None or self._files == files_state(self._snapshot.files)

    def ask(self, views: Collection[str]) -> None:
        """Count a question to these views, and hold what it was worth holding before."""
        entries = self._snapshot.sealed + self._snapshot.unsealed
        few = entries <= _MOST_ENTRIES
        if few and self._questions >= _TIMES + entries / _ENTRIES_A_QUESTION:
            self._hold(_ENTRIES)
        for view in _OF_SMALL_LOGS if few else _OF_FEW_ROWS:
            if view in views and self._asked[view] >= _TIMES:
                self._hold(view)
        self._asked.update(views)
        self._questions += 1

    def _hold(self, view: str) -> None:
        """Hold a view, if that can be done within the limits of a query; it is tried once."""
        import duckdb

        if view in self._tried:
            return
        self._tried.add(view)
        if self._files is None:  # before they are read: what comes then is noticed
            self._files = files_state(self._snapshot.files)
        connection = self._snapshot.connection
        connection.execute("BEGIN")
        try:
            with timed(connection, self._snapshot.limits):
                if view != _ENTRIES:
                    connection.execute(f"CREATE SCHEMA IF NOT EXISTS held; CREATE TABLE held.{view} AS FROM {view}")
                    connection.execute(
                        f"CREATE OR REPLACE VIEW {view} AS FROM held.{view} {_ASKED_RUNS.get(view, '')}"
                    )
                elif self._has_little_data():
                    connection.execute(sql_text("hold_entries"))
            connection.execute("COMMIT")
        except (duckdb.Error, LedgerError):  # a question says what is wrong
            connection.execute("ROLLBACK")

    def _has_little_data(self) -> bool:
        ((size_bytes,),) = self._snapshot.connection.execute(sql_text("data_bytes")).fetchall()
        return int(size_bytes or 0) <= _MOST_DATA_BYTES

"""A ledger for a notebook or a program: SQL to Arrow, pandas, Polars or plain rows; runs, verification, reports.

    import run_evidence.ledger as ledger

    evidence = ledger.open("warehouse/.ledger")
    evidence.query("SELECT verdict, count(*) AS runs FROM runs GROUP BY verdict").df()
    evidence.runs(verdict=["failed", "unknown"]).pl()
    evidence.verify(key="example.com/ledger+…").ok

Nothing here writes to the ledger, and nothing needs Dagster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.query.as_of import NOW, AsOf, parse_as_of
from run_evidence.ledger.query.kept import KeptSnapshot
from run_evidence.ledger.query.run_ids import one_run, runs_starting_with
from run_evidence.ledger.query.snapshot import views_in
from run_evidence.ledger.query.sql_query import run_query_arrow
from run_evidence.ledger.settings import open_ledger, query_limits
from run_evidence.ledger.storage.search import sql_text

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.verification.findings import Verification

REPORTS: Final = "run_evidence.reports"
"""Entry points of this group derive a report: called with a ledger, a run's id and an `AsOf`, they return JSON."""

When = int | str | datetime | None
"""A prefix of the log: so many entries, or what `--as-of` takes (a checkpoint file, a time of recording)."""

_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer to a query, as an Arrow table in `arrow`. Whatever reads Arrow streams takes it as it is."""

    arrow: pa.Table

    def rows(self) -> list[dict[str, Any]]:
        """Return plain rows: dictionaries by column name."""
        return list(self)

    def df(self) -> pd.DataFrame:
        """Return a pandas DataFrame. Raises: UsageError where pandas is not installed."""
        try:
            import pandas  # noqa: F401 - Arrow says something else where it is missing
        except ImportError:
            raise _missing("pandas") from None
        return self.arrow.to_pandas()

    def pl(self) -> pl.DataFrame:
        """Return a Polars DataFrame. Raises: UsageError where Polars is not installed."""
        try:
            import polars
        except ImportError:
            raise _missing("polars") from None
        return polars.DataFrame(self.arrow)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the rows to another library (the Arrow PyCapsule interface)."""
        return self.arrow.__arrow_c_stream__(requested_schema)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield plain rows."""
        for batch in self.arrow.to_batches():
            yield from batch.to_pylist()

    def __len__(self) -> int:
        """Return how many rows there are."""
        return int(self.arrow.num_rows)

    def __repr__(self) -> str:
        """Show the first rows as a table."""
        from run_evidence.ledger.terminal import table

        first = self.arrow.slice(0, _SHOWN).to_pylist()
        cells = [["" if value is None else str(value) for value in row.values()] for row in first]
        more = [f"… {len(self)} rows in all"] if len(self) > _SHOWN else []
        return "\n".join([*table(self.arrow.column_names, cells, plain=True), *more])


class Reader:
    """A ledger that is read. `open` makes one, which may be kept and is closed when it is no longer used.

    Every call reads the newest state of the ledger, or with `as_of` an earlier one. While nothing is added to the
    ledger, a question is answered by the database that the one before was.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._kept = KeptSnapshot(ledger)

    def query(self, sql: str, params: Mapping[str, Any] | None = None, *, as_of: When = None) -> Rows:
        """Run one query over the views (`docs/views.md`), read-only, and return its rows.

        `params` are the values of `$name` in it. Raises: UsageError for a wrong query, with the nearest right name;
        NotALedgerError; IntegrityError for a segment that cannot be read; EnvironmentFault when it needs more time
        or memory than LEDGER_QUERY_TIMEOUT and LEDGER_QUERY_MEMORY leave it.
        """
        with self._kept.current(_as_of(as_of), views_in(sql), query_limits()) as snapshot:
            return Rows(run_query_arrow(snapshot, sql, params or {}))

    def runs(
        self,
        *,
        verdict: str | Sequence[str] | None = None,
        since: datetime | None = None,
        job: str | None = None,
        release: str | None = None,
        as_of: When = None,
    ) -> Rows:
        """Return the rows of the view `runs` that fit, newest first."""
        words = [verdict] if isinstance(verdict, str) else verdict
        values = {
            "verdicts": None if words is None else list(words),
            "since": since,
            "job": job,
            "release": release,
        }
        return self.query(sql_text("runs_wanted"), values, as_of=as_of)

    def run(self, run_id: str, *, as_of: When = None) -> dict[str, Any]:
        """Return one run's row, with its `outcomes` as a list of rows. The start of an id will do, or `latest`.

        Raises: UsageError when there is no such run, or several.
        """
        found = self._whole_id(run_id, as_of)
        (row,) = self.query("SELECT * FROM runs WHERE run_id = $run_id", {"run_id": found}, as_of=as_of)
        outcomes = "SELECT * EXCLUDE (run_id, job_name) FROM outcomes WHERE run_id = $run_id ORDER BY position"
        return {**row, "outcomes": self.query(outcomes, {"run_id": found}, as_of=as_of).rows()}

    def report(self, run_id: str, *, as_of: When = None) -> dict[str, Any]:
        """Return a run's evidence report, as `ledger show --json` prints it. Raises: UsageError as `run` does."""
        (derive, *_) = entry_points(group=REPORTS, name="run")
        report: dict[str, Any] = derive.load()(self._ledger, self._whole_id(run_id, as_of), _as_of(as_of))
        return report

    def verify(self, key: str | Sequence[str] = (), *, witness_key: str | Sequence[str] = ()) -> Verification:
        """Verify the whole ledger, as `ledger verify --key` does without a memory. `ok` is its answer.

        Without a key the ledger's own word counts for who signs it. Raises: UsageError for a text that is no key.
        """
        from run_evidence.ledger.tlog.trust import read_trust
        from run_evidence.ledger.verification.verify import verify

        keys, witnesses = ([given] if isinstance(given, str) else list(given) for given in (key, witness_key))
        return verify(self._ledger, trust=read_trust(keys, witnesses))

    def _whole_id(self, asked: str, as_of: When) -> str:
        with self._kept.current(_as_of(as_of), ("events",), query_limits()) as snapshot:
            found = one_run(asked, runs_starting_with(snapshot, asked))
        if found is None:
            raise UsageError(f"There is no run {asked!r}.", next_step="runs() has those there are")
        return found

    def __repr__(self) -> str:
        """Say which ledger it is."""
        return f"<Reader of the ledger at {self._ledger.root}>"


def open(place: str | Path | None = None) -> Reader:  # noqa: A001 - `ledger.open(…)` is how it is read
    """Open the ledger at a path or a file:// URL; else the one that LEDGER_URL, DAGSTER_HOME or the folder names.

    Raises: NotALedgerError when there is none; UsageError for an address of a kind that is not supported.
    """
    ledger = open_ledger(place)
    ledger.require()
    return Reader(ledger)


def _as_of(when: When) -> AsOf:
    if when is None:
        return NOW
    if isinstance(when, int):
        return AsOf(size=when)
    return parse_as_of(when.isoformat() if isinstance(when, datetime) else when)


def _missing(library: str) -> UsageError:
    return UsageError(f"{library} is not installed.", next_step=f"pip install {library}")

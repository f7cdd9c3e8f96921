"""Writing segments again that another tool has rewritten, such as a nightly OPTIMIZE of every table it finds.

The entries are there, in files of another make: other names, no frontier, rows in any order. They are put in order,
held against the checkpoints, and written as segments; nothing is taken from a foreign file but an entry's bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import EnvironmentFault, IntegrityError
from run_evidence.ledger.model.event import decode_entry
from run_evidence.ledger.storage.checkpoints import checkpoint_sizes, read_checkpoint
from run_evidence.ledger.storage.commit import CommitLostError, commit_exchange
from run_evidence.ledger.storage.log import StatedLog, stated_files
from run_evidence.ledger.storage.rows import table
from run_evidence.ledger.storage.search import spilling_database, sql_text, unreadable_segment
from run_evidence.ledger.storage.segment import discard, read_batches, write
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.checkpoint import Checkpoint
from run_evidence.ledger.tlog.merkle import Frontier, leaf_hash

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from run_evidence.ledger.storage.log import Segment

_MEMORY_LIMIT: Final = "400MB"
_BATCH: Final = 10_000


def take_back(store: Store, origin: str, target_rows: int) -> int:
    """Write foreign files of the log again as segments of up to `target_rows`; return how many files there were.

    Every entry is checked, and the tree against every checkpoint, before anything is committed; then the foreign
    files are out of use, and a later compaction removes them.

    Raises: IntegrityError when the entries are not those of the checkpoints: nothing is changed then.
    EnvironmentFault when a seal or another tool committed meanwhile.
    """
    stated = stated_files(store)
    foreign = [file.path for file in stated.files if file.segment is None] if stated else []
    if stated is None or not foreign:
        return 0
    written: list[Segment] = []
    try:
        _rewrite(store, origin, stated, foreign, target_rows, written)
    except BaseException:
        discard(written)
        raise
    try:
        commit_exchange(stated, written, foreign)
    except CommitLostError:  # of any other error nobody knows whether it was committed: the segments stay
        discard(written)
        raise EnvironmentFault(
            "The log was committed to meanwhile; nothing was changed.", next_step="ledger compact"
        ) from None
    return len(foreign)


def _rewrite(
    store: Store,
    origin: str,
    stated: StatedLog,
    foreign: Sequence[Path],
    target_rows: int,
    written: list[Segment],
) -> None:
    """Write what the foreign files hold, between the segments that are left, and check the tree of all of it."""
    tree = _Tree(store, origin)
    ours = sorted((file.segment for file in stated.files if file.segment), key=lambda segment: segment.first_index)
    with _ordered(foreign) as entries:
        for segment in [*ours, None]:
            upto = segment.first_index if segment else stated.size
            while tree.size < upto:
                count = tree.end_of_segment(upto, target_rows) - tree.size
                rows = _rows(tree, islice(entries, count), count)
                written.append(write(store, rows, lambda: tree.frontier))
            if segment is not None:
                tree.skip(segment)
        if next(entries, None) is not None:
            raise IntegrityError(
                "The foreign files hold entries that the log has already.", next_step="ledger verify"
            )
    tree.finish()


def _rows(tree: _Tree, entries: Iterator[tuple[int, bytes]], count: int) -> Iterator[pa.Table]:
    """Yield `count` entries as rows of a segment, in order; the tree grows by them."""
    done = 0
    while chunk := list(islice(entries, _BATCH)):
        first = tree.size
        for place, (index, _) in enumerate(chunk, start=first):
            if index != place:
                raise IntegrityError(
                    f"The foreign files of the log have entry {index} where {place} is expected.",
                    next_step="restore log/ from a copy of the ledger, then: ledger verify",
                )
        tree.grow([leaf_hash(entry) for _, entry in chunk])
        done += len(chunk)
        yield table([decode_entry(entry) for _, entry in chunk], first)
    if done != count:
        raise IntegrityError(
            f"The foreign files of the log have {done} entries where {count} are expected.",
            next_step="restore log/ from a copy of the ledger, then: ledger verify",
        )


class _Tree:
    """The tree of the log, held against every checkpoint it grows past."""

    def __init__(self, store: Store, origin: str) -> None:
        self.frontier = Frontier.empty()
        self._store = store
        self._origin = origin
        self._stops = checkpoint_sizes(store)  # largest first

    @property
    def size(self) -> int:
        """The number of leaves so far."""
        return self.frontier.size

    def end_of_segment(self, upto: int, target_rows: int) -> int:
        """Return where a segment that begins here ends: at a checkpoint, as a sealed one does, or at `upto`."""
        ends = [size for size in checkpoint_sizes(self._store) if self.size < size < upto]
        if upto <= self.size + target_rows:
            return upto
        return max((size for size in ends if size <= self.size + target_rows), default=min([*ends, upto]))

    def grow(self, hashes: Sequence[bytes]) -> None:
        """Append leaves. Raises: IntegrityError where a checkpoint says something else."""
        done = 0
        while done < len(hashes):
            while self._stops and self._stops[-1] <= self.size:
                self._stops.pop()
            room = self._stops[-1] - self.size if self._stops else len(hashes)
            piece = hashes[done : done + room]
            self.frontier = self.frontier.extend(piece)
            done += len(piece)
            if self._stops and self._stops[-1] == self.size:
                self._compare()

    def skip(self, segment: Segment) -> None:
        """Append the leaves of a segment that is there."""
        for batch in read_batches(segment, ["entry"]):
            self.grow([leaf_hash(entry or b"") for entry in batch.column("entry").to_pylist()])

    def finish(self) -> None:
        """See that no checkpoint is of more entries than there are. Raises: IntegrityError."""
        if self._stops and self._stops[0] > self.size:
            raise IntegrityError(
                f"The log has {self.size} entries, a checkpoint is of {self._stops[0]}: entries were removed.",
                next_step="restore log/ from a copy of the ledger, then: ledger verify",
            )

    def _compare(self) -> None:
        stored = read_checkpoint(self._store, self.size)
        calculated = Checkpoint(self._origin, self.size, self.frontier.root())
        if stored is not None and stored.checkpoint != calculated:
            raise IntegrityError(
                f"The first {self.size} entries have root {calculated.root.hex()}, the checkpoint "
                f"{stored.checkpoint.root.hex()}: another tool, or somebody, changed entries. Nothing was written.",
                next_step="restore log/ from a copy of the ledger, then: ledger verify",
            )


@contextlib.contextmanager
def _ordered(paths: Sequence[Path]) -> Iterator[Iterator[tuple[int, bytes]]]:
    """Give the entries of these files in the order of their indexes, from a sort that may spill to a file.

    Raises: what `unreadable_segment` makes of it when a file cannot be read.
    """
    with spilling_database(_MEMORY_LIMIT) as connection:
        yield _entries(connection, [str(path) for path in paths])


def _entries(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    import duckdb

    try:
        found = connection.execute(sql_text("entries_in_order"), {"paths": paths})
        while rows := found.fetchmany(_BATCH):
            yield from ((int(index), bytes(entry)) for index, entry in rows)
    except (duckdb.Error, TypeError) as error:  # not Parquet, other columns, or NULL where an entry should be
        raise unreadable_segment(error) from None

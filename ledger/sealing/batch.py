"""What a seal takes from the inbox at a time: whole objects, their entries, and the columns of these.

While one piece is deduplicated, the next is read and taken apart on another thread: DuckDB does not need Python
then.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import compress
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from run_evidence.ledger.errors import IntegrityError, NewerSchemaError
from run_evidence.ledger.model.event import Key, Row
from run_evidence.ledger.storage import inbox
from run_evidence.ledger.storage.derive import derived, take_apart
from run_evidence.ledger.storage.inbox import InboxObject
from run_evidence.ledger.storage.rows import SCHEMA, table
from run_evidence.ledger.storage.segment import ROW_GROUP_ROWS
from run_evidence.ledger.storage.store import Store

MAX_SEGMENT_ENTRIES: Final = 100_000

_MAX_SEGMENT_OBJECTS: Final = 20_000
"""Appends of a single event come in such numbers that clearing them takes longer than sealing them: they are sealed
in bites, and each is cleared while the next one is sealed."""

_PIECE_BYTES: Final = 20_000_000
"""So many that DuckDB's own preparations do not count, so few that there is something to do beside."""

_FIRST_PIECE_BYTES: Final = 5_000_000
"""Nothing else can be done before the first piece is read."""

_WORTH_A_DATABASE: Final = 1_000_000
"""Bytes whose entries are derived one by one in the time that opening a database takes."""


_MOST_TOGETHER: Final = 1 << 30
"""Bytes that Arrow can address in one array, and then some: an append may be of any size."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries: for each its key, its digest and its row in `table`, which has no indexes yet."""

    keys: list[Key]
    digests: list[str]
    table: pa.Table

    def __len__(self) -> int:
        return len(self.keys)

    def only(self, wanted: Sequence[bool]) -> Entries:
        """Return the entries for which `wanted` holds."""
        return Entries(
            list(compress(self.keys, wanted)),
            list(compress(self.digests, wanted)),
            self.table.filter(pa.array(wanted, pa.bool_())),
        )


@dataclass(frozen=True, slots=True)
class InboxBatch:
    """Some of the inbox: how many of the listed objects were `taken`, the names of those that can be sealed.

    `refused` says what is wrong with the others, `newer` which are of a later program; `read` is all that is in the
    sound ones.
    """

    taken: int
    objects: tuple[str, ...]
    refused: tuple[str, ...]
    newer: tuple[str, ...]
    read: Entries


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Objects as they were read; `rows` is what DuckDB made of their entries, where there are many."""

    taken: int
    items: tuple[InboxObject, ...]
    refused: tuple[str, ...]
    rows: pa.RecordBatch | None

    def count(self) -> int:
        """Return the number of entries."""
        return sum(item.content.count(b"\n") for item in self.items) if self.rows is None else len(self.rows)


def inbox_batches(store: Store, names: Sequence[str]) -> Iterator[InboxBatch]:
    """Read these objects of the inbox in order, until they make a segment.

    Objects that are gone are left out, and so are, named in `refused`, those that cannot be sealed.
    """
    done = entries = 0
    with ThreadPoolExecutor(1) as beside:
        loaded = _load(store, names, _FIRST_PIECE_BYTES)
        while loaded.taken:
            done += loaded.taken
            entries += loaded.count()
            rest = names[done:] if entries < MAX_SEGMENT_ENTRIES and done < _MAX_SEGMENT_OBJECTS else ()
            following = beside.submit(_load, store, rest, _PIECE_BYTES) if rest else None
            yield _piece(loaded)
            if following is None:
                return
            loaded = following.result()


def entries_of(rows: pa.Table) -> Entries:
    """Return rows as entries with their keys."""
    if not len(rows):
        return Entries([], [], rows)
    store_ids, run_ids = (_shared(rows.column(name)) for name in ("store_id", "run_id"))
    storage_ids = rows.column("storage_id")
    keys: list[Any] = list(zip(store_ids, run_ids, storage_ids.to_pylist(), strict=True))
    own = pc.indices_nonzero(storage_ids.is_null())
    for number, event_id in zip(own.to_pylist(), rows.column("event_id").take(own).to_pylist(), strict=True):
        keys[number] = event_id
    return Entries(keys, rows.column("source_digest").to_pylist(), rows)


def _shared(column: pa.ChunkedArray) -> Iterator[str | None]:
    """Return a column's texts; equal ones are one object: runs are long."""
    encoded = column.dictionary_encode(null_encoding="encode").combine_chunks()
    return map(encoded.dictionary.to_pylist().__getitem__, encoded.indices.to_pylist())


def _load(store: Store, names: Sequence[str], at_least: int) -> _Loaded:
    items: list[InboxObject] = []
    refused: list[str] = []
    taken = size = 0
    for name in names:
        if size >= at_least:
            break
        taken += 1
        try:
            item = inbox.read(store, name)
        except IntegrityError as error:
            refused.append(str(error))
            continue
        if item is not None:
            items.append(item)
            size += len(item.content)
    whole = all(item.content.endswith(b"\n") for item in items)  # else a line would go on in the next object
    rows = take_apart(_lines(items)) if whole and _WORTH_A_DATABASE <= size <= _MOST_TOGETHER else None
    return _Loaded(taken, tuple(items), tuple(refused), rows)


def _lines(items: Sequence[InboxObject]) -> pa.Array:
    """Return the entries of objects that each end with the end of a line."""
    content = items[0].content if len(items) == 1 else b"".join(item.content for item in items)
    ends = pa.py_buffer(array("i", [0, len(content) - 1]))
    whole = pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(content)])
    return pc.split_pattern(whole, "\n").values


def _piece(loaded: _Loaded) -> InboxBatch:
    """Look at all objects at once; where that does not do, at each, and leave out what cannot be sealed."""
    rows = None if loaded.rows is None else derived(loaded.rows)
    if rows is not None:
        names = tuple(item.name for item in loaded.items)
        return InboxBatch(loaded.taken, names, loaded.refused, (), entries_of(pa.Table.from_batches([rows])))
    sound, refused = [], list(loaded.refused)
    newer: list[str] = []
    found: list[Row] = []
    for item in loaded.items:
        try:
            found += inbox.rows(item)
        except IntegrityError as error:
            refused.append(str(error))
        except NewerSchemaError as error:
            newer.append(str(error))
        else:
            sound.append(item.name)
    tables = [table(found[i : i + ROW_GROUP_ROWS]) for i in range(0, len(found), ROW_GROUP_ROWS)]
    read = entries_of(pa.concat_tables([SCHEMA.empty_table(), *tables]))
    return InboxBatch(loaded.taken, tuple(sound), tuple(refused), tuple(newer), read)

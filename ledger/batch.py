"""What a seal takes from the inbox at a time: entries with what identifies them, and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from typing import Final

import pyarrow as pa

from ledger import inbox
from ledger.derive import derive
from ledger.errors import IntegrityError
from ledger.event import Key
from ledger.inbox import InboxObject
from ledger.layout import Layout
from ledger.rows import SCHEMA, table
from ledger.segment import ROW_GROUP_ROWS

MAX_SEGMENT_ENTRIES: Final = 100_000

_WORTH_A_DATABASE: Final = 1_000
"""Entries that are derived one by one in the time that opening a database takes."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries and, for each, its key, its digest and its row in `table`, which has no indexes yet."""

    bytes: list[bytes]
    keys: list[Key]
    digests: list[str]
    table: pa.Table

    def __len__(self) -> int:
        return len(self.keys)

    def only(self, wanted: Sequence[bool]) -> Entries:
        """Return the entries for which `wanted` holds."""
        return Entries(
            list(compress(self.bytes, wanted)),
            list(compress(self.keys, wanted)),
            list(compress(self.digests, wanted)),
            self.table.filter(pa.array(wanted, pa.bool_())),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """The names of inbox objects, and all that is in them."""

    objects: tuple[str, ...]
    read: Entries


def batches(layout: Layout, refused: list[str]) -> Iterator[Batch]:
    """Read the inbox in batches of about a segment, oldest first; the last one may be empty.

    Objects that cannot be sealed are left out, and what is wrong with each is added to `refused`.
    """
    items: list[InboxObject] = []
    waiting = 0
    for name in inbox.names(layout):
        try:
            item = inbox.read(layout, name)
        except IntegrityError as error:
            refused.append(str(error))
            continue
        if item is None:
            continue
        items.append(item)
        waiting += len(item.entries)
        if waiting >= MAX_SEGMENT_ENTRIES:
            yield _batch(items, refused)
            items, waiting = [], 0
    yield _batch(items, refused)


def entries_of(rows: pa.Table) -> Entries:
    """Return rows as entries with their keys. Equal texts in keys are one object: runs are long."""
    names = ("entry", "source_digest", "storage_id", "store_id", "run_id", "event_id")
    entries, digests, *places = (rows.column(name).to_pylist() for name in names)
    one: dict[str | None, str] = {}
    keys = [
        own if storage is None else (one.setdefault(store, store), one.setdefault(run, run), storage)
        for storage, store, run, own in zip(*places, strict=True)
    ]
    return Entries(entries, keys, digests, rows)


def join(parts: Sequence[Entries]) -> Entries:
    """Put parts behind each other."""
    entries, keys, digests = (
        list(chain.from_iterable(getattr(part, name) for part in parts)) for name in ("bytes", "keys", "digests")
    )
    return Entries(
        entries, keys, digests, pa.concat_tables([SCHEMA.empty_table(), *(part.table for part in parts)])
    )


def _batch(items: Sequence[InboxObject], refused: list[str]) -> Batch:
    """Derive the columns of all objects at once; where that fails, of each, and leave out what cannot be sealed."""
    entries = _all_entries(items)
    if entries is not None:
        return Batch(tuple(item.name for item in items), entries)
    sound, parts = [], []
    for item in items:
        try:
            parts.append(entries_of(table(inbox.rows(item))))
        except IntegrityError as error:
            refused.append(str(error))
        else:
            sound.append(item.name)
    return Batch(tuple(sound), join(parts))


def _all_entries(items: Sequence[InboxObject]) -> Entries | None:
    waiting = [entry for item in items for entry in item.entries]
    if len(waiting) < _WORTH_A_DATABASE:
        return None
    parts = []
    for start in range(0, len(waiting), ROW_GROUP_ROWS):
        derived = derive(waiting[start : start + ROW_GROUP_ROWS])
        if derived is None:
            return None
        parts.append(entries_of(derived))
    return join(parts)

"""The inbox: what was appended and is not sealed yet, one immutable object for each append.

An append is one new file, durable before the call returns, all of it or nothing. Nobody waits for anybody.
Neither duckdb, pyarrow nor deltalake is imported here: a step's process is young and feels every import.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from run_evidence.ledger.errors import IntegrityError, NewerSchemaError
from run_evidence.ledger.model.event import Encoded, Row, decode_entry
from run_evidence.ledger.model.schema import VERSION
from run_evidence.ledger.storage.layout import (
    INBOX,
    erased_name,
    inbox_name,
    is_inbox_name,
    matches_inbox_name,
    payload_name,
)
from run_evidence.ledger.storage.store import Store


@dataclass(frozen=True, slots=True)
class InboxObject:
    """One append: its file name and what is in the file, a line for each entry in the order they were appended."""

    name: str
    content: bytes

    @property
    def entries(self) -> list[bytes]:
        """The exact bytes of each entry."""
        return self.content[:-1].split(b"\n")


def append(store: Store, encoded: Sequence[Encoded], recorded_at: int) -> str | None:
    """Write one inbox object durably and return its name; `None` when there is nothing to write.

    Cost: one file and two flushes, whatever the number of events; a large payload is one file more.
    """
    if not encoded:
        return None
    for item in encoded:
        keep_blob(store, item)
    content = b"\n".join(item.entry for item in encoded) + b"\n"
    name = inbox_name(recorded_at, content)
    store.put(f"{INBOX}/{name}", content)
    return name


def keep_blob(store: Store, encoded: Encoded) -> None:
    """Write an event's large payload beside the log, durably, before anything refers to it.

    One that was erased stays erased, also when the same record is appended again.
    """
    name = encoded.blob_sha256
    if encoded.blob is None or name is None or store.stat(erased_name(name)):
        return
    store.put(payload_name(name), encoded.blob)
    if store.stat(erased_name(name)):  # it was erased at this moment
        remove_blob(store, name)


def remove_blob(store: Store, sha256: str) -> None:
    """Remove a payload durably, and see that it does not come back. Fine when it is gone already."""
    with contextlib.suppress(FileExistsError):
        store.create(erased_name(sha256), b"")
    store.remove([payload_name(sha256)], durable=True)


def names(store: Store) -> list[str]:
    """List the objects in the order they will be sealed: by time, then digest.

    A copy of a ledger that left out empty folders has no inbox, so nothing waits in it.
    """
    return list(filter(is_inbox_name, store.names(INBOX)))


def state(store: Store) -> tuple[object, ...]:
    """Return what is another value when an object came, went, or was written again in its place."""
    return tuple((name, store.stat(f"{INBOX}/{name}")) for name in names(store))


def read(store: Store, name: str) -> InboxObject | None:
    """Read one object; `None` when a sealer has taken it since it was listed.

    Raises `IntegrityError` when the content no longer matches the digest in the name.
    """
    try:
        content = store.read(f"{INBOX}/{name}")
    except FileNotFoundError:
        return None
    except IntegrityError as error:
        raise IntegrityError(
            f"inbox/{name}: {error}", next_step="move it out of inbox/ and run: ledger seal"
        ) from None
    if not matches_inbox_name(name, content):
        raise IntegrityError(
            f"inbox/{name}: the content ({len(content)} bytes) no longer has the digest its name carries; "
            "it is left where it is and will not be sealed.",
            next_step="restore the file from a copy, or move it out of inbox/ and run: ledger sync",
        )
    return InboxObject(name, content)


def read_rows(store: Store, name: str) -> list[Row] | None:
    """Read one object and derive the columns of its entries; `None` when a sealer has taken it.

    Raises what `read` and `rows` raise.
    """
    item = read(store, name)
    return None if item is None else rows(item)


def rows(item: InboxObject) -> list[Row]:
    """Derive the columns of an object's entries.

    Raises `IntegrityError`, naming the object and the line, when one of them cannot be sealed; `NewerSchemaError`
    when one is of a schema version that this program does not know.
    """
    found = []
    for line, entry in enumerate(item.entries, start=1):
        try:
            found.append(decode_entry(entry))
        except IntegrityError as error:
            raise IntegrityError(
                f"inbox/{item.name} line {line}: {error} The object is left where it is and will not be sealed.",
                next_step="move it out of inbox/ and run: ledger sync",
            ) from None
        except NewerSchemaError as error:
            where = f"inbox/{item.name} line {line}"
            raise NewerSchemaError(where, error.stated, VERSION) from None
    return found


def discard(store: Store, object_names: Sequence[str]) -> None:
    """Remove objects whose entries are all sealed, many at once."""
    store.remove([f"{INBOX}/{name}" for name in object_names])

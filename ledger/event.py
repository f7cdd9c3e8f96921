"""One event: what happened, its identity, and its exact bytes in the log.

An event is made once (`Event`), given the time it was recorded (`encode`), and from then on only its bytes
count: they are the leaf of the Merkle tree, and every column of a segment is derived from them (`columns`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, fields
from typing import Any, Final

from ledger.canonical import Json, bounded, canonical, parse_canonical
from ledger.errors import IntegrityError, UsageError

MAX_ENTRY_BYTES: Final = 65_535
"""C2SP tlog-tiles gives an entry a 16-bit length; a larger payload goes beside the log (`blobs/`)."""

OUTCOMES: Final = ("passed", "warned", "failed", "skipped", "not_available", "not_evaluated", "unknown")
"""The closed verdict lattice. `None` on an event means that the record itself states no outcome."""

MAX_DATA_BYTES: Final = 32_768
"""A `data` payload above this goes to `blobs/<sha256>`, so the rest of an entry always fits."""

_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_US = 2**48 * 1000 - 1  # the 48-bit millisecond prefix of an event id ends in the year 10889


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened, before the ledger has recorded it. Times are integer microseconds since 1970, UTC.

    An event with a `storage_id` is a record of the orchestrator's own log, identified by
    (`store_id`, `run_id`, `storage_id`); its `source_digest` is the SHA-256 of that record as stored there.
    An event without one is the ledger's own, identified by its content.
    """

    event_type: str
    occurred_at: int
    store_id: str | None = None
    run_id: str | None = None
    storage_id: int | None = None
    job_name: str | None = None
    step_key: str | None = None
    attempt: int | None = None
    asset_key: str | None = None
    partition: str | None = None
    check_name: str | None = None
    trace_id: str | None = None
    release_id: str | None = None
    batch_id: str | None = None
    outcome: str | None = None
    reason_code: str | None = None
    source_digest: str | None = None
    data: dict[str, Json] = field(default_factory=dict)


EVENT_FIELDS: Final = tuple(f.name for f in fields(Event))
COLUMNS: Final = (
    "event_id",
    "event_type",
    "occurred_at",
    "recorded_at",
    *(n for n in EVENT_FIELDS if n not in {"event_type", "occurred_at", "source_digest", "data"}),
    "data",
    "source_digest",
)
"""The columns derived from an entry, in the order of a segment (which has `index` before, `entry` after)."""

_INTEGERS: Final = frozenset({"occurred_at", "recorded_at", "storage_id", "attempt"})
_SCALARS: Final = tuple(n for n in EVENT_FIELDS if n != "data")


def _time_id(occurred_at: int, digest: str) -> str:
    """Lay a time and a digest out as a UUID version 8 (RFC 9562 §5.8): sorts by time, deterministic.

    48 bits of milliseconds, then 74 bits of the SHA-256 of the identity.
    """
    ms = f"{occurred_at // 1000:012x}"
    variant = "89ab"[int(digest[3], 16) & 3]
    return f"{ms[:8]}-{ms[8:]}-8{digest[:3]}-{variant}{digest[4:7]}-{digest[7:19]}"


def source_event_id(store_id: str, run_id: str, storage_id: int, occurred_at: int) -> str:
    """Return the id of a record of the orchestrator's log: the same on every path and machine."""
    identity = f"{store_id}\0{run_id}\0{storage_id}".encode()
    return _time_id(occurred_at, hashlib.sha256(identity).hexdigest())


@dataclass(frozen=True, slots=True)
class Encoded:
    """An event as bytes: `entry` for the log, and the payload to keep beside it when it was too large."""

    event_id: str
    entry: bytes
    blob: bytes | None

    @property
    def blob_sha256(self) -> str | None:
        """The name of the payload under `blobs/`."""
        return None if self.blob is None else hashlib.sha256(self.blob).hexdigest()


def encode(event: Event, recorded_at: int) -> Encoded:
    """Give an event its id and its exact bytes; members that are `None` are left out.

    `recorded_at` is in microseconds. Raises `UsageError` when the event breaks the model.
    """
    _check(event, recorded_at)
    body: dict[str, Json] = {}
    for name in _SCALARS:
        value = getattr(event, name)
        if value is not None:
            body[name] = value if isinstance(value, int) else bounded(value)
    body["data"], blob = _inline_or_blob(event.data)
    if event.storage_id is not None:
        event_id = source_event_id(str(event.store_id), str(event.run_id), event.storage_id, event.occurred_at)
    else:
        event_id, body["source_digest"] = _own_identity(body, event.occurred_at)
    body["event_id"] = event_id
    body["recorded_at"] = recorded_at
    entry = canonical(body)
    if len(entry) > MAX_ENTRY_BYTES:
        raise UsageError(
            f"The event's own columns take {len(entry)} bytes; an entry has at most {MAX_ENTRY_BYTES}.",
            next_step="shorten its keys (asset_key, partition, step_key); only `data` may be large",
        )
    return Encoded(event_id, entry, blob)


def _inline_or_blob(data: dict[str, Json]) -> tuple[Json, bytes | None]:
    value = bounded(data)
    payload = canonical(value)
    if len(payload) <= MAX_DATA_BYTES:
        return value, None
    return {"blob_sha256": hashlib.sha256(payload).hexdigest(), "blob_size_bytes": len(payload)}, payload


def _own_identity(body: dict[str, Json], occurred_at: int) -> tuple[str, str]:
    digest = hashlib.sha256(canonical(body)).hexdigest()
    return _time_id(occurred_at, digest), digest


def _check(event: Event, recorded_at: int) -> None:
    problem = None
    if not _TYPE.fullmatch(event.event_type):
        problem = f"event_type {event.event_type!r} is not a dotted past-tense name with a version"
    elif not (0 <= event.occurred_at <= _MAX_US and 0 <= recorded_at <= _MAX_US):
        problem = f"occurred_at {event.occurred_at} or recorded_at {recorded_at} is not microseconds since 1970"
    elif event.outcome is not None and event.outcome not in OUTCOMES:
        problem = f"outcome {event.outcome!r} is not one of {', '.join(OUTCOMES)}"
    elif event.outcome not in {None, "passed"} and not event.reason_code:
        problem = f"outcome {event.outcome!r} needs a reason_code"
    elif event.storage_id is None and event.source_digest is not None:
        problem = "source_digest belongs to a record of the orchestrator (storage_id); the ledger makes its own"
    elif event.storage_id is not None and not (
        event.storage_id >= 0
        and event.store_id
        and event.run_id is not None
        and _DIGEST.fullmatch(event.source_digest or "")
    ):
        problem = "a record with a storage_id needs store_id, run_id and a SHA-256 source_digest"
    if problem:
        raise UsageError(f"This event cannot be recorded: {problem}.", next_step="see docs/format.md, Events")


@dataclass(frozen=True, slots=True)
class Row:
    """An entry and its `values`, the columns derived from it in the order of `COLUMNS`.

    Times are in microseconds, `data` is JSON text.
    """

    entry: bytes
    event_id: str
    source_digest: str
    values: tuple[str | int | None, ...]


def columns(entry: bytes) -> Row:
    """Derive the columns of one entry, strictly.

    Raises `IntegrityError` when the bytes are not a canonical event, have unknown members or a wrong
    type, or carry an event_id that does not follow from them.
    """
    if len(entry) > MAX_ENTRY_BYTES:
        raise IntegrityError(f"The entry has {len(entry)} bytes; at most {MAX_ENTRY_BYTES} are allowed.")
    try:
        body = parse_canonical(entry)
    except ValueError as error:
        raise IntegrityError(f"The entry is {error}.") from None
    _check_members(body)
    expected = _derived_id(body)
    if body["event_id"] != expected:
        raise IntegrityError(f"The entry says event_id {body['event_id']}; its content gives {expected}.")
    body["data"] = canonical(body["data"]).decode()
    values: Any = map(body.get, COLUMNS)  # `_check_members` has seen that each is a string or an integer
    return Row(entry, expected, str(body["source_digest"]), tuple(values))


def _check_members(body: dict[str, Json]) -> None:
    unknown = body.keys() - set(COLUMNS)
    missing = {"event_id", "event_type", "occurred_at", "recorded_at", "source_digest", "data"} - body.keys()
    if unknown or missing:
        raise IntegrityError(
            f"The entry's members are wrong: unknown {sorted(unknown)}, missing {sorted(missing)}."
        )
    for name, value in body.items():
        wanted = dict if name == "data" else int if name in _INTEGERS else str
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise IntegrityError(f"The entry's {name} is not {wanted.__name__}: {value!r}.")


def _derived_id(body: dict[str, Json]) -> str:
    occurred_at = body["occurred_at"]
    if not isinstance(occurred_at, int) or not 0 <= occurred_at <= _MAX_US:
        raise IntegrityError(f"The entry's occurred_at is out of range: {occurred_at!r}.")
    storage_id = body.get("storage_id")
    if isinstance(storage_id, int):
        return source_event_id(str(body.get("store_id")), str(body.get("run_id")), storage_id, occurred_at)
    content = {k: v for k, v in body.items() if k not in {"event_id", "recorded_at", "source_digest"}}
    event_id, digest = _own_identity(content, occurred_at)
    if body["source_digest"] != digest:
        raise IntegrityError(f"The entry says source_digest {body['source_digest']}; its content gives {digest}.")
    return event_id

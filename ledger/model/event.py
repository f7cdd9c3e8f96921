"""One event: what happened, its identity, and its exact bytes in the log.

An event is made once (`Event`), given the time it was recorded (`encode`), and from then on only its bytes
count: they are the leaf of the Merkle tree, and every column of a segment is derived from them (`columns`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from run_evidence.ledger.errors import IntegrityError, NewerSchemaError, UsageError
from run_evidence.ledger.model.canonical import MAX_INT, Json, bounded, canonical, parse_canonical
from run_evidence.ledger.model.names import digested, is_utf8
from run_evidence.ledger.model.schema import ADDED_IN, COLUMNS, STATED, VERSION, needed

MAX_ENTRY_BYTES: Final = 65_535
"""C2SP tlog-tiles gives an entry a 16-bit length; a larger payload goes beside the log (`blobs/`)."""

OUTCOMES: Final = ("passed", "warned", "skipped", "not_available", "not_evaluated", "unknown", "failed")
"""The verdicts from best to worst. `None` on an event means that the record itself states no outcome."""

MAX_DATA_BYTES: Final = 32_768
"""A `data` payload above this goes to `blobs/<sha256>`, so the rest of an entry always fits."""

MAX_TIME: Final = MAX_INT
"""The last moment an event can have, in microseconds: the year 2255. JSON has no larger exact integers."""

_MAX_ATTEMPT: Final = 2**31 - 1
_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_BLOB_KEY: Final = b'{"blob_sha256":'
BLOB_START: Final = _BLOB_KEY.decode()
"""How the text of `data` begins where the payload is kept outside the entry."""
BLOB_REFERENCE: Final = (
    r'\{"blob_sha256":"([0-9a-f]{64})","blob_size_bytes":[0-9]+'
    r'(?:,"blocking":(?:true|false))?(?:,"severity":"(?:ERROR|WARN)")?\}'
)
"""The whole text of such `data`, as a regular expression of Python's and of RE2's; its group is the digest."""
_BLOB = re.compile(BLOB_REFERENCE)
_STAYING: Final[Mapping[str, Mapping[str, tuple[Json, ...]]]] = {
    "check.evaluated.v1": {"blocking": (False, True), "severity": ("ERROR", "WARN")}
}
"""What a verdict needs of a record's data stays in its entry: by type, the members and the values they can have."""


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
INTEGERS: Final = frozenset({"occurred_at", "recorded_at", "storage_id", "attempt", STATED}) & frozenset(COLUMNS)
_TYPES: Final[dict[str, type]] = {
    name: int if name in INTEGERS else dict if name == "data" else str for name in COLUMNS
}
REQUIRED: Final = frozenset({"event_type", "occurred_at", "recorded_at", "data"})
# A batch id that becomes known during a run must not make a skip, which one path saw before and another
# after, into two skips: what an event is correlated with is no part of its identity.
_CORRELATION: Final = frozenset({"trace_id", "release_id", "batch_id"})
NO_IDENTITY: Final = _CORRELATION | {"event_id", "recorded_at", "source_digest", STATED}
"""The members that the identity of an event of the ledger's own does not depend on."""


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


def encode(event: Event, recorded_at: int, *, beside: bool = False) -> Encoded:
    """Give an event its id and its exact bytes; members that are `None` are left out.

    `recorded_at` is in microseconds. With `beside` the payload goes beside the log however small it is, where
    it can be erased. Raises `UsageError` when the event breaks the model; what is encoded can
    always be sealed.
    """
    body = _body(event, recorded_at)
    problem = broken_rule(body)
    if not problem and event.storage_id is None and event.source_digest is not None:
        problem = "source_digest belongs to a record of the orchestrator (storage_id); the ledger makes its own"
    if problem:
        raise UsageError(f"This event cannot be recorded: {problem}.", next_step="see docs/format.md, Events")
    staying = _STAYING.get(event.event_type, {}) if event.storage_id is not None else {}
    body["data"], blob = _inline_or_blob(event.data, staying, beside=beside)
    body["event_id"], body["source_digest"] = identity(body)
    entry = canonical(body)
    if len(entry) > MAX_ENTRY_BYTES:
        raise UsageError(
            f"The event's own columns take {len(entry)} bytes; an entry has at most {MAX_ENTRY_BYTES}.",
            next_step="shorten its keys (asset_key, partition, step_key); only `data` may be large",
        )
    return Encoded(event_id=str(body["event_id"]), entry=entry, blob=blob)


def _body(event: Event, recorded_at: int) -> dict[str, Any]:
    body: dict[str, Any] = {"recorded_at": recorded_at}
    for name in EVENT_FIELDS:
        value = getattr(event, name)
        if isinstance(value, str):
            text = str.__str__(value)  # the plain text of an enum's member, too
            body[name] = text if text.isascii() or is_utf8(text) else digested(text)
        elif isinstance(value, dict):
            body[name] = dict(value)
        elif value is not None:
            body[name] = value
    if (version := needed(body.keys())) > 1:
        body[STATED] = version
    return body


def _inline_or_blob(
    data: dict[str, Json], staying: Mapping[str, tuple[Json, ...]], *, beside: bool
) -> tuple[Json, bytes | None]:
    value = bounded(data)
    payload = canonical(value)
    # Data that names a blob of its own accord must not pass for ours, so it becomes one.
    if len(payload) <= MAX_DATA_BYTES and not beside and not payload.startswith(_BLOB_KEY):
        return value, None
    stays = {name: data[name] for name, values in staying.items() if _is_one_of(data.get(name), values)}
    return {"blob_sha256": hashlib.sha256(payload).hexdigest(), "blob_size_bytes": len(payload), **stays}, payload


def _is_one_of(value: Json, values: tuple[Json, ...]) -> bool:
    return any(type(value) is type(each) and value == each for each in values)  # 1 is equal to true


def identity(body: dict[str, Any]) -> tuple[str, str]:
    """Return (event_id, source_digest): a record's from where it was stored, an own event's from its content."""
    occurred_at = body["occurred_at"]
    storage_id = body.get("storage_id")
    if storage_id is not None:
        event_id = source_event_id(body["store_id"], body["run_id"], storage_id, occurred_at)
        return event_id, body["source_digest"]
    content = {name: value for name, value in body.items() if name not in NO_IDENTITY}
    digest = hashlib.sha256(canonical(content)).hexdigest()
    return _time_id(occurred_at, digest), digest


def broken_rule(body: Mapping[str, Any]) -> str | None:
    """Say what breaks the model, if anything does. One rule for both ways: what goes in also comes out."""
    for name, value in body.items():
        wanted = _TYPES.get(name)
        if type(value) is not wanted:  # by exact type: a bool is an int, and would be written as `true`
            return f"{name} is not {wanted.__name__}: {value!r:.200}" if wanted else f"unknown member {name!r:.200}"
    if missing := REQUIRED - body.keys():
        return f"{', '.join(sorted(missing))} is missing"
    if ADDED_IN and body.get(STATED, 1) != needed(body.keys()):
        return f"{STATED} is {body.get(STATED)}, its members need version {needed(body.keys())}"
    problem = None
    if not _TYPE.fullmatch(body["event_type"]):
        problem = f"event_type {body['event_type']!r:.200} is not a dotted past-tense name with a version"
    elif not (0 <= body["occurred_at"] <= MAX_TIME and 0 <= body["recorded_at"] <= MAX_TIME):
        problem = f"occurred_at {body['occurred_at']} or recorded_at {body['recorded_at']} is out of range"
    elif not 0 <= body.get("attempt", 0) <= _MAX_ATTEMPT:
        problem = f"attempt {body['attempt']} is out of range"
    return problem or _outcome_problem(body) or ("storage_id" in body and _record_problem(body)) or None


def _outcome_problem(body: Mapping[str, Any]) -> str | None:
    outcome = body.get("outcome")
    if outcome is None or outcome == "passed":
        return None
    if outcome not in OUTCOMES:
        return f"outcome {outcome!r:.200} is not one of {', '.join(OUTCOMES)}"
    return None if body.get("reason_code") else f"outcome {outcome!r} needs a reason_code"


def _record_problem(body: Mapping[str, Any]) -> str | None:
    store_id, run_id = body.get("store_id"), body.get("run_id")
    if not store_id or run_id is None or not _DIGEST.fullmatch(body.get("source_digest", "")):
        return "a record with a storage_id needs store_id, run_id and a SHA-256 source_digest"
    if "\0" in store_id or "\0" in run_id:
        return "store_id and run_id cannot hold a NUL, which keeps them apart in the event_id"
    if not 0 <= body["storage_id"] <= MAX_INT:
        return f"storage_id {body['storage_id']} is out of range"
    return None


Key = tuple[str, str, int] | str
"""What there is only one of: a record's (store_id, run_id, storage_id), or an own event's event_id."""


@dataclass(frozen=True, slots=True)
class Row:
    """An entry and its `values`, the columns derived from it in the order of `COLUMNS`.

    Times are in microseconds, `data` is JSON text.
    """

    entry: bytes
    key: Key
    event_id: str
    source_digest: str
    values: tuple[str | int | None, ...]


def decode_entry(entry: bytes) -> Row:
    """Derive the columns of one entry, strictly.

    Raises `IntegrityError` when the bytes are not a canonical event, break the model, or carry an event_id or
    a digest that does not follow from them; `NewerSchemaError` when they say a version this program does not know.
    """
    if len(entry) > MAX_ENTRY_BYTES:
        raise IntegrityError(f"The entry has {len(entry)} bytes; at most {MAX_ENTRY_BYTES} are allowed.")
    try:
        body: dict[str, Any] = parse_canonical(entry)
    except ValueError as error:
        raise IntegrityError(f"The entry is {error}.") from None
    if type(version := body.get(STATED)) is int and version > VERSION:
        raise NewerSchemaError("The entry", version, VERSION)
    if problem := broken_rule(body):
        raise IntegrityError(f"The entry breaks the model: {problem}.")
    event_id, digest = identity(body)
    if body.get("event_id") != event_id:
        raise IntegrityError(f"The entry says event_id {body.get('event_id')}; its content gives {event_id}.")
    if body.get("source_digest") != digest:
        raise IntegrityError(
            f"The entry says source_digest {body.get('source_digest')}; its content gives {digest}."
        )
    body["data"] = data_text(entry)
    values = tuple(map(body.get, COLUMNS))  # `broken_rule` has seen that each is a string or an integer
    key = (body["store_id"], body["run_id"], body["storage_id"]) if "storage_id" in body else event_id
    return Row(entry, key, event_id, digest, values)


def data_text(entry: bytes) -> str:
    """Return the JSON text of `data` as it stands in a canonical entry.

    Before it come only strings and an integer, after it `event_id` and more of these; quotes inside strings
    are escaped, so neither mark can be inside one.
    """
    return entry[entry.index(b'"data":{') + 7 : entry.rindex(b',"event_id":"')].decode()


def blob_name(data_text: str) -> str | None:
    """Return the SHA-256 under which an entry's payload lies in `blobs/`, `None` where it is in the entry."""
    match = data_text.startswith(BLOB_START) and _BLOB.fullmatch(data_text)
    return match[1] if match else None

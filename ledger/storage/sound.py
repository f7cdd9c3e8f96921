"""Whether many rows are what their entries say: `model.event.decode_entry`'s rules, for whole columns.

The columns of a row write its entry again, and it has to come out to the byte. As every text is escaped as JSON
escapes it and every payload is one canonical object, only the columns that follow from an entry write it; so
nothing has to be parsed but the payload. This way never tells what is wrong: where anything is not plainly right it
says no, and the caller asks `columns`, which names the entry and the reason.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from run_evidence.ledger.model.canonical import refuse_unbounded
from run_evidence.ledger.model.event import INTEGERS, MAX_ENTRY_BYTES, NO_IDENTITY, REQUIRED, broken_rule
from run_evidence.ledger.model.schema import ADDED_IN, COLUMNS, STATED
from run_evidence.ledger.storage.rows import texts_of

_ALWAYS: Final = REQUIRED | {"event_id", "source_digest"}
_BEFORE_DATA: Final = sorted(name for name in COLUMNS if name < "data")
_AFTER_DATA: Final = sorted(name for name in COLUMNS if name > "data")

_SOUND: Final[Mapping[str, Any]] = {"event_type": "rule.held.v1", "occurred_at": 0, "recorded_at": 0, "data": {}}
"""The members an event must have, so that a rule about others can be held against them alone."""

_ID_CHARACTERS: Final = 36
_DIGEST_CHARACTERS: Final = 64
_HEX: Final = b"0123456789abcdef"
_VARIANT: Final = bytes.maketrans(_HEX, b"89ab" * 4)

_PAYLOADS: Final = 32
"""Payloads that are written together: few enough that they stay in the processor's cache."""

_NULL_IF_ONE_IS: Final = pc.JoinOptions("emit_null")
_MEMBERS_LEFT_OUT: Final = pc.JoinOptions("replace", "")
_AS_JSON: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_ESCAPED: Final = (b'"', b"\\")
_FIRST_PRINTABLE: Final = 0x20
_FIRST_BEYOND_ASCII: Final = 0x80


def are_sound(rows: pa.RecordBatch) -> bool:
    """Tell whether the columns of these rows (all of `SCHEMA` but `index`) are what `columns` makes of each entry.

    False means undecided: fall back to `decode_entry`, which names the fault if there is one.
    """
    try:
        return (
            not any(rows.column(name).null_count for name in [*_ALWAYS, "entry"])
            and _max(pc.binary_length(rows.column("entry"))) <= MAX_ENTRY_BYTES
            and _written(rows).equals(rows.column("entry"))
            and _are_payloads(rows.column("data"))
            and not any(map(broken_rule, _representatives(rows)))
            and _ids_follow(rows)
        )
    except (ValueError, TypeError, RecursionError, msgspec.MsgspecError, pa.ArrowException):
        return False


def _max(numbers: pa.Array) -> int:
    return pc.max(numbers).as_py() or 0


def _written(rows: pa.RecordBatch, leaving_out: Collection[str] = ()) -> pa.Array:
    """Return the canonical JSON that each row's columns give, without some of the members."""
    parts: list[pa.Array | bytes] = [b"{"]
    for name in _BEFORE_DATA:
        if name not in leaving_out:
            parts += _member(b'"%b":' % name.encode(), rows.column(name), b",")
    parts += [b'"data":', rows.column("data").view(pa.binary())]
    for name in _AFTER_DATA:
        if name not in leaving_out:
            parts += _member(b',"%b":' % name.encode(), rows.column(name), b"")
    return _joined([*parts, b"}"], _MEMBERS_LEFT_OUT)


def _member(before: bytes, column: pa.Array, after: bytes) -> list[pa.Array | bytes]:
    """Return what a member looks like, in parts; where the column has no value it is left out."""
    if column.null_count == len(column):
        return []
    if pa.types.is_string(column.type):
        parts = [before + b'"', _escaped(column), b'"' + after]
    else:
        parts = [before, _decimal(column), after]
    return [_joined(parts)] if column.null_count else parts


def _joined(parts: Sequence[pa.Array | bytes], nulls: pc.JoinOptions = _NULL_IF_ONE_IS) -> pa.Array:
    """Put parts behind each other, row by row."""
    joined: list[pa.Array | bytes] = []
    for part in parts:
        if isinstance(part, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += part
        else:
            joined.append(part)
    return pc.binary_join_element_wise(*(_binary(part) for part in [*joined, b""]), options=nulls)


def _binary(part: pa.Array | bytes) -> pa.Array | pa.Scalar:
    return pa.scalar(part, pa.binary()) if isinstance(part, bytes) else part


def _decimal(column: pa.Array) -> pa.Array:
    number = column.view(pa.int64()) if pa.types.is_timestamp(column.type) else column
    return number.cast(pa.string()).view(pa.binary())


def _escaped(column: pa.Array) -> pa.Array:
    """Return texts as they stand between the quotes of JSON. Raises `ValueError` or Arrow's error if not UTF-8."""
    text = texts_of(column)
    if len(text) == 0:
        return column.view(pa.binary())
    low, high = pc.min_max(pa.Array.from_buffers(pa.uint8(), len(text), [None, text])).as_py().values()
    if high >= _FIRST_BEYOND_ASCII:
        column.validate(full=True)
    if low >= _FIRST_PRINTABLE and not any(mark in text.to_pybytes() for mark in _ESCAPED):
        return column.view(pa.binary())
    written = (None if value is None else orjson.dumps(value)[1:-1] for value in column.to_pylist())
    return pa.array(written, pa.binary())


def _are_payloads(column: pa.Array) -> bool:
    """Tell whether each is the canonical JSON of an object within bounds; what is not JSON at all raises."""
    data = column.view(pa.binary())
    if not pc.all(pc.starts_with(data, "{"), min_count=0).as_py():
        return False
    texts = data.to_pylist()
    for start in range(0, len(texts), _PAYLOADS):
        several = texts[start : start + _PAYLOADS]
        # Each is JSON by itself, so none can begin where the one before has not ended: if all of them are written
        # alike, each is. In a list they lie as deep as in their entries, where orjson has to write them, too.
        if orjson.dumps(list(map(_decode, several)), None, _AS_JSON) != b"[%b]" % b",".join(several):
            return False
    for text in texts:
        if not text.isascii():
            refuse_unbounded(_decode(text), all_ascii=False)
    return True


def _refuse(_float: str) -> None:
    raise ValueError


_decode: Final = msgspec.json.Decoder(float_hook=_refuse).decode


def _representatives(rows: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield events that break a rule of the model if one of the entries does: equal ones are checked once."""
    for name in sorted(INTEGERS):
        column = rows.column(name)
        number = column.view(pa.int64()) if pa.types.is_timestamp(column.type) else column
        about = _record("store", "run") if name == "storage_id" else {}
        for value in pc.min_max(number).as_py().values():
            if value is not None:
                yield {**_SOUND, **about, name: value}
    for combination in _distinct(rows, ["event_type", "outcome", "reason_code"]):
        yield {**_SOUND, **{name: value for name, value in combination.items() if value is not None}}
    if ADDED_IN:
        yield from _of_versions(rows)
    are_records = rows.column("storage_id").is_valid()
    for place in _distinct(rows.select(["store_id", "run_id"]).filter(are_records), ["store_id", "run_id"]):
        yield {**_SOUND, **_record(place["store_id"], place["run_id"])}


def _of_versions(rows: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield an event for each combination of a stated version and the members later versions added."""
    present = {name: rows.column(name).is_valid() for name in ADDED_IN}
    asked = pa.record_batch([rows.column(STATED), *present.values()], names=[STATED, *present])
    for each in _distinct(asked, asked.schema.names):
        version = each.pop(STATED)
        members = {name: 0 if name in INTEGERS else "" for name, there in each.items() if there}
        yield {**_SOUND, **members, **({} if version is None else {STATED: version})}


def _distinct(rows: pa.RecordBatch, names: list[str]) -> list[dict[str, Any]]:
    return list(
        pa.Table.from_batches([rows.select(names)]).group_by(names, use_threads=False).aggregate([]).to_pylist()
    )


def _record(store: str | None, run: str | None) -> dict[str, Any]:
    """Return the members of a record; one without a store or a run has `None` there, which breaks a rule."""
    return {"store_id": store, "run_id": run, "storage_id": 0, "source_digest": "0" * _DIGEST_CHARACTERS}


def _ids_follow(rows: pa.RecordBatch) -> bool:
    """Tell whether each event_id and each source_digest is the one that follows from the other columns."""
    stated = _of_width(rows.column("source_digest"), _DIGEST_CHARACTERS)
    if stated.translate(None, _HEX):
        return False
    own = rows.column("storage_id").is_null()
    store, run = (rows.column(name).view(pa.binary()) for name in ("store_id", "run_id"))
    places = _joined([store, b"\0", run, b"\0", _decimal(rows.column("storage_id"))])
    contents = iter(_written(rows.filter(own), NO_IDENTITY).to_pylist())
    identities = [next(contents) if place is None else place for place in places.to_pylist()]
    digests = b"".join([sha256(identity).digest() for identity in identities]).hex().encode()
    for number in pc.indices_nonzero(own).to_pylist():
        digest = slice(number * _DIGEST_CHARACTERS, (number + 1) * _DIGEST_CHARACTERS)
        if stated[digest] != digests[digest]:
            return False
    return _are_time_ids(rows.column("event_id"), rows.column("occurred_at"), digests)


def _are_time_ids(ids: pa.Array, occurred_at: pa.Array, digests: bytes) -> bool:
    """Tell whether ids are what `event._time_id` makes of times and digests: one comparison for each character."""
    moments = array("q", pc.divide(occurred_at.view(pa.int64()), 1000).to_pylist())
    if sys.byteorder == "little":
        moments.byteswap()
    times = moments.tobytes().hex().encode()
    milliseconds = [times[i::16] for i in range(4, 16)]
    digest = [digests[i::_DIGEST_CHARACTERS] for i in range(19)]
    dash, version, variant = b"-" * len(ids), b"8" * len(ids), digest[3].translate(_VARIANT)
    expected = [*milliseconds[:8], dash, *milliseconds[8:], dash, version, *digest[:3]]
    expected += [dash, variant, *digest[4:7], dash, *digest[7:]]
    text = _of_width(ids, _ID_CHARACTERS)
    return [text[i::_ID_CHARACTERS] for i in range(_ID_CHARACTERS)] == expected


def _of_width(column: pa.Array, width: int) -> bytes:
    """Return all texts of a column, one behind the other; raises `ValueError` if one has another length."""
    lengths = pc.min_max(pc.binary_length(column)).as_py().values()
    if set(lengths) - {width, None}:
        raise ValueError
    text: bytes = texts_of(column).to_pybytes()
    return text

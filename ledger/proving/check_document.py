"""Holding a document against the entries it says it rests on.

Any JSON document: wherever it names an `event_id`, or an `entry` by its index, the entry has to be proved, and
what stands beside it under the name of one of the entry's columns has to be what the entry says; of a correction,
who made it, why, of what and to what, too. An object with a `basis` rests on several entries, and what it says has
to be in a derivation (`outcomes.derived.v1`) that is proved too. What a document counts or concludes is not
compared here: it is derived again from the same entries (`ledger report`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.model.json_bytes import parse_json, sorted_json
from run_evidence.ledger.model.schema import COLUMNS
from run_evidence.ledger.model.times import rfc3339

_TIMES: Final = frozenset({"occurred_at", "recorded_at"})
_ACTIONS: Final = {"event.amended.v1": "amended", "event.voided.v1": "voided"}
_SAID_BY_CORRECTIONS: Final = ("actor", "reason", "changes")
_DERIVED: Final = (
    "asset_key",
    "partition",
    "check_name",
    "kind",
    "required",
    "outcome",
    "verdict",
    "reason_code",
    "reason",
    "attempts",
    "step_key",
)


def read_document(document: bytes) -> dict[str, Any]:
    """Return the JSON object a document is. Raises: IntegrityError when it is none."""
    try:
        value = parse_json(document)
    except ValueError as error:
        raise IntegrityError(f"the document is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise IntegrityError("the document is JSON, but not an object")
    return value


def objects_in(value: object, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a JSON value with the path to it, the outermost first, however deep they lie."""
    waiting = [(path, value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, dict):
            yield path, item
            inside = [(f"{path}.{name}", each) for name, each in item.items()]
        elif isinstance(item, list):
            inside = [(f"{path}[{position}]", each) for position, each in enumerate(item)]
        else:
            continue
        waiting.extend(reversed(inside))


def number(value: object) -> int:
    """Return an integer of an event's data; 0 for anything else, as where it is missing."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def named_checkpoint(document: Mapping[str, Any]) -> tuple[str, int, bytes] | None:
    """Return (origin, size, root) of the checkpoint a document says it was derived at, `None` if it names none.

    Raises: IntegrityError when it names one in a form that cannot be compared.
    """
    provenance = document.get("provenance")
    if provenance is None:
        return None
    stated = provenance.get("checkpoint") if isinstance(provenance, Mapping) else provenance
    if stated is None:
        return None
    try:
        origin, size, root = stated["origin"], stated["size"], bytes.fromhex(stated["root_sha256"])
    except (KeyError, TypeError, ValueError):
        origin = None
    if not isinstance(origin, str) or type(size) is not int or size < 0:
        raise IntegrityError(f"$.provenance.checkpoint is no checkpoint: {stated!r:.200}")
    return origin, size, root


def compare_document(
    document: bytes, entries: Mapping[int, dict[str, Any]], origin: str, roots: Mapping[int, bytes]
) -> tuple[int, list[str]]:
    """Compare a document with proven entries by index; returns how many statements were held against one.

    `roots` are the checkpoints the proof reaches, by size. The second value says what nothing was compared with.

    Raises: IntegrityError naming the place in the document, the entry, what was expected and what is there.
    """
    body = read_document(document)
    notes = []
    stated = named_checkpoint(body)
    if stated is None:
        notes.append("the document names no checkpoint")
    elif stated[0] != origin or roots.get(stated[1]) != stated[2]:
        raise IntegrityError(
            f"$.provenance.checkpoint is {stated[1]} entries of {stated[0]}, root {stated[2].hex()}; "
            "the proof does not lead there"
        )
    derived = _latest_derivation(entries.values())
    if derived is None and body.get("kind") == "interim":
        notes.append("the document is interim: what became of its items is derived anew, and was not compared")
    of_items = None if derived is None and body.get("kind") == "interim" else _Derived(derived or [])
    by_id = {str(event["event_id"]): (index, event) for index, event in entries.items()}
    return sum(_compare(path, item, entries, by_id, of_items) for path, item in objects_in(body)), notes


def _compare(
    path: str,
    item: Mapping[str, Any],
    entries: Mapping[int, dict[str, Any]],
    by_id: Mapping[str, tuple[int, dict[str, Any]]],
    derived: _Derived | None,
) -> int:
    """Compare one object with what it names; without `derived` the items of an open run are compared with none."""
    compared, basis = 0, item.get("basis")
    if isinstance(item.get("event_id"), str):
        compared += _compare_event(path, item, by_id)
    elif type(index := item.get("entry")) is int:
        if index not in entries:
            raise IntegrityError(f"{path} rests on entry {index}, which is not in the proof")
        compared += _compare_entry(path, item, index, entries[index])
    if isinstance(basis, list):
        compared += sum(_compare_event(path, {"event_id": each}, by_id) for each in basis if isinstance(each, str))
        compared += _compare_derived(path, item, derived) if derived is not None else 0
    return compared


def _latest_derivation(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    """Return what the proven derivations say, of each run the highest revision; `None` where none is proven."""
    parts = [event for event in events if event["event_type"] == "outcomes.derived.v1"]
    if not parts:
        return None
    newest: dict[object, int] = {}
    for part in parts:
        run, revision = part.get("run_id"), number(part["data"].get("revision"))
        newest[run] = max(newest.get(run, revision), revision)
    current = [part["data"] for part in parts if number(part["data"].get("revision")) == newest[part.get("run_id")]]
    listed = (data.get("outcomes") for data in current)
    found = (outcome for outcomes in listed if isinstance(outcomes, list) for outcome in outcomes)
    return [outcome for outcome in found if isinstance(outcome, Mapping)]


def _compare_event(path: str, item: Mapping[str, Any], by_id: Mapping[str, tuple[int, dict[str, Any]]]) -> int:
    found = by_id.get(item["event_id"])
    if found is None:
        raise IntegrityError(f"{path} rests on event {item['event_id']}, which is not in the proof")
    index, event = found
    if item.get("index", index) != index:
        raise IntegrityError(f"{path}.index is {item['index']}, the entry is at {index}")
    return _compare_entry(path, item, index, event)


def _compare_entry(path: str, item: Mapping[str, Any], index: int, event: Mapping[str, Any]) -> int:
    compared = 1
    says = {name: event.get(name) for name in COLUMNS if name not in {"event_id", "data"}} | _correction(event)
    for name in says.keys() & item.keys():
        entry_says = _spelled(name, says[name])
        if item[name] not in (entry_says, says[name]):
            raise IntegrityError(f"{path}.{name} is {item[name]!r:.200}, entry {index} says {entry_says!r:.200}")
        compared += 1
    target = item.get("target")
    if isinstance(target, dict) and target.get("event_id") != _data(event).get("target_event_id"):
        raise IntegrityError(f"{path}.target is {target!r:.200}, entry {index} says {_data(event)!r:.200}")
    return compared


def _correction(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a document may say of a correction; nothing where it is none, or its payload is kept outside."""
    data = _data(event)
    if event["event_type"] not in _ACTIONS or "actor" not in data:
        return {}
    return {"action": _ACTIONS[event["event_type"]], **{name: data.get(name) for name in _SAID_BY_CORRECTIONS}}


def _data(event: Mapping[str, Any]) -> Mapping[str, Any]:
    data: Mapping[str, Any] = event["data"]
    return data


def _compare_derived(path: str, item: Mapping[str, Any], derived: _Derived) -> int:
    names = [name for name in _DERIVED if name in item]
    if not derived.say(names, [item[name] for name in names]):
        said = ", ".join(f"{name} {item[name]!r}" for name in names)
        raise IntegrityError(f"{path} says {said:.500}; no derivation in the proof says so")
    return 1


class _Derived:
    """The outcomes of proven derivations, to be asked for many items."""

    def __init__(self, outcomes: Sequence[Mapping[str, Any]]) -> None:
        self._outcomes = outcomes
        self._said: dict[tuple[str, ...], set[bytes]] = {}

    def say(self, names: Sequence[str], values: Sequence[Any]) -> bool:
        """Tell whether one of the outcomes has these values, texts and numbers, under these names."""
        key = tuple(names)
        if key not in self._said:
            self._said[key] = {sorted_json([outcome.get(name) for name in key]) for outcome in self._outcomes}
        try:
            return sorted_json(list(values)) in self._said[key]
        except ValueError:  # an untrusted document has what no event can have
            return False


def _spelled(name: str, value: Any) -> Any:
    """Write a time as documents do; everything else stays what it is."""
    if name not in _TIMES:
        return value
    return rfc3339(int(value), "microseconds")

"""Redaction: secrets are taken out of an event before it is hashed, and the event says that they were.

Once sealed an entry cannot be changed, so a password that got in would be there for ever. What is looked for:
secrets of known forms (`forms`), values whose names say that they are secret (`assignments`), and whatever the
ledger's own `redaction.json` declares. A secret in another form is not found: redaction is a net, not a promise
(docs/redaction.md).

In a text a secret becomes `[redacted]`. In a name (of an asset, a partition, a label …) it becomes `[redacted:…]`
with a keyed digest, because two different names never become one.

Every append comes through here: no more is imported than RE2, orjson and the standard library.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Final

import orjson

from run_evidence.ledger.model.canonical import MAX_DEPTH, plain_text
from run_evidence.ledger.model.event import Event
from run_evidence.ledger.redaction.find import Pattern, find_secrets, plain_letters, suspicious

MASK: Final = "[redacted]"
MARK: Final = "redacted"
"""The member of `data` that names the kinds of secrets that were taken out."""

NAME_COLUMNS: Final = (
    "job_name",
    "step_key",
    "asset_key",
    "partition",
    "check_name",
    "trace_id",
    "release_id",
    "batch_id",
)
_NAME_MEMBERS: Final = frozenset({*NAME_COLUMNS, "label", "after", "partition_keys"})
"""Members of `data` whose values are names: in plans, outcomes, corrections, metadata and sets of partitions."""

_DAGSTERS_OWN: Final = "dagster/"
"""How tags begin whose values are names, such as `dagster/partition`."""

_TELLS_NAME: Final = frozenset({"label", "name", "key", "parameterkey", "option", "variable"})
_TELLS_VALUE: Final = frozenset({"value", "val", "default", "parametervalue"})
_MAX_ROUNDS: Final = 8
_SHORTENED: Final = "…sha256:"

_texts_of: Final = attrgetter(*NAME_COLUMNS, "reason_code")


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is taken out, and which events' payloads are kept outside their entries because they are personal.

    `declared` are a ledger's own patterns by name; `personal` are glob patterns on the asset keys of records.
    `name_digest` returns the keyed digest of a secret in a name; without it names are masked as texts are, which
    does not keep them apart.
    """

    declared: tuple[tuple[str, Pattern], ...] = ()
    personal: tuple[str, ...] = ()
    name_digest: Callable[[str], str] | None = None

    def apply(self, event: Event) -> Event:
        """Return the event without its secrets; the same object when it has none.

        Applied again it changes nothing. Cost: about 2 ns a byte and 5 µs when nothing looks like a secret.
        Raises: EnvironmentFault when a name has a secret and the key for such names cannot be had.
        """
        if not self.declared and not suspicious(looked_at(event)):
            return event
        cleaning = _Cleaning(self)
        data = cleaning.object(event.data, MAX_DEPTH)
        changed: dict[str, Any] = {
            name: cleaning.name(str(value)) for name in NAME_COLUMNS if (value := getattr(event, name)) is not None
        }
        if event.reason_code is not None:
            changed["reason_code"] = cleaning.text(str(event.reason_code))
        if not cleaning.found:
            return event
        before = event.data.get(MARK)
        marks = {each for each in before if isinstance(each, str)} if isinstance(before, list) else set()
        return replace(event, data={**data, MARK: [*sorted(cleaning.found | marks)]}, **changed)

    def is_personal(self, event: Event) -> bool:
        """Return whether an event's payload is kept outside its entry, where it can be erased."""
        key = event.asset_key if event.storage_id is not None else None
        return key is not None and any(fnmatch.fnmatchcase(key, pattern) for pattern in self.personal)

    @property
    def unkeyed(self) -> Redaction:
        """The same, with names masked as texts are: how they were recorded by versions without the key."""
        return Redaction(self.declared, self.personal)


class _Cleaning:
    """One event's cleaning; `found` are the kinds of secrets that were taken out."""

    def __init__(self, how: Redaction) -> None:
        self._how = how
        self.found: set[str] = set()

    def object(self, value: Mapping[Any, Any], room: int) -> dict[Any, Any]:
        """Clean every member; one whose name says that it is a secret goes as a whole, whatever it looks like.

        So does a member whose name says so once a secret was taken out of it.
        """
        cleaned: dict[Any, Any] = {}
        told = next((v for k, v in value.items() if isinstance(v, str) and _lower(k) in _TELLS_NAME), None)
        left_of_told = None if told is None else self.text(told)
        for key, item in value.items():
            name = self._key(key, cleaned)
            by_told = told is not None and _lower(key) in _TELLS_VALUE
            says, left = (told, left_of_told) if by_told else (key, name)
            if self._is_secret(says, item) or (left != says and self._is_secret(left, item)):
                self.found.add("named_secret")
                cleaned[name] = MASK
            elif key in _NAME_MEMBERS or (isinstance(key, str) and key.startswith(_DAGSTERS_OWN)):
                cleaned[name] = self._names(item, room)
            else:
                cleaned[name] = self._value(item, room)
        return cleaned

    def _key(self, key: Any, taken: Mapping[Any, Any]) -> Any:
        text = key if isinstance(key, str) else plain_text(key)
        name: Any = self.name(text)
        if name == text:
            name = key
        while name in taken:  # somebody wrote a key like one that redaction makes
            name = f"{name}'"
        return name

    def _is_secret(self, name: Any, value: Any) -> bool:
        from run_evidence.ledger.redaction.assignments import is_login, is_secret_name, is_secret_value

        if not isinstance(name, str):
            return False
        name = plain_letters(name)
        return (is_secret_name(name) and is_secret_value(name, value)) or is_login(name, value)

    def _value(self, value: Any, room: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if room and isinstance(value, Mapping):
            return self.object(value, room - 1)
        if room and isinstance(value, list | tuple):
            return self._list(value, room - 1)
        if value is None or isinstance(value, bool | int | float):
            return value
        text = plain_text(value)
        cleaned = self.text(text)
        return value if cleaned == text else cleaned

    def _list(self, value: list[Any] | tuple[Any, ...], room: int) -> list[Any]:
        """Clean every item; the one after an option such as `--password` is a secret."""
        cleaned: list[Any] = []
        option: Any = None
        for item in value:
            if isinstance(option, str) and option[:1] == "-" and isinstance(item, str) and item[:1] != "-":
                secret = self._is_secret(option, item)
            else:
                secret = False
            if secret:
                self.found.add("named_secret")
            cleaned.append(MASK if secret else self._value(item, room))
            option = item
        return cleaned

    def _names(self, value: Any, room: int) -> Any:
        if isinstance(value, str):
            return self.name(value)
        if room and isinstance(value, list | tuple):
            return [self._names(item, room - 1) for item in value]
        return self._value(value, room)

    def text(self, text: str) -> str:
        """Return the text with a mask for each secret."""
        return self._without_secrets(text, lambda _: MASK)

    def name(self, name: str) -> str:
        """Return the name with each secret masked by its digest, so that two names stay two."""
        digest = self._how.name_digest
        if digest is None:
            return self.text(name)
        cleaned = self._without_secrets(name, lambda secret: f"[redacted:{digest(secret)}]")
        # The digest of a name that was shortened is of all of it, secrets too, and anybody can calculate it.
        if cleaned != name and len(name) > len(_SHORTENED) + 64 and name[-72:-64] == _SHORTENED:
            start = cleaned.rfind(_SHORTENED)
            if start >= 0:
                cleaned = f"{cleaned[:start]}…[redacted:{digest(name[-72:])}]"
        return cleaned

    def _without_secrets(self, text: str, mask: Any) -> str:
        for _ in range(_MAX_ROUNDS):
            found = find_secrets(text, self._how.declared)
            if not found:
                return text
            pieces: list[str] = []
            done = 0
            for first, last, kind in found:
                pieces += [text[done:first], mask(text[first:last])]
                done = last
                self.found.add(kind)
            text = "".join(pieces) + text[done:]
        return str(mask(text))


def _lower(key: Any) -> str:
    return key.lower() if isinstance(key, str) else ""


def looked_at(event: Event) -> bytes:
    """Return all of an event that may hold a secret, as one text for `suspicious`."""
    texts = _texts_of(event)
    try:
        return orjson.dumps((event.data, texts))
    except (TypeError, ValueError):  # something that `bounded` will make text of: look at what that is
        return repr([event.data, texts]).encode("utf-8", "surrogatepass")

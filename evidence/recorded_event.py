"""One event of a run as it was recorded, and what can be read from its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Measured:
    """A metadata entry as recorded: a float is decimal text, a structure JSON text; `kind` tells which."""

    label: str
    kind: str
    value: bool | int | str | None

    def plain(self) -> Any:
        """Return the value as JSON has it: structures parsed, floats as numbers where JSON has such a number."""
        if isinstance(self.value, str) and self.kind in {"json", "float"}:
            try:
                return orjson.loads(self.value)
            except orjson.JSONDecodeError:
                return self.value  # 'inf' and 'nan' are no JSON numbers
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event of a run. `index` is `None` while it is unsealed; `payload` names data kept beside the log.

    `payload_state` says what became of that: `kept`, `erased` on record, or `gone`, which nothing here explains.
    """

    index: int | None
    event_id: str
    event_type: str
    occurred_at: int
    step_key: str | None = None
    attempt: int | None = None
    asset_key: str | None = None
    partition: str | None = None
    check_name: str | None = None
    outcome: str | None = None
    reason_code: str | None = None
    data: Mapping[str, Any]
    payload: str | None = None
    payload_state: str | None = None

    @property
    def name(self) -> str:
        """What it is called where it is listed: its type, and what it is about."""
        about = self.asset_key or self.step_key
        subject = f"{self.check_name} of {about}" if self.check_name else about
        return f"{self.event_type} of {subject}" if subject else self.event_type

    @property
    def metadata(self) -> tuple[Measured, ...]:
        """What was measured, in the order recorded."""
        return tuple(Measured(m["label"], m["type"], m["value"]) for m in self.data.get("metadata") or ())

    def measured(self, label: str) -> Any:
        """Return one measured value as JSON has it, `None` when it was not measured."""
        return next((m.plain() for m in self.metadata if m.label == label), None)

    @property
    def reason_codes(self) -> tuple[str, ...]:
        """The reason codes that the user's code gave as metadata (`reason_codes`, a JSON list of text)."""
        codes = self.measured("reason_codes")
        return tuple(c for c in codes if isinstance(c, str) and c) if isinstance(codes, list) else ()

    @property
    def findings(self) -> str:
        """A check's description and the numbers it measured, in one line."""
        numbers = [f"{m.label}={m.value}" for m in self.metadata if m.kind in {"int", "float", "bool"}]
        described = str(self.data.get("description") or "").partition("\n")[0]
        return "; ".join(filter(None, [described, ", ".join(numbers)]))

    @property
    def _cause(self) -> Mapping[str, Any]:
        error: Mapping[str, Any] = self.data.get("error") or {}
        return error.get("cause") or error

    @property
    def error_class(self) -> str | None:
        """The class of the error that caused it."""
        return self._cause.get("class")

    @property
    def message(self) -> str:
        """What it says in words: the user's description, the error that caused it, or Dagster's message."""
        for words in (self.data.get("description"), self.data.get("text"), self._cause.get("message")):
            if words:
                return str(words).strip()
        return str(self.data.get("message") or "").strip()

    @property
    def words(self) -> str:
        """The message for a person: after an error's class, unless the user put it in words of his own."""
        described = self.data.get("description") or not self.error_class or not self._cause.get("message")
        return self.message if described else f"{self.error_class}: {self.message}"

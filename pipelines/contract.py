"""Data contracts: JSON Schema as it is shipped, compiled once into rules that name every breach of a record.

What is understood of JSON Schema is what the contracts in `pipelines/contracts` use; any other keyword is refused
when a contract is compiled, for a rule that nobody holds looks like one that holds. `x-normalized` is our own: a
text in this Unicode form, so that one identifier has one spelling.

Source: JSON Schema 2020-12; RFC 3339 for the format `date-time`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from pipelines.partitions import parse_instant
from pipelines.strict_json import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONTRACTS: Final = Path(__file__).parent / "contracts"
_NOT_BLANK: Final = r"\S"
_ANNOTATIONS: Final = {"$schema", "$id", "title", "description"}
_OF_A_RECORD: Final = {"type", "required", "additionalProperties", "properties"}
_OF_A_FIELD: Final = {"type", "enum", "pattern", "maxLength", "format", "items", "x-normalized"}
_QUOTED_LENGTH: Final = 40

BreachCode = Literal[
    "missing", "null", "unknown_field", "wrong_type", "not_allowed", "malformed", "too_long", "not_normalized"
]
_Breach = tuple[BreachCode, str]


@dataclass(frozen=True, slots=True)
class Violation:
    """One breach of the contract. `code` is stable; `text` is for a person."""

    field: str
    code: BreachCode | Literal["repeated", "in_future"]
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What one field may hold."""

    kind: Literal["text", "texts", "instant", "flag"]
    required: bool
    nullable: bool
    choices: tuple[str, ...]
    pattern: str | None
    matching: re.Pattern[str] | None
    max_length: int | None
    normal_form: Literal["NFC"] | None

    def as_type(self) -> Any:
        """Return a type that admits what the rule admits; of a time any text, and of a normal form any."""
        kinds: dict[str, Any] = {"flag": bool, "texts": list[str], "instant": str, "text": str}
        found = kinds[self.kind]
        if self.choices:
            found = Literal[self.choices]
        elif self.kind == "text":
            pattern = self.matching.pattern if self.matching else None
            found = Annotated[str, msgspec.Meta(pattern=pattern, max_length=self.max_length)]
        return found | None if self.nullable else found

    def breach(self, value: object) -> _Breach | None:
        """Hold one value, not null, against the rule."""
        if self.kind == "flag":
            return None if isinstance(value, bool) else ("wrong_type", "expected true or false")
        if self.kind == "texts":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                return "wrong_type", "expected a list of texts"
            return None
        if not isinstance(value, str):
            return "wrong_type", f"expected a text, got a {type(value).__name__}"
        if self.kind == "instant":
            expected = "expected an RFC 3339 time with an offset"
            return None if parse_instant(value) else ("malformed", f"{expected}, got {_quoted(value)}")
        return self._text_breach(value)

    def _text_breach(self, value: str) -> _Breach | None:
        if self.choices and value not in self.choices:
            return "not_allowed", f"expected one of {', '.join(self.choices)}, got {_quoted(value)}"
        if self.matching and not self.matching.search(value):
            expected = "must not be empty" if self.pattern == _NOT_BLANK else f"expected {self.pattern}"
            return "malformed", f"{expected}, got {_quoted(value)}"
        if self.max_length is not None and len(value) > self.max_length:
            return "too_long", f"at most {self.max_length} characters, got {len(value)}"
        if self.normal_form and not unicodedata.is_normalized(self.normal_form, value):
            return "not_normalized", f"expected Unicode in {self.normal_form}, got {value[:_QUOTED_LENGTH]!a}"
        return None


@dataclass(frozen=True, slots=True)
class Contract:
    """A compiled contract: the rules of its fields, in its order."""

    title: str
    fields: Mapping[str, FieldRule]
    _struct: type = field(init=False, repr=False, compare=False)
    _normalized: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the rules once more, for `surely_holds`."""
        members = [
            (name, rule.as_type(), *(() if rule.required else (None,))) for name, rule in self.fields.items()
        ]
        struct = msgspec.defstruct("Record", sorted(members, key=len), forbid_unknown_fields=True)
        object.__setattr__(self, "_struct", struct)
        normalized = tuple(name for name, rule in self.fields.items() if rule.normal_form)
        object.__setattr__(self, "_normalized", normalized)

    def surely_holds(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record obeys every rule but those of times, ten times as fast as `violations`.

        False means undecided: `violations` names what is wrong, if anything is.
        """
        try:
            msgspec.convert(record, self._struct)
        except msgspec.ValidationError:
            return False
        for name in self._normalized:
            text = record.get(name)
            if text is not None and not text.isascii() and not unicodedata.is_normalized("NFC", text):
                return False
        return True

    @property
    def required(self) -> tuple[str, ...]:
        """The fields that must be there, in the contract's order."""
        return tuple(name for name, rule in self.fields.items() if rule.required)

    def violations(self, record: Mapping[str, Any]) -> Iterator[Violation]:
        """Find every breach, in the contract's order, then the unknown fields by name."""
        for name, rule in self.fields.items():
            if name not in record:
                if rule.required:
                    yield Violation(name, "missing", "required, but not there")
            elif record[name] is None:
                if not rule.nullable:
                    yield Violation(name, "null", "must not be null")
            elif breach := rule.breach(record[name]):
                yield Violation(name, *breach)
        for name in sorted(record.keys() - self.fields.keys()):
            yield Violation(printable(name), "unknown_field", f"not a field of {self.title}")


class UnknownRuleError(ValueError):
    """A shipped contract has a keyword that is not compiled, so that its rule would not be held."""


def load_contract(file_name: str) -> Contract:
    """Compile a contract of `pipelines/contracts`. Raises: UnknownRuleError."""
    return compile_contract(json.loads((CONTRACTS / file_name).read_text(encoding="utf-8")))


def compile_contract(schema: Mapping[str, Any]) -> Contract:
    """Compile the schema of a record that has no other fields than it names. Raises: UnknownRuleError."""
    _refuse_unknown("the record", schema.keys() - _ANNOTATIONS, _OF_A_RECORD)
    if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
        raise UnknownRuleError("the record: expected an object that has no other fields")
    required = set(schema["required"])
    properties = schema["properties"]
    if not required <= properties.keys():
        raise UnknownRuleError(f"required, but no field: {sorted(required - properties.keys())}")
    fields = {name: _compile_field(name, rule, name in required) for name, rule in properties.items()}
    return Contract(schema["title"], fields)


def _compile_field(name: str, schema: Mapping[str, Any], required: bool) -> FieldRule:
    _refuse_unknown(name, schema.keys(), _OF_A_FIELD)
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    pattern = schema.get("pattern")
    # ECMA's `$` is the end of the text; Python's also stands before a line end there
    anchored = pattern[:-1] + r"\Z" if pattern and pattern.endswith("$") else pattern
    return FieldRule(
        kind=_kind(name, schema, set(types) - {"null"}),
        required=required,
        nullable="null" in types,
        choices=tuple(schema.get("enum", ())),
        pattern=pattern,
        matching=re.compile(anchored) if anchored else None,
        max_length=schema.get("maxLength"),
        normal_form=schema.get("x-normalized"),
    )


def _kind(name: str, schema: Mapping[str, Any], types: set[str]) -> Literal["text", "texts", "instant", "flag"]:
    if types == {"boolean"}:
        return "flag"
    if types == {"array"} and schema.get("items") == {"type": "string"}:
        return "texts"
    if types == {"string"}:
        if schema.get("format", "date-time") != "date-time":
            raise UnknownRuleError(f"{name}: format {schema['format']!r}")
        return "instant" if "format" in schema else "text"
    raise UnknownRuleError(f"{name}: type {sorted(types)}")


def _refuse_unknown(where: str, found: set[str] | Any, known: set[str]) -> None:
    unknown = sorted(set(found) - known)
    if unknown:
        raise UnknownRuleError(f"{where}: keyword {unknown[0]!r}")


def _quoted(value: str) -> str:
    return repr(value[:_QUOTED_LENGTH])

"""A compiled contract says of every record what the shipped JSON Schema says, and no rule is lost on the way."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from pipelines.contract import CONTRACTS, UnknownRuleError, compile_contract, load_contract
from pipelines.partitions import parse_instant

SCHEMA = json.loads((CONTRACTS / "ticket_contract.json").read_text(encoding="utf-8"))
formats = FormatChecker(())
formats.checks("date-time")(lambda value: not isinstance(value, str) or parse_instant(value) is not None)


def _normalized(_: Any, form: Any, value: Any, __: Any) -> Any:
    if isinstance(value, str) and not unicodedata.is_normalized(form, value):
        yield ValidationError(f"not in {form}")


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Any:
    """Hold a pattern as ECMA has it: `$` is the end, not before a line end there."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"no {pattern}")


validator = extend(Draft202012Validator, {"x-normalized": _normalized, "pattern": _pattern})(
    SCHEMA, format_checker=formats
)
_good = {
    name: st.sampled_from(rule["enum"]) if "enum" in rule else st.just(None)
    for name, rule in SCHEMA["properties"].items()
}
_texts = st.sampled_from(
    [
        *("", " ", "x", "open", "x" * 512, "x" * 513, "e\u0301", "\u00e9", "\u212b"),
        *("TKT-20260417-000001", "TKT-20260417-000001\n"),
        *("2026-04-17T10:00:00Z", "2026-04-17T10:00:00", "2026-06-30T23:59:60Z"),
    ]
) | st.text(max_size=6)
_values = _texts | st.none() | st.booleans() | st.integers() | st.lists(_texts, max_size=2) | st.just({})


@st.composite
def _records(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a ticket with a few members taken away, added or replaced."""
    record: dict[str, Any] = {
        "ticket_id": "TKT-20260417-000001",
        "schema_version": "ticket_v1",
        "source_id": "s",
        "ingest_batch_id": "b",
        "customer_id": "c",
        "status": "open",
        "priority": "p2_high",
        "product_line": "northstar_studio",
        "created_at": "2026-04-17T08:15:00Z",
        "pii_level": "none",
        "quality_gate": "pass",
        "owner": "o",
    }
    for name in draw(st.sets(st.sampled_from([*SCHEMA["properties"], "extra"]), max_size=3)):
        if draw(st.booleans()):
            record[name] = draw(_good.get(name, _values) | _values)
        else:
            record.pop(name, None)
    return record


@given(_records())
def test_the_compiled_contract_and_the_schema_agree(record: dict[str, Any]) -> None:
    """On whether it is a ticket, and on which fields are wrong."""
    ours = {violation.field for violation in load_contract("ticket_contract.json").violations(record)}
    theirs = set()
    for error in validator.iter_errors(record):
        if error.validator == "required":
            theirs |= set(SCHEMA["required"]) - record.keys()
        elif error.validator == "additionalProperties":
            theirs |= record.keys() - SCHEMA["properties"].keys()
        else:
            theirs.add(str(error.absolute_path[0]))
    assert ours == theirs


@pytest.mark.parametrize(
    "change",
    [
        {"minProperties": 1},
        {"additionalProperties": True},
        {"required": ["gone"]},
        {"properties": {"a": {"type": "string", "minLength": 1}}, "required": []},
        {"properties": {"a": {"type": "string", "format": "email"}}, "required": []},
        {"properties": {"a": {"type": ["string", "integer"]}}, "required": []},
        {"properties": {"a": {"type": "array", "items": {"type": "number"}}}, "required": []},
    ],
)
def test_a_rule_that_nobody_would_hold_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UnknownRuleError):
        compile_contract({**SCHEMA, **change})

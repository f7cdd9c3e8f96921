"""JSON is the same where orjson is not installed: what checks a proof there accepts and refuses the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger.model import json_bytes
from run_evidence.ledger.model.canonical import bounded, canonical, parse_canonical

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
ODD = [
    *(
        b'"\\ud800"',
        b'"\\ud83d\\ude00"',
        b"1e400",
        b"-0",
        b"[NaN]",
        b"Infinity",
        b"\xef\xbb\xbf{}",
        b'"\x7f"',
        b"1.0",
    ),
    *(b'{"a":1,"a":2}', b'"\\u2028"', b'"\x01"', b"\xff", b"{}\n", b" {}", b"{", b"", b"'a'", b'{"b":1,"a":2}'),
    *(b'{"\xc3\xa4":1}', b'{"a":9007199254740993}', b'"\\u0041"', b'{"a":"\\/"}', b"[1,]", b"01", b"9" * 5_000),
    *(b"[" * deep + b"]" * deep for deep in (253, 254, 255, 2_000, 100_000)),
    *(b'{"a":' * deep + b"1" + b"}" * deep for deep in (253, 254, 255, 300)),
    *('{"a":"é\U0001f600"}'.encode(), '{"a":"é"}'.encode("utf-16")),
]


def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_bytes, "_FAST", False)


def tried(act: Callable[[Any], Any], value: Any) -> Any:
    """Return what comes of it, or that it is refused."""
    try:
        return act(value)
    except ValueError:
        return ValueError


@given(VALUES)
def test_the_same_value_is_the_same_bytes(value: Any) -> None:
    """Within canonical bounds, which is all that is ever written."""
    told = bounded(value)
    assert json_bytes.sort_plainly(told) == canonical(told)
    assert json_bytes.parse_plainly(canonical(told)) == told


@pytest.mark.parametrize("text", ODD, ids=lambda text: repr(text[:16]) + str(len(text)))
def test_an_entry_is_refused_by_both_or_by_neither(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an entry it has to be canonical; what is not JSON at all is refused as a document, too."""
    by_orjson = tried(parse_canonical, text)
    plain(monkeypatch)
    assert tried(parse_canonical, text) == by_orjson


@pytest.mark.parametrize(
    "text", [b'"\\ud800"', b"[NaN]", b"Infinity", b"\xef\xbb\xbf{}", b"\xff", b"{", b"", b"[1,]"]
)
def test_what_is_no_json_is_refused_as_a_document(text: bytes) -> None:
    assert tried(json_bytes.parse_plainly, text) is ValueError
    assert tried(json_bytes.parse_json, text) is ValueError

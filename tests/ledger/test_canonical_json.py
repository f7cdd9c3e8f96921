"""One value has one sequence of bytes, and anything can be brought within the bounds where that holds."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger.model.canonical import MAX_DEPTH, MAX_INT, bounded, canonical, parse_canonical
from tests.ledger.samples import json_values, wild_values


@given(json_values)
def test_canonical_bytes_are_those_of_sorted_compact_json(value: Any) -> None:
    """The encoder agrees with the plainest reference there is."""
    reference = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical(value) == reference.encode()


@given(st.dictionaries(st.text(st.characters(codec="ascii")), json_values))
def test_an_object_comes_back_from_its_bytes(value: dict[str, Any]) -> None:
    """Parsing takes exactly what encoding made, and encoding it again gives the same bytes."""
    assert parse_canonical(canonical(value)) == value


@given(wild_values)
def test_any_value_can_be_bounded_and_bounding_twice_changes_nothing(value: Any) -> None:
    """Floats, huge integers, lone surrogates and foreign keys become something that has canonical bytes."""
    once = bounded(value)
    assert bounded(once) == once
    wrapped: dict[str, Any] = {"value": once}
    assert parse_canonical(canonical(wrapped)) == wrapped


@given(json_values)
def test_a_value_within_bounds_is_left_alone(value: Any) -> None:
    """Nothing is changed that need not be."""
    assert bounded(value) == value


TEXTS: list[tuple[Any, Any]] = [
    (1.0, "1.0"),
    (0.1, "0.1"),
    (1e300, "1e+300"),
    (float("nan"), "nan"),
    (float("-inf"), "-inf"),
    (-0.0, "-0.0"),
    (MAX_INT, MAX_INT),
    (MAX_INT + 1, "9007199254740992"),
    (-MAX_INT - 1, "-9007199254740992"),
    (10**5000, hex(10**5000)),
    ("\ud83d", "�"),
    ("\ud83d\ude00", "😀"),
    ("票", "票"),
    ({"票": 1}, {"\\u7968": 1}),
    ({1: "a", None: "b"}, {"1": "a", "None": "b"}),
    ((1, [2]), [1, [2]]),
    (b"\xff", "b'\\xff'"),
    (True, True),
]


@pytest.mark.parametrize(("value", "expected"), TEXTS, ids=range(len(TEXTS)))
def test_what_json_does_not_have_becomes_text(value: Any, expected: Any) -> None:
    """Each kind of value has one documented form."""
    assert bounded(value) == expected


class _Key(str):
    __slots__ = ()


def test_a_key_of_a_kind_of_its_own_is_its_text() -> None:
    """What the encoder would not take as a key becomes one."""
    assert canonical(bounded({_Key("a"): _Key("b"), _Key("é"): 1})) == b'{"\\\\xe9":1,"a":"b"}'


def test_keys_that_become_the_same_text_are_all_kept() -> None:
    """The key that was that text keeps it; the others differ by what they were, in whatever order."""
    mixed: dict[Any, int] = {"é": 1, "\\xe9": 2, 5: 3, "5": 4, None: 5}
    kept: Any = bounded(mixed)
    assert {name: kept[name] for name in ("\\xe9", "5", "None")} == {"\\xe9": 2, "5": 4, "None": 5}
    assert bounded(dict(reversed(mixed.items()))) == kept


KEYS = (
    st.text(st.sampled_from("a\\xe9é'~\ud800\udc00"), max_size=8) | st.integers(0, 9) | st.none() | st.floats(0, 9)
)


@given(st.dictionaries(KEYS, st.integers(0, 9), max_size=8))
def test_no_two_keys_of_an_object_become_one(value: dict[Any, int]) -> None:
    """As many members are written as there were, with the same values; a second time nothing changes."""
    once: Any = bounded(value)
    assert sorted(once.values()) == sorted(value.values())
    assert all(once[key] == value[key] for key in value if isinstance(key, str) and key.isascii())
    assert bounded(once) == once


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 300, 100_000])
@pytest.mark.parametrize("kind", ["list", "object"])
def test_nesting_of_any_depth_has_bytes(depth: int, kind: str) -> None:
    """Beyond `MAX_DEPTH` the inner part becomes text; nothing overflows, in either direction."""
    value: Any = "core"
    for _ in range(depth):
        value = [value] if kind == "list" else {"inner": value}
    wrapped: dict[str, Any] = {"value": bounded(value)}
    assert parse_canonical(canonical(wrapped)) == wrapped
    assert (bounded(value) == value) == (depth <= MAX_DEPTH) if depth < sys.getrecursionlimit() // 3 else True


NOT_CANONICAL: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b'{"a":"\xff"}', "not JSON"),
    (b'{"a":"\\ud800"}', "not JSON"),
    (b'{"a":NaN}', "not JSON"),
    (b"\xef\xbb\xbf{}", "not JSON"),
    (b"[1]", "a JSON list"),
    (b"null", "a JSON NoneType"),
    (b'{"a": 1}', "not canonical"),
    (b'{"a":1}\n', "not canonical"),
    (b'{"b":1,"a":1}', "not canonical"),
    (b'{"a":1,"a":1}', "not canonical"),
    (b'{"a":"\\u0041"}', "not canonical"),
    (b'{"a":"\\/"}', "not canonical"),
    (b'{"a":-0}', "not canonical"),
    (b'{"a":1e2}', "not canonical"),
    (b'{"a":1.0}', "a float"),
    (b'{"a":[{"b":0.5}]}', "a float"),
    (b'{"a":9007199254740992}', "an integer beyond"),
    (b'{"a":[-9007199254740992]}', "an integer beyond"),
    (b'{"a":18446744073709551616}', "canonical"),
    ('{"é":1}'.encode(), "a key outside ASCII"),
    ('{"a":[{"é":1}]}'.encode(), "a key outside ASCII"),
    (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "nested too deeply"),
    (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "not JSON"),
]


@pytest.mark.parametrize(("entry", "problem"), NOT_CANONICAL, ids=range(len(NOT_CANONICAL)))
def test_bytes_that_are_not_the_one_encoding_are_refused(entry: bytes, problem: str) -> None:
    """A reason is given for each, and it is a ValueError, never another exception of a library."""
    with pytest.raises(ValueError, match=problem):
        parse_canonical(entry)


@given(st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_make_the_parser_fail_otherwise(entry: bytes) -> None:
    """Whatever comes in, the answer is an object whose bytes these are, or a ValueError."""
    try:
        value = parse_canonical(entry)
    except ValueError:
        return
    assert canonical(value) == entry

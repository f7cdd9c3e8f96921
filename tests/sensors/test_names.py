"""Two different names never share a text, whatever is in them and however long they are."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
from hypothesis import example, given
from hypothesis import strategies as st

from run_evidence.ledger.model.canonical import bounded
from run_evidence.sensors.dagster_log.metadata import metadata_list
from run_evidence.sensors.dagster_log.names import asset_key_text, short_name

PARTS = st.lists(
    st.text(st.characters(exclude_categories=()) | st.sampled_from("/\\a"), min_size=1, max_size=6),
    min_size=1,
    max_size=4,
)
NAMES = st.text(st.characters(exclude_categories=()), max_size=6) | st.builds(
    lambda start, end: start + "x" * 1_000 + end, st.text(max_size=2), st.text(max_size=2)
)


@given(PARTS, PARTS)
@example(["lake/orders"], ["lake", "orders"])
@example(["a\\", "b"], ["a\\/b"])
@example(["\ud800"], ["\ud801"])
@example(["\ud800"], ["\ufffd"])
def test_different_asset_keys_have_different_texts(one: list[str], other: list[str]) -> None:
    """As they are recorded: after shortening, and after what cannot be written was replaced."""
    texts = [bounded(short_name(asset_key_text(path))) for path in (one, other)]
    assert (texts[0] == texts[1]) == (one == other)


@given(PARTS)
def test_an_asset_key_reads_as_dagster_writes_it(path: list[str]) -> None:
    """The text is Dagster's own escaped form, and the plain one where no part has a slash or a backslash."""
    key = dg.AssetKey(path)
    assert asset_key_text(path) == key.to_escaped_user_string()
    if not any(mark in part for part in path for mark in "/\\"):
        assert asset_key_text(path) == key.to_user_string()


@given(NAMES, NAMES)
def test_different_names_stay_different(one: str, other: str) -> None:
    """Partitions, checks, steps and jobs, whatever their length."""
    assert (bounded(short_name(one)) == bounded(short_name(other))) == (one == other)


@given(NAMES | st.just("p" * 2_000))
def test_the_text_of_a_shortened_name_is_no_other_names_text(name: str) -> None:
    """A name that reads like a shortened one is another name, and is written as another."""
    written = short_name(name)
    assert len(written) <= 1_000
    assert written == name or short_name(written) != written


@given(st.dictionaries(NAMES, st.integers(-9, 9), max_size=4))
def test_every_label_of_metadata_is_kept_apart(metadata: dict[str, int]) -> None:
    """As many labels are recorded as there were, and a reader who makes a map of them loses none."""
    entries = {label: {"__class__": "IntMetadataEntryData", "value": value} for label, value in metadata.items()}
    recorded: Any = bounded(metadata_list(json.loads(json.dumps(entries))))
    assert len({entry["label"] for entry in recorded}) == len(json.loads(json.dumps(entries)))

"""One record becomes one event: real records of every kind, and anything a record could be."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from golden_records import FILE, REBUILD, translated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenarios import METADATA, SCENARIOS, Stage

from run_evidence.ledger import Event, InputError
from run_evidence.ledger.model.event import encode
from run_evidence.sensors.dagster_log import source
from run_evidence.sensors.dagster_log.metadata import metadata_list
from run_evidence.sensors.dagster_log.translate import Correlation, SourceRecord, Translator
from run_evidence.sensors.dagster_log.vocabulary import EVENT_TYPES, UNLISTED

GOLDEN: dict[str, dict[str, Any]] = json.loads(FILE.read_text())
NEW_SINCE_1_12 = {"CODE_LOCATION_UPDATED", "RUN_RESUMED", "RUN_SUSPENDED"}
NEVER_STORED = {
    *("ASSET_FAILED_TO_MATERIALIZE", "ASSET_HEALTH_CHANGED", "CODE_LOCATION_UPDATED"),
    *("FRESHNESS_STATE_EVALUATION", "PIPELINE_DEQUEUED"),
    *("ALERT_START", "ALERT_SUCCESS", "ALERT_FAILURE", "RUN_SUSPENDED", "RUN_RESUMED"),
    *("OBJECT_STORE_OPERATION", "ASSET_STORE_OPERATION"),
}
"""Kinds that open-source Dagster does not write (any more), so that there is no real record of them."""

RUN_ID = "11111111-1111-1111-1111-111111111111"


def translate(text: str) -> Event | None:
    """Translate one record alone."""
    return Translator("store", RUN_ID, Correlation(), "job").translate(SourceRecord(7, text))


@pytest.mark.parametrize("kind", GOLDEN)
def test_a_real_record_of_every_kind(kind: str) -> None:
    """What a record becomes does not change by accident: ledgers hold events of every version so far."""
    assert translated(GOLDEN[kind]["text"]) == GOLDEN[kind]["event"], f"if it must change: {REBUILD}"


def test_every_type_of_this_dagster_has_a_name_of_ours() -> None:
    """No type of event that Dagster knows is unlisted, and each that it writes has a real record here."""
    known = {kind.value for kind in dg.DagsterEventType}
    assert set(EVENT_TYPES) - known <= NEW_SINCE_1_12
    assert known <= set(EVENT_TYPES)
    assert known - {kind.partition(".")[0] for kind in GOLDEN} == NEVER_STORED & known
    assert len(set(EVENT_TYPES.values())) == len(EVENT_TYPES)


def test_a_type_of_a_later_dagster_is_kept_under_its_own_name() -> None:
    """A record of a kind we do not know is an event all the same."""
    text = GOLDEN["STEP_START"]["text"].replace('"STEP_START"', '"STEP_TELEPORTED"')
    event = translate(text)
    assert event is not None
    assert (event.event_type, event.data["dagster_event_type"]) == (UNLISTED, "STEP_TELEPORTED")


def test_a_log_line_is_no_event() -> None:
    """A plain line may hold secrets: it is counted, never translated."""
    entry = json.loads(GOLDEN["STEP_START"]["text"])
    assert translate(json.dumps({**entry, "dagster_event": None})) is None


@pytest.fixture
def stage(instance: dg.DagsterInstance, tmp_path: Any) -> Stage:
    return Stage(instance, tmp_path)


def _translated_with_dagsters_own(stage: Stage, name: str) -> Iterator[tuple[Event, Any]]:
    """Yield each event of a scenario beside the object that Dagster itself makes of the record."""
    for run_id in SCENARIOS[name].play(stage):
        translator = Translator("store", run_id, Correlation())
        theirs = {r.storage_id: r.event_log_entry for r in stage.instance.get_records_for_run(run_id).records}
        for record in source.read_records(stage.instance, run_id):
            if event := translator.translate(record):
                yield event, theirs[record.storage_id]


@pytest.mark.parametrize(
    "name",
    ["success", "checks", "partition_range_in_one_run", "dynamic_and_multi_partitions", "failure_with_metadata"],
)
def test_an_event_says_what_dagsters_own_object_says(stage: Stage, name: str) -> None:
    """Our reading of the stored text agrees with Dagster's reading of it, field by field."""
    count = 0
    for event, entry in _translated_with_dagsters_own(stage, name):
        theirs = entry.dagster_event
        count += 1
        assert event.occurred_at == round(entry.timestamp * 1_000_000)
        assert event.data["dagster_event_type"] == theirs.event_type_value
        assert (event.step_key, event.job_name) == (theirs.step_key, theirs.job_name)
        if theirs.asset_key:
            assert event.asset_key == theirs.asset_key.to_user_string()
            assert event.partition == theirs.partition
        if theirs.event_type_value == "ASSET_CHECK_EVALUATION":
            evaluation = theirs.asset_check_evaluation_data
            assert (event.asset_key, event.check_name) == (
                evaluation.asset_key.to_user_string(),
                evaluation.check_name,
            )
            assert (event.data["passed"], event.data["severity"]) == (evaluation.passed, evaluation.severity.value)
            assert event.outcome == _outcome(evaluation.passed, evaluation.severity)
    assert count > 8


def _outcome(passed: bool, severity: dg.AssetCheckSeverity) -> str:
    return "passed" if passed else "warned" if severity == dg.AssetCheckSeverity.WARN else "failed"


def test_metadata_of_every_kind(stage: Stage) -> None:
    """Each kind keeps its value: text, exact integers of any size, floats as their shortest text, structures."""
    events = [event for event, _ in _translated_with_dagsters_own(stage, "every_kind_of_metadata")]
    (event,) = [event for event in events if event.event_type == "asset.materialized.v1"]
    found: Any = event.data["metadata"]
    kept = {entry["label"]: (entry["type"], entry["value"]) for entry in found}
    assert kept.keys() == METADATA.keys()
    assert {label: value for label, (_, value) in kept.items() if label in PLAIN} == PLAIN
    assert {label: json.loads(kept[label][1]) for label in ("json", "json_text")} == {
        "json": {"b": [1, 2.5, None], "a": {"ü": True}},
        "json_text": "only text",
    }
    assert {label: kind for label, (kind, _) in kept.items()} == {
        label: KINDS.get(label, label) for label in METADATA
    }
    assert len(encode(event, 1).entry) < 65_536


PLAIN = {
    "text": "plain",
    "chinese": "数据工厂",
    "surrogate": "lone \ud800 half",
    "long": "x" * 50_000,
    "url": "https://example.org/a?b=c",
    "path": "/data/in",
    "notebook": "/n.ipynb",
    "md": "# head",
    "float": "0.1",
    "nan": "nan",
    "inf": "inf",
    "minus_inf": "-inf",
    "int": 2**53 + 1,
    "huge": 10**30,
    "negative": -5,
    "bool": True,
    "null": None,
    "timestamp": "1776400000.25",
    "run": "5e3c1f60-0000-0000-0000-000000000000",
    "asset": "schema/table",
}
KINDS = {
    **dict.fromkeys(("chinese", "surrogate", "long"), "text"),
    **dict.fromkeys(("nan", "inf", "minus_inf"), "float"),
    **dict.fromkeys(("huge", "negative"), "int"),
    "json_text": "json",
    "md": "markdown",
    "column_lineage": "table_column_lineage",
}


def test_a_label_that_is_repeated_counts_once() -> None:
    """Dagster's older records could repeat a label: the last value holds, at the place of the first."""
    entry = {"__class__": "IntMetadataEntryData", "value": 1}
    listed = [
        {"label": "n", "entry_data": entry},
        {"label": "m", "entry_data": entry},
        {"label": "n", "entry_data": {**entry, "value": 2}},
    ]
    assert metadata_list(listed) == [
        {"label": "n", "type": "int", "value": 2},
        {"label": "m", "type": "int", "value": 1},
    ]


def test_attempts_are_counted_from_the_restarts() -> None:
    """Dagster writes no attempt number: each step counts its own restarts, whatever runs beside it."""
    translator = Translator("store", RUN_ID, Correlation())
    attempts: list[int | None] = []
    for kind, step in [
        ("STEP_START", "a"),
        ("STEP_UP_FOR_RETRY.cause", "a"),
        ("STEP_START", "b"),
        ("STEP_RESTARTED", "a"),
        ("STEP_SUCCESS", "a"),
        ("STEP_SUCCESS", "b"),
    ]:
        entry = json.loads(GOLDEN[kind]["text"])
        entry["dagster_event"]["step_key"] = entry["step_key"] = step
        event = translator.translate(SourceRecord(len(attempts) + 1, json.dumps(entry)))
        assert event is not None
        attempts.append(event.attempt)
    assert attempts == [1, 1, 1, 2, 2, 1]


def test_a_name_too_long_for_a_column_keeps_its_beginning_and_its_digest() -> None:
    """No key can make an entry too large; two long keys stay two."""
    entry = json.loads(GOLDEN["ASSET_MATERIALIZATION.partition"]["text"])
    events = []
    for end in "ab":
        changed = copy.deepcopy(entry)
        changed["dagster_event"]["event_specific_data"]["materialization"]["partition"] = "数" * 60_000 + end
        event = translate(json.dumps(changed))
        assert event is not None
        assert len(encode(event, 1).entry) < 65_536
        events.append(event.partition)
    assert events[0] != events[1]
    assert all(partition and len(partition) <= 1_000 and "sha256:" in partition for partition in events)


@pytest.mark.parametrize("timestamp", [-1.0, math.nan, math.inf, 1e300, None, "soon", [1]])
def test_a_time_that_is_none_is_refused(timestamp: Any) -> None:
    """A record without a usable time is no record of Dagster's; the error names run and id."""
    entry = json.loads(GOLDEN["STEP_START"]["text"])
    with pytest.raises(InputError, match=f"Record 7 of run {RUN_ID}"):
        translate(json.dumps({**entry, "timestamp": timestamp}))


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '"x"', "{", "[" * 100_000, '{"dagster_event": 5}'])
def test_text_that_is_no_record_is_refused(text: str) -> None:
    """Whatever stands in the column, the answer is an event or one kind of error."""
    with pytest.raises(InputError, match="not a Dagster event log entry"):
        translate(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    """Draw a real record with one value in it, at any depth, left out or replaced by anything."""
    entry = json.loads(GOLDEN[draw(st.sampled_from(sorted(GOLDEN)))]["text"])
    place = entry
    while True:
        key = (
            draw(st.sampled_from(sorted(place)))
            if isinstance(place, dict)
            else draw(st.integers(0, len(place) - 1))
        )
        inner = place[key]
        if not (isinstance(inner, dict | list) and inner) or draw(st.booleans()):
            break
        place = inner
    if isinstance(place, dict) and draw(st.booleans()):
        del place[key]
    else:
        place[key] = draw(_JSON)
    return json.dumps(entry)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_damaged())
def test_a_record_of_any_shape_is_an_event_or_refused(text: str) -> None:
    """No shape of record stops capture: it becomes an event that can be recorded, or is refused as no record."""
    try:
        event = translate(text)
    except InputError:
        return
    if event is not None:
        assert encode(event, 1).event_id
        assert event.storage_id == 7
        if "unread" in event.data:
            assert event.event_type == UNLISTED


@given(st.text())
def test_any_text_is_an_event_or_refused(text: str) -> None:
    """The same for text that never was a record."""
    try:
        assert translate(text) is None
    except InputError:
        return

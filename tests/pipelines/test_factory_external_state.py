"""An optional neighbour is observed or absent with a reason; no value is ever made up."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from pipelines.data_factory.external_state import Absent, LakehouseState, MartState, read_lakehouse, read_mart

if TYPE_CHECKING:
    from pathlib import Path

REGISTRY = "metrics:\n  - name: first_response\n  - name: backlog\n"


@pytest.mark.parametrize("enabled", [None, True])
@pytest.mark.parametrize("snapshot_id", [8_744_736_658_442_914_487, "snap-1"])
def test_a_reported_snapshot_is_observed(tmp_path: Path, enabled: bool | None, snapshot_id: int | str) -> None:
    """The id is passed on as it is, a number or a text."""
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"tables": {"silver.ticket_fact": {"snapshot_id": snapshot_id}}}))
    assert read_lakehouse(enabled=enabled, report_path=path) == LakehouseState(snapshot_id, path)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ("{", "malformed"),
        ("[]", "malformed: Expected `object`, got `array`"),
        ('{"tables": ' + "[" * 100_000, "malformed"),
        ("{}", "missing required field `tables`"),
        ('{"tables": {}}', "missing required field `silver.ticket_fact` - at `$.tables`"),
        ('{"tables": {"silver.ticket_fact": {}}}', "`snapshot_id` - at `$.tables.silver.ticket_fact`"),
        (
            '{"tables": {"silver.ticket_fact": {"snapshot_id": null}}}',
            "got `null` - at `$.tables.silver.ticket_fact",
        ),
        ('{"tables": {"silver.ticket_fact": {"snapshot_id": ""}}}', "`str` of length >= 1"),
        ('{"tables": {"silver.ticket_fact": {"snapshot_id": true}}}', "got `bool`"),
        ('{"tables": {"silver.ticket_fact": {"snapshot_id": 1.5}}}', "got `float`"),
        ('{"tables": {"silver.ticket_fact": {"snapshot_id": 1}}, "generated_at": "today"}', "at `$.generated_at`"),
        (
            '{"tables": {"silver.ticket_fact": {"snapshot_id": 1}}, "generated_at": "2026-04-18T00:00:00"}',
            "at `$.generated_at`",  # of no time zone, so of no instant
        ),
    ],
)
def test_a_malformed_report_is_not_available_and_says_why(tmp_path: Path, contents: str, said: str) -> None:
    """With the file and what was found in it."""
    path = tmp_path / "report.json"
    path.write_text(contents)
    state = read_lakehouse(enabled=True, report_path=path)
    assert isinstance(state, Absent)
    assert (state.outcome, state.reason_code) == ("not_available", "week04_lakehouse_not_available")
    assert str(path) in state.text
    assert said in state.text


def test_a_missing_report_is_not_available(tmp_path: Path) -> None:
    """Not configured, not there and not readable have each their own text."""
    texts = [
        state.text
        for path in (None, tmp_path / "gone.json", tmp_path)
        if isinstance(state := read_lakehouse(enabled=None, report_path=path), Absent)
        and state.outcome == "not_available"
    ]
    assert texts == [
        "WEEK06_WEEK04_REPORT_PATH is not set",
        f"{tmp_path / 'gone.json'} cannot be read: No such file or directory.",
        f"{tmp_path} is a folder, expected a file.",
    ]


def test_switched_off_is_skipped_even_when_the_report_is_there(tmp_path: Path) -> None:
    """An operator's choice is not a lack; it has a code of its own."""
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"tables": {"silver.ticket_fact": {"snapshot_id": 1}}}))
    lakehouse = read_lakehouse(enabled=False, report_path=path)
    mart = read_mart(enabled=False, run_results_path=path, metric_registry_path=path)
    assert lakehouse == Absent("skipped", "week04_lakehouse_disabled", "LAKEHOUSE_ENABLED is false")
    assert mart == Absent("skipped", "week05_analytics_disabled", "ANALYTICS_ENABLED is false")


@pytest.fixture
def mart(tmp_path: Path) -> tuple[Path, Path]:
    results, registry = tmp_path / "run_results.json", tmp_path / "metrics.yml"
    nodes = [{"status": "success"}, {"status": "error"}, {"status": "fail"}]
    results.write_text(json.dumps({"metadata": {"invocation_id": "inv-1"}, "results": nodes}))
    registry.write_text(REGISTRY)
    return results, registry


def test_a_reported_build_is_observed_with_its_failures(mart: tuple[Path, Path]) -> None:
    """A build that failed is observed as one that failed."""
    results, registry = mart
    state = read_mart(enabled=None, run_results_path=results, metric_registry_path=registry)
    assert state == MartState("inv-1", 2, 2, results)
    results.write_text(json.dumps({"metadata": {"invocation_id": "inv-2"}}))
    state = read_mart(enabled=True, run_results_path=results, metric_registry_path=registry)
    assert state == MartState("inv-2", 2, None, results)


@pytest.mark.parametrize(
    ("results", "registry", "said"),
    [
        (None, REGISTRY, "run_results.json cannot be read: No such file"),
        ("{}", REGISTRY, "missing required field `metadata`"),
        ('{"metadata": {}}', REGISTRY, "missing required field `invocation_id` - at `$.metadata`"),
        ('{"metadata": {"invocation_id": "x"}, "results": [3]}', REGISTRY, "at `$.results[0]`"),
        ('{"metadata": {"invocation_id": "x"}}', None, "metrics.yml cannot be read: No such file"),
        ('{"metadata": {"invocation_id": "x"}}', "metrics: [", "metrics.yml: malformed"),
        ('{"metadata": {"invocation_id": "x"}}', "metrics: 3", "Expected `array`, got `int` - at `$.metrics`"),
        ('{"metadata": {"invocation_id": "x"}}', "", "Expected `object`, got `null`"),
        ('{"metadata": {"invocation_id": "x"}}', "a: !!python/object:os.system {}", "metrics.yml: malformed"),
    ],
)
def test_half_a_mart_is_not_available(
    mart: tuple[Path, Path], results: str | None, registry: str | None, said: str
) -> None:
    """Both reports must be there and right; otherwise neither value is given."""
    for path, contents in zip(mart, (results, registry), strict=True):
        path.unlink() if contents is None else path.write_text(contents)
    state = read_mart(enabled=True, run_results_path=mart[0], metric_registry_path=mart[1])
    assert isinstance(state, Absent)
    assert (state.outcome, state.reason_code) == ("not_available", "week05_analytics_not_available")
    assert said in state.text


def test_paths_that_are_not_set_are_named_by_variable(mart: tuple[Path, Path]) -> None:
    """So that whoever wants the mart knows what to set."""
    first = read_mart(enabled=True, run_results_path=None, metric_registry_path=None)
    second = read_mart(enabled=True, run_results_path=mart[0], metric_registry_path=None)
    assert isinstance(first, Absent)
    assert isinstance(second, Absent)
    assert (first.text, second.text) == (
        "WEEK06_WEEK05_RUN_RESULTS_PATH is not set",
        "METRIC_REGISTRY_PATH is not set",
    )


BEFORE, AFTER = "2026-04-17T23:59:59.999999Z", "2026-04-18T02:00:00+02:00"


@pytest.mark.parametrize(("made", "partition"), [(AFTER, "2026-04-17"), (None, "2026-04-17"), (BEFORE, None)])
def test_a_report_that_is_not_older_than_the_partition_is_observed(
    tmp_path: Path, mart: tuple[Path, Path], made: str | None, partition: str | None
) -> None:
    """The day may just be over; a report that states no time, or a run without a day, leaves nothing to compare."""
    report, (results, registry) = _made_at(tmp_path, mart, made)
    lakehouse = read_lakehouse(enabled=True, report_path=report, partition=partition)
    found = read_mart(enabled=True, run_results_path=results, metric_registry_path=registry, partition=partition)
    expected = datetime.fromisoformat(made) if made else None
    assert isinstance(lakehouse, LakehouseState)
    assert isinstance(found, MartState)
    assert (lakehouse.as_of, found.as_of) == (expected, expected)


def test_a_report_from_before_the_partition_was_over_is_not_of_it(tmp_path: Path, mart: tuple[Path, Path]) -> None:
    """A code of its own: the neighbour is there, and has to be built again."""
    report, (results, registry) = _made_at(tmp_path, mart, BEFORE)
    lakehouse = read_lakehouse(enabled=True, report_path=report, partition="2026-04-17")
    found = read_mart(enabled=None, run_results_path=results, metric_registry_path=registry, partition="2026-04-17")
    said = f"made {BEFORE}, before partition 2026-04-17 was over (2026-04-18T00:00:00Z): build it again"
    assert lakehouse == Absent("not_available", "week04_lakehouse_older_than_partition", f"{report}: {said}")
    assert found == Absent("not_available", "week05_analytics_older_than_partition", f"{results}: {said}")


def _made_at(folder: Path, mart: tuple[Path, Path], made: str | None) -> tuple[Path, tuple[Path, Path]]:
    """Write all reports as of a time, or without one."""
    stated = {"generated_at": made} if made else {}
    report = folder / "report.json"
    report.write_text(json.dumps({"tables": {"silver.ticket_fact": {"snapshot_id": 1}}, **stated}))
    mart[0].write_text(json.dumps({"metadata": {"invocation_id": "inv-1", **stated}}))
    return report, mart

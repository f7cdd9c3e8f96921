"""An optional neighbour is observed or absent with a reason; no value is ever made up."""

from __future__ import annotations

import json
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
        ("[]", "expected an object, got a list"),
        ("[" * 100_000, "malformed"),
        ("{}", "expected an object under 'tables'"),
        ('{"tables": {}}', "expected an object under 'silver.ticket_fact'"),
        ('{"tables": {"silver.ticket_fact": {}}}', "snapshot_id: expected a text or an integer, got null"),
        ('{"tables": {"silver.ticket_fact": {"snapshot_id": null}}}', "got null"),
        ('{"tables": {"silver.ticket_fact": {"snapshot_id": ""}}}', 'got ""'),
        ('{"tables": {"silver.ticket_fact": {"snapshot_id": true}}}', "got true"),
        ('{"tables": {"silver.ticket_fact": {"snapshot_id": 1.5}}}', "got 1.5"),
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
    """Not configured, not there and not readable are told apart in the text."""
    texts = [
        state.text
        for path in (None, tmp_path / "gone.json", tmp_path)
        if isinstance(state := read_lakehouse(enabled=None, report_path=path), Absent)
        and state.outcome == "not_available"
    ]
    assert texts == [
        "WEEK06_WEEK04_REPORT_PATH is not set",
        f"{tmp_path / 'gone.json'}: there is no such file",
        f"{tmp_path}: cannot be read: Is a directory",
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
        (None, REGISTRY, "run_results.json: there is no such file"),
        ("{}", REGISTRY, "expected an object under 'metadata'"),
        ('{"metadata": {}}', REGISTRY, "invocation_id: expected a text or an integer, got null"),
        ('{"metadata": {"invocation_id": "x"}}', None, "metrics.yml: there is no such file"),
        ('{"metadata": {"invocation_id": "x"}}', "metrics: [", "metrics.yml: malformed"),
        ('{"metadata": {"invocation_id": "x"}}', "metrics: 3", "expected a list under 'metrics'"),
        ('{"metadata": {"invocation_id": "x"}}', "", "expected an object, got a NoneType"),
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

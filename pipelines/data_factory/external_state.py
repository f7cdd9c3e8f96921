"""The state of the two optional neighbours, read from the reports they leave: observed, or absent and why.

Week04's lakehouse leaves a materialization report, Week05's semantic mart dbt's `run_results.json` and a
metric registry. Nothing here is ever guessed: a report that is missing, unreadable or says something else
than expected makes the neighbour absent, with a reason code and a sentence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LakehouseState:
    """The Iceberg snapshot of `silver.ticket_fact` that Week04 reports."""

    snapshot_id: str | int
    report_path: Path


@dataclass(frozen=True, slots=True)
class MartState:
    """The dbt invocation Week05 reports, how many of its nodes failed, and how many metrics are registered.

    `failed_node_count` is None when the report lists no results.
    """

    invocation_id: str
    metric_count: int
    failed_node_count: int | None
    run_results_path: Path


@dataclass(frozen=True, slots=True)
class Absent:
    """A neighbour that is not there: switched off by an operator (skipped), or not to be had."""

    outcome: Literal["skipped", "not_available"]
    reason_code: str
    text: str


class _UnusableError(Exception):
    """A report that cannot be used; the text says which and why. Never leaves this module."""


def read_lakehouse(*, enabled: bool | None, report_path: Path | None) -> LakehouseState | Absent:
    """Read Week04's report. `enabled` is None when nobody said; then the report decides."""
    if enabled is False:
        return Absent("skipped", "week04_lakehouse_disabled", "LAKEHOUSE_ENABLED is false")
    try:
        path = _configured(report_path, "WEEK06_WEEK04_REPORT_PATH")
        table = _member(_member(_load(path, json.loads), "tables", path), "silver.ticket_fact", path)
        snapshot_id = _identifier(table, "snapshot_id", path)
    except _UnusableError as error:
        return Absent("not_available", "week04_lakehouse_not_available", str(error))
    return LakehouseState(snapshot_id, path)


def read_mart(
    *, enabled: bool | None, run_results_path: Path | None, metric_registry_path: Path | None
) -> MartState | Absent:
    """Read Week05's reports; both must be there. `enabled` is None when nobody said; then they decide."""
    if enabled is False:
        return Absent("skipped", "week05_analytics_disabled", "ANALYTICS_ENABLED is false")
    try:
        path = _configured(run_results_path, "WEEK06_WEEK05_RUN_RESULTS_PATH")
        results = _load(path, json.loads)
        invocation_id = str(_identifier(_member(results, "metadata", path), "invocation_id", path))
        metric_count = _count_metrics(_configured(metric_registry_path, "METRIC_REGISTRY_PATH"))
    except _UnusableError as error:
        return Absent("not_available", "week05_analytics_not_available", str(error))
    return MartState(invocation_id, metric_count, _count_failed(results), path)


def _configured(path: Path | None, variable: str) -> Path:
    if path is None:
        raise _UnusableError(f"{variable} is not set")
    return path


def _load(path: Path, parse: Callable[[bytes], Any]) -> Mapping[str, Any]:
    try:
        value = parse(path.read_bytes())
    except FileNotFoundError:
        raise _UnusableError(f"{path}: there is no such file") from None
    except OSError as error:
        raise _UnusableError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        first_line = str(error).partition("\n")[0]
        raise _UnusableError(f"{path}: malformed: {first_line}") from error
    if not isinstance(value, dict):
        raise _UnusableError(f"{path}: malformed: expected an object, got a {type(value).__name__}")
    return value


def _member(record: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    value = record.get(name)
    if not isinstance(value, dict):
        raise _UnusableError(f"{path}: malformed: expected an object under {name!r}")
    return value


def _identifier(record: Mapping[str, Any], name: str, path: Path) -> str | int:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        got = json.dumps(value)[:60]
        raise _UnusableError(f"{path}: malformed: {name}: expected a text or an integer, got {got}")
    return value


def _count_metrics(path: Path) -> int:
    metrics = _load(path, yaml.safe_load).get("metrics")
    if not isinstance(metrics, list):
        raise _UnusableError(f"{path}: malformed: expected a list under 'metrics'")
    return len(metrics)


def _count_failed(results: Mapping[str, Any]) -> int | None:
    nodes = results.get("results")
    if not isinstance(nodes, list):
        return None
    failed = {"error", "fail", "runtime error"}  # dbt's statuses for a model, a test and a crashed node
    return sum(1 for node in nodes if isinstance(node, dict) and node.get("status") in failed)

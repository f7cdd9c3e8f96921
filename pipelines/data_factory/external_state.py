"""The state of the two optional neighbours, read from the reports they leave: observed, or absent and why.

Week04's lakehouse leaves a materialization report, Week05's semantic mart dbt's `run_results.json` and a
metric registry. Nothing here is ever guessed: a report that is missing, unreadable, says something else than
expected, or was made before the partition's day was over makes the neighbour absent, with a reason code and a
sentence. A report that does not say when it was made is observed: its age is unknown, and no time is stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import msgspec

from pipelines.partitions import DailyWindow, daily_window, format_instant
from run_evidence.ledger import EnvironmentFault, read_named

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAX_REPORT_BYTES: Final = 64 << 20
_Id = Annotated[str, msgspec.Meta(min_length=1)]
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Report = TypeVar("_Report")


@dataclass(frozen=True, slots=True)
class LakehouseState:
    """The Iceberg snapshot of `silver.ticket_fact` that Week04 reports, and when, where it says so."""

    snapshot_id: str | int
    report_path: Path
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class MartState:
    """The dbt invocation Week05 reports, how many of its nodes failed, and how many metrics are registered.

    `failed_node_count` is None when the report lists no results.
    """

    invocation_id: str
    metric_count: int
    failed_node_count: int | None
    run_results_path: Path
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """A neighbour that is not there: switched off by an operator (skipped), or not to be had."""

    outcome: Literal["skipped", "not_available"]
    reason_code: str
    text: str


class _Table(msgspec.Struct):
    snapshot_id: _Id | int


class _Tables(msgspec.Struct):
    ticket_fact: _Table = msgspec.field(name="silver.ticket_fact")


class _MaterializationReport(msgspec.Struct):
    tables: _Tables
    generated_at: _Instant | None = None


class _Invocation(msgspec.Struct):
    invocation_id: _Id
    invocation_started_at: _Instant | None = None
    generated_at: _Instant | None = None  # when it ended; older versions of dbt state no more

    @property
    def as_of(self) -> datetime | None:
        return self.invocation_started_at or self.generated_at


class _Node(msgspec.Struct):
    status: str


class _RunResults(msgspec.Struct):
    metadata: _Invocation
    results: list[_Node] | None = None


class _MetricRegistry(msgspec.Struct):
    metrics: list[Any]


class _UnusableError(Exception):
    """A report that cannot be used; the text says which and why. Never leaves this module."""


class _OlderError(Exception):
    """A report from before the partition was over; the text says of when. Never leaves this module."""


def read_lakehouse(
    *, enabled: bool | None, report_path: Path | None, partition: str | None = None
) -> LakehouseState | Absent:
    """Read Week04's report. `enabled` is None when nobody said; then the report decides.

    `partition` is the run's day, None for a run without one: then no report is too old.
    """
    if enabled is False:
        return Absent("skipped", "week04_lakehouse_disabled", "LAKEHOUSE_ENABLED is false")
    try:
        path = _configured(report_path, "WEEK06_WEEK04_REPORT_PATH")
        report = _read(path, _MaterializationReport, msgspec.json.decode)
        _not_older(path, report.generated_at, partition)
    except _UnusableError as error:
        return Absent("not_available", "week04_lakehouse_not_available", str(error))
    except _OlderError as error:
        return Absent("not_available", "week04_lakehouse_older_than_partition", str(error))
    return LakehouseState(report.tables.ticket_fact.snapshot_id, path, report.generated_at)


def read_mart(
    *,
    enabled: bool | None,
    run_results_path: Path | None,
    metric_registry_path: Path | None,
    partition: str | None = None,
) -> MartState | Absent:
    """Read Week05's reports; both must be there. `enabled` and `partition` are as for `read_lakehouse`."""
    if enabled is False:
        return Absent("skipped", "week05_analytics_disabled", "ANALYTICS_ENABLED is false")
    try:
        path = _configured(run_results_path, "WEEK06_WEEK05_RUN_RESULTS_PATH")
        found = _read(path, _RunResults, msgspec.json.decode)
        registry_path = _configured(metric_registry_path, "METRIC_REGISTRY_PATH")
        registry = _read(registry_path, _MetricRegistry, msgspec.yaml.decode)
        _not_older(path, found.metadata.as_of, partition)
    except _UnusableError as error:
        return Absent("not_available", "week05_analytics_not_available", str(error))
    except _OlderError as error:
        return Absent("not_available", "week05_analytics_older_than_partition", str(error))
    made = found.metadata
    return MartState(made.invocation_id, len(registry.metrics), _count_failed(found), path, made.as_of)


def _configured(path: Path | None, variable: str) -> Path:
    if path is None:
        raise _UnusableError(f"{variable} is not set")
    return path


def _read(path: Path, kind: type[_Report], decode: Callable[..., _Report]) -> _Report:
    """Read a report as a `kind`, a class of msgspec's that says what is expected of it."""
    try:
        return decode(read_named(path, max_bytes=_MAX_REPORT_BYTES), type=kind)
    except EnvironmentFault as error:
        raise _UnusableError(str(error)) from error
    except RecursionError:
        raise _UnusableError(f"{path}: malformed: nested too deeply") from None
    except ValueError as error:  # of msgspec, and bytes that are no text
        raise _UnusableError(f"{path}: malformed: {str(error).partition(chr(10))[0]}") from error


def _not_older(path: Path, as_of: datetime | None, partition: str | None) -> None:
    """Require that a report was not made before the partition's day was over: it cannot be of all of it."""
    window: DailyWindow | None = daily_window(partition) if partition else None
    if window and as_of and as_of < window.end:
        raise _OlderError(
            f"{path}: made {format_instant(as_of)}, before partition {window.key} "
            f"was over ({format_instant(window.end)}): build it again"
        )


def _count_failed(found: _RunResults) -> int | None:
    if found.results is None:
        return None
    failed = {"error", "fail", "runtime error"}  # dbt's statuses for a model, a test and a crashed node
    return sum(node.status in failed for node in found.results)

"""The kinds of storage a Dagster instance can have, as the `dagster.yaml` that asks for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

QUIET = "telemetry:\n  enabled: false\n"

StorageConfig = Callable[[str, Path], str]


def _composite(run: str, events: str, schedules: str) -> str:
    return f"run_storage:\n{run}event_log_storage:\n{events}schedule_storage:\n{schedules}"


def _section(module: str, name: str, config: str) -> str:
    return f"  module: {module}\n  class: {name}\n  config:\n    {config}\n"


def _sqlite_sections(folder: Path, event_class: str) -> str:
    where = f"base_dir: {folder / 'sections'}"
    return _composite(
        _section("dagster._core.storage.runs", "SqliteRunStorage", where),
        _section("dagster._core.storage.event_log", event_class, where),
        _section("dagster._core.storage.schedules", "SqliteScheduleStorage", where),
    )


def _postgres_sections(address: str) -> str:
    where = f'postgres_url: "{address}"'
    return _composite(
        _section("dagster_postgres.run_storage", "PostgresRunStorage", where),
        _section("dagster_postgres.event_log", "PostgresEventLogStorage", where),
        _section("dagster_postgres.schedule_storage", "PostgresScheduleStorage", where),
    )


def storage_yaml(kind: str, folder: Path, postgres: Callable[[], str]) -> str:
    """Return the `dagster.yaml` of a kind of storage with its files in a folder, or an empty database."""
    if kind == "sqlite":
        return QUIET
    if kind == "sqlite-unified":
        return f"{QUIET}storage:\n  sqlite:\n    base_dir: {folder / 'unified'}\n"
    if kind == "sqlite-sections":
        return QUIET + _sqlite_sections(folder, "SqliteEventLogStorage")
    if kind == "sqlite-consolidated":
        return QUIET + _sqlite_sections(folder, "ConsolidatedSqliteEventLogStorage")
    if kind == "postgres-sections":
        return QUIET + _postgres_sections(postgres())
    return f'{QUIET}storage:\n  postgres:\n    postgres_url: "{postgres()}"\n'

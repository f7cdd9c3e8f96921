"""The factory's three resources, and the one place where the environment is read.

A resource holds settings and hands plain objects to the assets. Secrets are passed on as the names of
environment variables, so that they are looked up at run time and are not part of any definition.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import dagster as dg

from pipelines.ingestion.databases import open_database
from pipelines.ingestion.object_store import ObjectStore, open_store
from pipelines.ingestion.settings import DEFAULT_DATABASE_URL, DEFAULT_MANIFEST_PATH, DEFAULT_OBJECT_FOLDER
from pipelines.ingestion.warehouse import Warehouse
from pipelines.manifests import SourceSettings
from pipelines.neighbours.places import lakehouse_place, mart_place
from pipelines.partitions import daily_window
from run_evidence.ledger import InputError, UsageError

DEFAULT_REPORT_DIR: Final = "reports/week06"
DEFAULT_PARTITION_START: Final = "2026-03-01"
UNKNOWN_OPERATOR: Final = "unknown"

_FLAGS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class WarehouseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`week06_postgres`: the warehouse, in PostgreSQL or an embedded DuckDB file, as its URL says."""

    database_url: str = DEFAULT_DATABASE_URL

    def open(self) -> Warehouse:
        """Return the warehouse; no connection is made yet. Raises: UsageError, EnvironmentFault."""
        return Warehouse(open_database(self.database_url))


class ObjectStoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`week06_minio`: the object store in which documents land; without an endpoint, a folder.

    Sources that lie in one are not read: they are judged as not available, and the bucket is named there.
    """

    endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    bucket: str | None = None
    folder: str = DEFAULT_OBJECT_FOLDER

    def open(self) -> ObjectStore:
        """Return the store; no connection is made yet. Raises: UsageError, EnvironmentFault."""
        return open_store(
            endpoint=self.endpoint,
            access_key=self.access_key,
            secret_key=self.secret_key,
            bucket=self.bucket,
            folder=Path(self.folder),
        )


class ReportsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`week06_reports`: where input comes from, where documents go, and how this deployment runs.

    `limit` is the number of lines to read at most; None reads all. A flag is None when nobody said.
    """

    report_dir: str = DEFAULT_REPORT_DIR
    manifest_path: str = DEFAULT_MANIFEST_PATH
    ticket_seed_path: str | None = None
    dry_run: bool = False
    limit: int | None = None
    operator: str = UNKNOWN_OPERATOR
    data_release_id: str | None = None
    lakehouse_enabled: bool | None = None
    analytics_enabled: bool | None = None
    week04_report_path: str | None = None
    week05_run_results_path: str | None = None
    metric_registry_path: str | None = None

    def source_settings(self, store: ObjectStoreResource) -> SourceSettings:
        """Return where the factory looks for its input."""
        return SourceSettings(
            manifest_path=Path(self.manifest_path),
            ticket_seed_path=optional_path(self.ticket_seed_path),
            bucket=store.bucket,
        )


def optional_path(text: str | None) -> Path | None:
    """Return the path a setting names, None when it names none."""
    return Path(text) if text else None


def resources_from_environment(environ: Mapping[str, str]) -> dict[str, dg.ConfigurableResource]:  # type: ignore[type-arg]
    """Configure the resources from environment variables; an empty variable counts as unset.

    Raises: UsageError, naming the variable, for a value that cannot be used.
    """
    value = {name: text for name, text in environ.items() if text}
    lakehouse_enabled, analytics_enabled = _flag(value, "LAKEHOUSE_ENABLED"), _flag(value, "ANALYTICS_ENABLED")
    # A neighbour that is switched on, and of which nobody says where it reports, is the one that is built here.
    lakehouse = lakehouse_place(value).documents if lakehouse_enabled else {}
    mart = mart_place(value).documents if analytics_enabled else {}
    reports = {**lakehouse, **mart, **value}
    return {
        "week06_postgres": WarehouseResource(
            database_url=dg.EnvVar("DATABASE_URL") if "DATABASE_URL" in value else DEFAULT_DATABASE_URL
        ),
        "week06_minio": ObjectStoreResource(
            endpoint=value.get("MINIO_ENDPOINT"),
            access_key=dg.EnvVar("MINIO_ACCESS_KEY") if "MINIO_ACCESS_KEY" in value else None,
            secret_key=dg.EnvVar("MINIO_SECRET_KEY") if "MINIO_SECRET_KEY" in value else None,
            bucket=value.get("MINIO_BUCKET"),
            folder=value.get("WEEK06_OBJECT_DIR", DEFAULT_OBJECT_FOLDER),
        ),
        "week06_reports": ReportsResource(
            report_dir=value.get("WEEK06_REPORT_DIR", DEFAULT_REPORT_DIR),
            manifest_path=value.get("SEED_MANIFEST_PATH", DEFAULT_MANIFEST_PATH),
            ticket_seed_path=value.get("WEEK06_TICKET_SEED_PATH"),
            dry_run=_flag(value, "WEEK06_INGEST_DRY_RUN") or False,
            limit=_count(value, "WEEK06_INGEST_LIMIT"),
            operator=value.get("WEEK06_OPERATOR", UNKNOWN_OPERATOR),
            data_release_id=value.get("WEEK06_DATA_RELEASE_ID") or value.get("RELEASE_ID"),
            lakehouse_enabled=lakehouse_enabled,
            analytics_enabled=analytics_enabled,
            week04_report_path=reports.get("WEEK06_WEEK04_REPORT_PATH"),
            week05_run_results_path=reports.get("WEEK06_WEEK05_RUN_RESULTS_PATH"),
            metric_registry_path=reports.get("METRIC_REGISTRY_PATH"),
        ),
    }


def partition_start(environ: Mapping[str, str]) -> str:
    """Return the first daily partition. Raises: UsageError when the variable names no day."""
    return _day(environ, "WEEK06_PARTITION_START_DATE") or DEFAULT_PARTITION_START


def default_partition(environ: Mapping[str, str]) -> str | None:
    """Return the partition of a run of the factory that names none; None when nobody said, and it fails.

    Raises: UsageError when the variable names no day, or one before the first partition.
    """
    day, start = _day(environ, "WEEK06_DEFAULT_PARTITION"), partition_start(environ)
    if day is not None and day < start:
        raise UsageError(
            f"WEEK06_DEFAULT_PARTITION={day!r} lies before the first partition, {start}",
            next_step=f"name {start} or a later day, unset it, or move WEEK06_PARTITION_START_DATE",
        )
    return day


def _day(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name)
    try:
        return daily_window(text).key if text else None
    except InputError as error:
        raise UsageError(f"{name}: {error}", next_step=f"correct {name} or unset it") from error


def _flag(value: Mapping[str, str], name: str) -> bool | None:
    text = value.get(name)
    if text is None:
        return None
    if text.lower() not in _FLAGS:
        raise UsageError(
            f"{name}={text!r}: expected one of {', '.join(_FLAGS)}", next_step=f"correct {name} or unset it"
        )
    return _FLAGS[text.lower()]


def _count(value: Mapping[str, str], name: str) -> int | None:
    text = value.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise UsageError(
            f"{name}={text!r}: expected a number of lines, 0 or more", next_step=f"correct {name} or unset it"
        )
    return int(text)

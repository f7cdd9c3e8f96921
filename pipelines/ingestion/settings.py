"""Ingest's settings, from a mapping as the environment is one; an empty value counts as unset.

Without configuration everything that is written stays below the working directory, in a folder that is not
versioned.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipelines.ingestion.databases import open_database
from pipelines.ingestion.object_store import ObjectStore, open_store
from pipelines.ingestion.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_DATABASE_URL: Final = "duckdb:///.demo/warehouse.duckdb"
DEFAULT_MANIFEST_PATH: Final = "data/seed_manifests"
DEFAULT_OBJECT_FOLDER: Final = ".demo/objects"


def warehouse_of(environ: Mapping[str, str]) -> Warehouse:
    """Return the warehouse that DATABASE_URL names. Raises: UsageError, EnvironmentFault."""
    return Warehouse(open_database(environ.get("DATABASE_URL") or DEFAULT_DATABASE_URL))


def store_of(environ: Mapping[str, str]) -> ObjectStore:
    """Return the object store that MINIO_ENDPOINT names, else a folder. Raises: UsageError, EnvironmentFault."""
    return open_store(
        endpoint=environ.get("MINIO_ENDPOINT"),
        access_key=environ.get("MINIO_ACCESS_KEY"),
        secret_key=environ.get("MINIO_SECRET_KEY"),
        bucket=environ.get("MINIO_BUCKET"),
        folder=Path(environ.get("WEEK06_OBJECT_DIR") or DEFAULT_OBJECT_FOLDER),
    )


def release_of(environ: Mapping[str, str]) -> str | None:
    """Return the data release that is written beside rows."""
    return environ.get("WEEK06_DATA_RELEASE_ID") or environ.get("RELEASE_ID") or None

"""Where the neighbours that are built here lie, from a mapping as the environment is one; pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_LAKEHOUSE_FOLDER: Final = ".demo/lakehouse"
DEFAULT_MART_FOLDER: Final = ".demo/analytics"


@dataclass(frozen=True, slots=True)
class LakehousePlace:
    """The folder of the lakehouse, and in it the report of its last build."""

    folder: Path

    @property
    def report(self) -> Path:
        """Week04's materialization report."""
        return self.folder / "materialization_report.json"

    @property
    def documents(self) -> dict[str, str]:
        """What the factory reads, by the variable that can name another one."""
        return {"WEEK06_WEEK04_REPORT_PATH": str(self.report)}


@dataclass(frozen=True, slots=True)
class MartPlace:
    """The folder of the mart, and in it what its last build left."""

    folder: Path

    @property
    def database(self) -> Path:
        """The mart itself, a DuckDB file."""
        return self.folder / "mart.duckdb"

    @property
    def report(self) -> Path:
        """The results of dbt's last run."""
        return self.folder / "run_results.json"

    @property
    def registry(self) -> Path:
        """The metrics that can be asked of the mart."""
        return self.folder / "metric_registry.yml"

    @property
    def documents(self) -> dict[str, str]:
        """What the factory reads, by the variable that can name another one."""
        return {"WEEK06_WEEK05_RUN_RESULTS_PATH": str(self.report), "METRIC_REGISTRY_PATH": str(self.registry)}


def lakehouse_place(environ: Mapping[str, str]) -> LakehousePlace:
    """Return where the lakehouse lies."""
    return LakehousePlace(Path(environ.get("WEEK04_LAKEHOUSE_DIR") or DEFAULT_LAKEHOUSE_FOLDER))


def mart_place(environ: Mapping[str, str]) -> MartPlace:
    """Return where the mart lies."""
    return MartPlace(Path(environ.get("WEEK05_ANALYTICS_DIR") or DEFAULT_MART_FOLDER))

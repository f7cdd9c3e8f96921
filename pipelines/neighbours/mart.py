"""Week05, small: a mart of KPIs that dbt builds and tests from Silver, and the two files that Week06 reads.

dbt is run as a command, for it need not be in this environment. Silver is given to it as a Parquet file, so that
the warehouse may be in any database. The project is `pipelines/analytics/`; what is written lies in the mart's
folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pyarrow import parquet

from pipelines.neighbours.tables import read_tables
from run_evidence.ledger import EnvironmentFault, UsageError, replace_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.ingestion.warehouse import Warehouse
    from pipelines.neighbours.places import MartPlace

PROJECT: Final = Path(__file__).parents[1] / "analytics"
REGISTRY: Final = PROJECT / "metric_registry.yml"
_TIMEOUT_S: Final = 900  # against hanging alone
# Where warehouse and bucket are is not for dbt to know, and a user's settings of it are for another project.
_NOT_FOR_DBT: Final = ("DATABASE_URL", "MINIO_", "DBT_")
_GOOD: Final = {"success", "pass", "warn"}


@dataclass(frozen=True, slots=True)
class BuiltMart:
    """What dbt says it did: its invocation, the status of each node by its id, and how many metrics there are."""

    invocation_id: str
    statuses: dict[str, str]
    metric_count: int

    @property
    def failed(self) -> list[str]:
        """The nodes that did not succeed, those that were skipped after them included."""
        return [name for name, status in self.statuses.items() if status not in _GOOD]


class _Metadata(msgspec.Struct):
    invocation_id: str


class _Node(msgspec.Struct):
    unique_id: str
    status: str


class _RunResults(msgspec.Struct):
    metadata: _Metadata
    results: list[_Node]


class _Registry(msgspec.Struct):
    metrics: list[Any]


def find_dbt(environ: Mapping[str, str]) -> Path | None:
    """Return the command dbt: DBT_COMMAND, else the one beside the interpreter, else on PATH; None without one.

    Raises: UsageError when DBT_COMMAND names no file.
    """
    if named := environ.get("DBT_COMMAND"):
        if not Path(named).is_file():
            raise UsageError(f"DBT_COMMAND={named!r} is no file", next_step="correct DBT_COMMAND or unset it")
        return Path(named).absolute()  # it is run in another folder
    beside = Path(sys.executable).parent
    found = shutil.which("dbt", path=os.pathsep.join([str(beside), environ.get("PATH", "")]))
    return Path(found) if found else None


def build_mart(warehouse: Warehouse, place: MartPlace, environ: Mapping[str, str]) -> BuiltMart:
    """Build and test the mart from the warehouse's state; what failed in it is in what is returned.

    From the first write on the results of an earlier build are gone.

    Raises: UsageError, DatabaseMissingError, EnvironmentFault.
    """
    dbt = find_dbt(environ)
    if dbt is None:
        raise EnvironmentFault(
            "the mart is built with dbt, which is not installed",
            next_step="pip install -e '.[analytics]', or name the command: export DBT_COMMAND=/path/to/dbt",
        )
    folder = place.folder.absolute()
    silver, target = folder / "silver", folder / "target"
    silver.mkdir(parents=True, exist_ok=True)
    parquet.write_table(read_tables(warehouse).silver, silver / "ticket_fact.parquet")
    made = target / "run_results.json"
    for earlier in (made, place.report):  # a build that fails must not leave an older one's
        earlier.unlink(missing_ok=True)
    command = [str(dbt), "--no-use-colors", "--log-path", str(folder / "logs"), "build"]
    where = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(target)]
    given = {
        **{name: text for name, text in environ.items() if not name.startswith(_NOT_FOR_DBT)},
        "DO_NOT_TRACK": "1",
        "MART_DATABASE": str(place.database.absolute()),
        "MART_SOURCE": str(silver),
    }
    try:
        done = subprocess.run(  # noqa: S603 (the operator's own command)
            [*command, *where],
            capture_output=True,
            text=True,
            check=False,
            env=given,
            cwd=folder,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFault(f"{dbt} did not run: {error}", next_step="check DBT_COMMAND") from error
    if not made.is_file():
        last_lines = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise EnvironmentFault(
            f"{dbt} ended with exit code {done.returncode} and left no results:\n{last_lines}",
            next_step=f"see {folder / 'logs' / 'dbt.log'}",
        )
    return _publish(made, place)


def _publish(made: Path, place: MartPlace) -> BuiltMart:
    """Leave registry and results where Week06 looks for them, the results last."""
    results, registry = made.read_bytes(), REGISTRY.read_bytes()
    found = msgspec.json.decode(results, type=_RunResults)
    metrics = msgspec.yaml.decode(registry, type=_Registry).metrics
    replace_atomic(place.registry, registry)
    replace_atomic(place.report, results)
    return BuiltMart(
        found.metadata.invocation_id, {node.unique_id: node.status for node in found.results}, len(metrics)
    )

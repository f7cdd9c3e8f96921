"""Real, persistent Dagster instances, each in a folder of its own, and a ledger beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from stores import QUIET, StorageConfig, storage_yaml

from run_evidence.ledger import Ledger
from run_evidence.sensors.attach.attachment import Attachment
from tests.postgres import new_database, postgres_server


@pytest.fixture(scope="session")
def postgres_address() -> Iterator[str]:
    yield from postgres_server()


@pytest.fixture(scope="session")
def storage_config(request: pytest.FixtureRequest) -> StorageConfig:
    """Give the `dagster.yaml` of a kind of storage; a PostgreSQL server is started when one is asked for."""

    def config(kind: str, folder: Path) -> str:
        return storage_yaml(kind, folder, lambda: new_database(request.getfixturevalue("postgres_address")))

    return config


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a DAGSTER_HOME whose databases are made and empty, to be copied: making them takes half a second."""
    folder = tmp_path_factory.mktemp("new") / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(QUIET)
    with dg.DagsterInstance.from_config(str(folder)):
        return folder


@pytest.fixture
def home(new_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give DAGSTER_HOME, without any runs."""
    folder = tmp_path / "dagster"
    shutil.copytree(new_home, folder)
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    for name in ("LEDGER_URL", "TRACE_ID", "RELEASE_ID", "GIT_SHA", "BATCH_ID"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hook and the sensors take their time on a busy machine, but for the tests that shorten it."""
    bounded = Attachment.bounded

    def patiently(self: Attachment, *arguments: Any) -> bool:
        *others, seconds = arguments
        return bounded(self, *others, 600.0 if seconds >= 2 else seconds)

    monkeypatch.setattr(Attachment, "bounded", patiently)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")

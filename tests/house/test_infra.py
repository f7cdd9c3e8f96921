"""What `infra/` says, read by the program that will read it; no container engine is needed, and none is started."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from pipelines.ingestion.object_store import BucketStore
from pipelines.resources import ReportsResource, resources_from_environment
from run_evidence.ledger import EnvironmentFault
from tests.mortal_servers import S3_KEYS, MortalPostgres, MortalS3

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
COMPOSE_FILE = INFRA / "docker-compose.yml"
EXAMPLE = INFRA / "env/.env.example"
SECRETS = {"POSTGRES_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"}
FACTORY = ("webserver", "daemon", "devbox")


def example() -> dict[str, str]:
    """Return the variables of the example, in its order."""
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Have compose read the file as the lesson's command does, with these variables in the environment file."""
    compose = Path(sys.executable).parent / "docker-compose"
    if not compose.exists():
        pytest.skip("docker-compose is not installed: there is none for this platform")

    def read(**variables: str) -> subprocess.CompletedProcess[str]:
        env_file = tmp_path / ".env.local"
        env_file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        command = [compose, "--env-file", env_file, "-f", COMPOSE_FILE, "config", "--format", "json"]
        return subprocess.run(command, env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False)

    return read


@pytest.fixture
def services(read: Callable[..., subprocess.CompletedProcess[str]]) -> dict[str, Any]:
    done = read(**example() | dict.fromkeys(SECRETS, "set"))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_it_has_what_the_factory_needs(services: dict[str, Any]) -> None:
    """The same settings for all that runs the factory, which waits for its servers; nothing is open to others."""
    assert services.keys() == {"postgres", "s3", *FACTORY}
    settings = [services[name]["environment"] for name in FACTORY]
    assert settings[0] == settings[1] == settings[2]
    assert settings[0]["DATABASE_URL"] == "postgresql://factory:set@postgres:5432/omnisupport"
    assert settings[0]["MINIO_ENDPOINT"] == "http://s3:8333"
    for name in FACTORY:
        assert {each["condition"] for each in services[name]["depends_on"].values()} == {"service_healthy"}
        assert services[name]["depends_on"].keys() == {"postgres", "s3"}
    for name in ("postgres", "s3"):
        assert services[name]["healthcheck"]["test"]
    ports = [port for each in services.values() for port in each.get("ports", ())]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert "3000" in {port["published"] for port in ports}


@pytest.mark.parametrize("switch", ["", "true"])
def test_the_factory_takes_the_settings_it_is_given(
    read: Callable[..., subprocess.CompletedProcess[str]], switch: str
) -> None:
    """The example's, with nothing more set, and with both neighbours, whose reports outlive a container."""
    switches = dict.fromkeys(["LAKEHOUSE_ENABLED", "ANALYTICS_ENABLED"], switch)
    done = read(**example() | dict.fromkeys(SECRETS, "set") | switches)
    settings = json.loads(done.stdout)["services"]["devbox"]["environment"]
    reports = resources_from_environment(settings)["week06_reports"]
    assert isinstance(reports, ReportsResource)
    found = {reports.week04_report_path, reports.week05_run_results_path}
    assert all(str(path).startswith("/data/") for path in found) if switch else found == {None}


def test_images_are_pinned_by_tag(services: dict[str, Any]) -> None:
    """A version, so that tomorrow's is the same; the one that is built here has its base pinned."""
    base = re.findall(r"^FROM (\S+)", (INFRA / "Dockerfile").read_text(), re.MULTILINE)
    pulled = [each["image"] for each in services.values() if "build" not in each]
    assert len(pulled) == 2
    for image in [*base, *pulled]:
        assert re.fullmatch(r"[a-z/]+:\d+(\.\d+)+(-[a-z-]+)?", image), image


@pytest.mark.parametrize("name", sorted({*SECRETS, "POSTGRES_USER", "POSTGRES_DB", "MINIO_BUCKET"}))
@pytest.mark.parametrize("how", ["unset", "empty"])
def test_it_does_not_start_without(
    read: Callable[..., subprocess.CompletedProcess[str]], name: str, how: str
) -> None:
    """Refused with the variable's name and where to set it; nothing falls back to a known password."""
    variables = example() | dict.fromkeys(SECRETS, "set") | {name: ""}
    if how == "unset":
        del variables[name]
    done = read(**variables)
    assert done.returncode != 0
    assert f"{name} is missing a value: set it in infra/env/.env.local" in done.stderr


def test_the_example_has_every_variable_and_no_secret() -> None:
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE_FILE.read_text()))
    assert asked == example().keys()
    assert {name for name, value in example().items() if not value} >= SECRETS
    assert "infra/env/.env.local" in (ROOT / ".gitignore").read_text().splitlines()


def test_what_the_image_is_built_from_is_there() -> None:
    """Each thing that is copied, and is let through; each package that is installed is pinned."""
    text = (INFRA / "Dockerfile").read_text()
    let_through = (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
    for words in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        for source in words.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in let_through, source
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {"dagster-webserver", "dagster-postgres", "dagster-dg-cli"} <= pinned
    assert "PIP_CONSTRAINT=constraints.txt" in text


@pytest.fixture
def mortal_postgres() -> Iterator[MortalPostgres]:
    yield from MortalPostgres.started()


@pytest.mark.postgres
@pytest.mark.soak
def test_dagster_keeps_its_runs_in_that_postgres(
    mortal_postgres: MortalPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, services: dict[str, Any]
) -> None:
    """With the database that the server's first start makes, and the variables that the containers have."""
    import psycopg

    port = mortal_postgres.listen()
    uri = f"postgresql://postgres@127.0.0.1:{port}"
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute((INFRA / "postgres/dagster.sql").read_bytes())
    for name, value in services["daemon"]["environment"].items():
        if name.startswith("DAGSTER_POSTGRES_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_POSTGRES_USER", "postgres")
    monkeypatch.setenv("DAGSTER_POSTGRES_HOST", "127.0.0.1")
    text = (INFRA / "dagster.yaml").read_text().replace("/data/dagster", str(tmp_path / "files"))
    (tmp_path / "dagster.yaml").write_text(text.replace("port: 5432", f"port: {port}"))

    @dg.asset
    def one() -> None: ...

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        run_id = dg.materialize([one], instance=instance).run_id
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
    with psycopg.connect(f"{uri}/dagster") as connection:
        assert connection.execute("SELECT run_id FROM runs").fetchall() == [(run_id,)]


@pytest.mark.s3
@pytest.mark.soak
def test_the_object_store_knows_one_key(tmp_path: Path, services: dict[str, Any]) -> None:
    """Started by the command and the variables of the file; another key, and none, are refused."""
    command = [word.replace("=/data", f"={tmp_path}") for word in services["s3"]["command"]]
    variables = {"AWS_ACCESS_KEY_ID": S3_KEYS["access_key"], "AWS_SECRET_ACCESS_KEY": S3_KEYS["secret_key"]}
    assert services["s3"]["environment"].keys() == variables.keys()
    path = tmp_path / "document"
    path.write_bytes(b"x")
    sha256 = hashlib.sha256(b"x").hexdigest()
    for server in MortalS3.started(
        [word for word in command if "ip" not in word and "port" not in word], variables
    ):
        assert BucketStore(server.endpoint, **S3_KEYS, bucket="documents").put_file(path, sha256)
        with pytest.raises(EnvironmentFault):
            BucketStore(server.endpoint, "access", "wrong", "documents").size_bytes(sha256)


def test_the_lessons_command_is_the_files_own() -> None:
    """As it stands in the lesson, in the file and in the documentation."""
    command = "docker compose --env-file infra/env/.env.local -f infra/docker-compose.yml up -d"
    assert command in COMPOSE_FILE.read_text()
    assert command in (ROOT / "docs/factory.md").read_text()
    assert yaml.safe_load(COMPOSE_FILE.read_text())["name"]
    assert os.path.relpath(COMPOSE_FILE, ROOT) in command

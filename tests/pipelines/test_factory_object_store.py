"""One contract for both object stores: a folder, and a bucket of a real S3 server."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.ingestion.object_store import (
    PART_BYTES,
    BucketStore,
    FolderObjectStore,
    ObjectStore,
    object_key,
    open_store,
)
from pipelines.ingestion.refusals import RefusedInputError
from run_evidence.ledger import EnvironmentFault, UsageError
from tests.mortal_servers import S3_KEYS as KEYS
from tests.mortal_servers import MortalS3


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """Run a SeaweedFS server for the module."""
    for server in MortalS3.started():
        yield server.endpoint


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """Give an empty store, once of each kind."""
    if request.param == "folder":
        return FolderObjectStore(tmp_path / "objects")
    name = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:20]
    return BucketStore(request.getfixturevalue("s3_server"), **KEYS, bucket=name)


@pytest.fixture
def made(tmp_path: Path) -> Callable[[bytes], tuple[Path, str]]:
    """Write a file and return it with its SHA-256."""

    def make(contents: bytes) -> tuple[Path, str]:
        path = tmp_path / "document.pdf"
        path.write_bytes(contents)
        return path, hashlib.sha256(contents).hexdigest()

    return make


@pytest.mark.parametrize("contents", [b"", b"one", bytes(range(256)) * (2 * PART_BYTES // 256) + b"three parts"])
def test_what_was_put_is_read_under_its_digest(
    store: ObjectStore, made: Callable[[bytes], tuple[Path, str]], contents: bytes
) -> None:
    """Empty, small, and large enough for several parts; putting it again changes nothing."""
    path, sha256 = made(contents)
    key = object_key(sha256)
    assert store.size_bytes(key) is None
    assert store.put_file(path, sha256)
    assert store.size_bytes(key) == len(contents)
    assert b"".join(store.read(key)) == contents
    assert not store.put_file(path, sha256)


@pytest.mark.parametrize("size_bytes", [10, 2 * PART_BYTES + 10])
def test_a_file_that_changed_lands_under_no_name(
    store: ObjectStore, made: Callable[[bytes], tuple[Path, str]], size_bytes: int
) -> None:
    """The bytes that would be read are not those that were judged."""
    path, sha256 = made(b"a" * size_bytes)
    path.write_bytes(b"b" * size_bytes)
    with pytest.raises(RefusedInputError, match="changed while") as refused:
        store.put_file(path, sha256)
    assert refused.value.reason_codes == ("source_changed",)
    assert store.size_bytes(object_key(sha256)) is None


@pytest.mark.parametrize("size_bytes", [10, 2 * PART_BYTES + 10])
def test_an_upload_that_was_interrupted_leaves_nothing_visible(
    store: ObjectStore,
    made: Callable[[bytes], tuple[Path, str]],
    size_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever ends it in the middle; the same upload afterwards is whole."""
    path, sha256 = made(b"a" * size_bytes)

    def broken(path: Path, _: str) -> Iterator[bytes]:
        with path.open("rb") as file:
            yield file.read(size_bytes - 1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.ingestion.object_store.checked", broken)
        with pytest.raises(KeyboardInterrupt):
            store.put_file(path, sha256)
    assert store.size_bytes(object_key(sha256)) is None
    assert store.put_file(path, sha256)
    assert store.size_bytes(object_key(sha256)) == size_bytes


def test_an_object_that_is_not_there_is_not_read_as_empty(store: ObjectStore) -> None:
    with pytest.raises(EnvironmentFault):
        list(store.read(object_key("0" * 64)))


@pytest.mark.parametrize("answers", ["refuses", "never answers"])
def test_a_server_that_is_not_there_is_named_soon(tmp_path: Path, answers: str) -> None:
    """Within ten seconds, with the variable to correct and without the secret."""
    path = tmp_path / "document"
    path.write_bytes(b"x")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if answers == "never answers":
            listener.listen()
        store = BucketStore(f"http://127.0.0.1:{listener.getsockname()[1]}", **KEYS, bucket="documents")
        started = time.monotonic()
        with pytest.raises(EnvironmentFault) as fault:
            store.put_file(path, hashlib.sha256(b"x").hexdigest())
        assert time.monotonic() - started < 10
    assert "MINIO_ENDPOINT" in str(fault.value.next_step)
    assert "127.0.0.1" in str(fault.value)
    assert KEYS["secret_key"] not in f"{fault.value} {store!r}"


@pytest.mark.s3
def test_a_wrong_key_is_a_fault_that_names_the_variables(s3_server: str) -> None:
    store = BucketStore(s3_server, "access", "wrong", "documents")
    with pytest.raises(EnvironmentFault) as fault:
        store.size_bytes(object_key("0" * 64))
    assert "keys" in str(fault.value.next_step)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"endpoint": "localhost:9000", **KEYS, "bucket": "b"}, "MINIO_ENDPOINT"),
        ({"endpoint": "http://h", "access_key": None, "secret_key": "s", "bucket": "b"}, "MINIO_ACCESS_KEY"),
        ({"endpoint": "http://h", "access_key": "a", "secret_key": "", "bucket": "b"}, "MINIO_SECRET_KEY"),
        ({"endpoint": "http://h", **KEYS, "bucket": None}, "MINIO_BUCKET"),
    ],
)
def test_settings_that_name_no_store_are_refused_by_name(
    tmp_path: Path, settings: dict[str, str | None], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        open_store(**settings, folder=tmp_path)  # type: ignore[arg-type]


@pytest.mark.soak
def test_without_an_endpoint_it_is_a_folder(tmp_path: Path) -> None:
    assert open_store(endpoint=None, **KEYS, bucket="b", folder=tmp_path).name == str(tmp_path)

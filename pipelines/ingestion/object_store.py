"""Where documents land: objects named by what is in them, in a folder or a bucket.

A key is the SHA-256 of the object's bytes, so an object is never changed, writing it again is harmless, and what is
read can be checked by its name. Under its key an object is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

from pipelines.ingestion.refusals import RefusedInputError
from run_evidence.ledger import EnvironmentFault, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from obstore.store import S3Store

CHUNK_BYTES: Final = 1 << 20
PART_BYTES: Final = 8 << 20
# Seconds: to connect, for a short answer, for one part. A server that is not there is named within 10 s.
_CONNECT_S: Final = 3
_ANSWER_S: Final = 5
_TRANSFER_S: Final = 120


class ObjectStore(Protocol):
    """Somewhere objects live."""

    @property
    def name(self) -> str:
        """What to call it in a message; never holds a password."""

    def put_file(self, path: Path, sha256: str) -> bool:
        """Land a file under `object_key(sha256)`; False when it was there already.

        Raises: RefusedInputError when the file's bytes have another SHA-256, and nothing is visible then;
        EnvironmentFault when the store cannot be had.
        """

    def size_bytes(self, key: str) -> int | None:
        """Return the size of an object, None when it is not there. Raises: EnvironmentFault."""

    def read(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes in pieces. Raises: EnvironmentFault, also when it is not there."""


def object_key(sha256: str) -> str:
    """Return the key of an object with this SHA-256 (hex)."""
    return f"raw/sha256/{sha256[:2]}/{sha256}"


def open_store(
    *, endpoint: str | None, access_key: str | None, secret_key: str | None, bucket: str | None, folder: Path
) -> ObjectStore:
    """Return the store that the settings name; without an endpoint, `folder`. Nothing is opened yet.

    Raises: UsageError, naming the variable, for settings that name no store; EnvironmentFault when the client is
    not installed.
    """
    if not endpoint:
        return FolderObjectStore(folder)
    if not endpoint.startswith(("http://", "https://")):
        raise UsageError(
            "MINIO_ENDPOINT: expected an address that begins with http:// or https://",
            next_step="set MINIO_ENDPOINT to one such as http://localhost:9000, or unset it to use a folder",
        )
    if not (access_key and secret_key and bucket):
        needed = {"MINIO_ACCESS_KEY": access_key, "MINIO_SECRET_KEY": secret_key, "MINIO_BUCKET": bucket}
        missing = ", ".join(name for name, value in needed.items() if not value)
        raise UsageError(
            f"MINIO_ENDPOINT is set, but not {missing}",
            next_step=f"set {missing}, or unset MINIO_ENDPOINT to use a folder",
        )
    if find_spec("obstore") is None:
        raise EnvironmentFault(
            "MINIO_ENDPOINT names an object store, but its client is not installed",
            next_step="pip install 'run-evidence-ledger[s3]'",
        )
    return BucketStore(endpoint, access_key, secret_key, bucket)


def checked(path: Path, sha256: str) -> Iterator[bytes]:
    """Yield a file's bytes in pieces of `CHUNK_BYTES`.

    Raises: RefusedInputError after the last one when they have another SHA-256: the file was changed after it was
    judged, so that nobody has judged these bytes.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != sha256:
        raise RefusedInputError(
            f"{path}: expected SHA-256 {sha256}, read {digest.hexdigest()}: the file changed while it was ingested",
            next_step="see that nobody writes to deliveries that are complete, then ingest it again",
            reason_codes=["source_changed"],
        )


@dataclass(frozen=True, slots=True)
class FolderObjectStore:
    """Objects as files of a folder, which is made by the first one."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    def put_file(self, path: Path, sha256: str) -> bool:
        """Write the file beside its place, then rename it: a reader sees all of it or nothing."""
        target = self.folder / object_key(sha256)
        try:
            if target.exists():
                return False
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._fault(error) from error
        unfinished = target.parent / f".{uuid.uuid4().hex}.unfinished"
        try:
            with unfinished.open("xb") as file:
                for chunk in checked(path, sha256):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(target)
        except OSError as error:
            raise self._fault(error) from error
        finally:
            unfinished.unlink(missing_ok=True)
        return True

    def size_bytes(self, key: str) -> int | None:
        """Return the size of an object's file."""
        try:
            return (self.folder / key).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._fault(error) from error

    def read(self, key: str) -> Iterator[bytes]:
        """Yield an object's file in pieces."""
        try:
            with (self.folder / key).open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> EnvironmentFault:
        return EnvironmentFault(
            f"{error.filename or self.folder}: the object store's folder refused: {error.strerror}",
            next_step="make it accessible, or set MINIO_ENDPOINT to an object store",
        )


@dataclass(slots=True)
class BucketStore:
    """Objects in a bucket of an S3 server. Larger ones are sent in parts of `PART_BYTES`."""

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str
    _reached: bool = False

    @property
    def name(self) -> str:
        """Bucket and address."""
        return f"bucket {self.bucket} at {self.endpoint}"

    def put_file(self, path: Path, sha256: str) -> bool:
        """Send the file; in parts, which are no object before the last one is confirmed."""
        key = object_key(sha256)
        if self.size_bytes(key) == path.stat().st_size:
            return False
        with self._faults():
            self._client(_TRANSFER_S).put(
                key, checked(path, sha256), use_multipart=True, chunk_size=PART_BYTES, max_concurrency=2
            )
        return True

    def size_bytes(self, key: str) -> int | None:
        """Ask for the size of an object."""
        with self._faults():
            try:
                size = self._client(_ANSWER_S).head(key)["size"]
            except FileNotFoundError:
                size = None
        self._reached = True
        return size

    def read(self, key: str) -> Iterator[bytes]:
        """Yield an object in pieces as they come."""
        if not self._reached:
            self.size_bytes(key)  # a server that is not there is noticed soon; a long transfer may take its time
        with self._faults():
            for chunk in self._client(_TRANSFER_S).get(key).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def _client(self, timeout_s: int) -> S3Store:
        from obstore.store import S3Store  # the client is an optional extra

        return S3Store(
            self.bucket,
            endpoint=self.endpoint,
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            region="us-east-1",  # signed, and looked at by no server of one's own
            virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": f"{timeout_s}s", "connect_timeout": f"{_CONNECT_S}s"},
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=_ANSWER_S)},
        )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn what the client raises into a fault of the environment. The client's own text names no secret."""
        from obstore.exceptions import BaseError  # the client is an optional extra

        try:
            yield
        except (BaseError, OSError) as error:
            first_line = str(error).partition("\n")[0]
            raise EnvironmentFault(
                f"MINIO_ENDPOINT: {self.name} cannot be used: {first_line}",
                next_step="check MINIO_ENDPOINT, MINIO_BUCKET and the keys, and that the server is running",
            ) from error

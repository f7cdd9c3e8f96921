"""Who signs a ledger's checkpoints: the keys it names as its own, and where a process finds the private one.

`keys/<key id>.json` is the ledger's own, public note of a key: the verifier key, and from which size on every
checkpoint carries its signature. It lets `ledger verify` notice a signature that was taken away. Whoever can change
everything in the ledger can change this too, so an auditor brings the verifier key along (`--key`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.model.canonical import canonical
from run_evidence.ledger.storage.checkpoint_memory import CheckpointMemory
from run_evidence.ledger.storage.files import (
    MAX_SETTINGS_BYTES,
)
from run_evidence.ledger.storage.key_file import key_file_name, read_key_file
from run_evidence.ledger.storage.layout import KEYS
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.keys import ED25519, Signer, Verifier, format_vkey, parse_vkey

MEMORY_SETTING: Final = "LEDGER_KEY_MEMORY"
"""The environment variable that names the folder where keys remember what they signed."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key of this ledger. Heads of `signed_from` entries and more carry its signature; `None`: none yet."""

    verifier: Verifier
    signed_from: int | None = None


def read_records(store: Store) -> list[KeyRecord]:
    """Return the ledger's keys, the one in use last.

    Raises: IntegrityError naming the record that is not what `record_key` writes.
    """
    found = [_read_record(store, name) for name in store.names(KEYS) if name.endswith(".json")]
    return sorted(found, key=lambda r: (r.signed_from is None, r.signed_from or 0))


def _read_record(store: Store, name: str) -> KeyRecord:
    try:
        content = store.read(f"{KEYS}/{name}", max_bytes=MAX_SETTINGS_BYTES)
        body = orjson.loads(content)
        record = KeyRecord(parse_vkey(body["vkey"]), body.get("signed_from"))
        start = record.signed_from
        if _record_bytes(record) != content or not (start is None or (type(start) is int and start > 0)):
            raise ValueError("it is not in its one form")  # noqa: TRY301 - one message for every way to be wrong
        if name != f"{record.verifier.key_id.hex()}.json":
            raise ValueError(f"its key has id {record.verifier.key_id.hex()}")  # noqa: TRY301
    except (
        orjson.JSONDecodeError,
        IntegrityError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        UsageError,
    ) as error:
        raise IntegrityError(
            f"{KEYS}/{name} is not the record of a key: {error}",
            next_step="restore it from a copy, or verify with the key you hold: ledger verify --key VKEY",
        ) from None
    return record


def _record_bytes(record: KeyRecord) -> bytes:
    body: dict[str, str | int] = {"vkey": format_vkey(record.verifier)}
    if record.signed_from is not None:
        body["signed_from"] = record.signed_from
    return canonical(dict(body)) + b"\n"


def record_key(store: Store, verifier: Verifier) -> None:
    """Note durably that this key is the ledger's. Fine when it is noted already.

    Raises: UsageError for a witness's key.
    """
    if verifier.algorithm != ED25519:
        raise UsageError(
            f"the key {verifier.name} is a witness's: it cosigns, and cannot sign this ledger's checkpoints"
        )
    with contextlib.suppress(FileExistsError):
        store.create(_record_name(verifier), _record_bytes(KeyRecord(verifier)))


def record_signed_from(store: Store, verifier: Verifier, size: int) -> None:
    """Note durably that every checkpoint of `size` entries and more carries this key's signature."""
    store.replace(_record_name(verifier), _record_bytes(KeyRecord(verifier, size)))


def _record_name(verifier: Verifier) -> str:
    return f"{KEYS}/{verifier.key_id.hex()}.json"


@dataclass(frozen=True, slots=True)
class LogSigner:
    """A log's private key with the memory of what it signed last. The memory lies outside the ledger."""

    key: Signer
    memory: CheckpointMemory


@dataclass(frozen=True, slots=True)
class SigningSetup:
    """Where a process looks for the ledger's private key, and which witnesses it asks.

    `key_file` is one the user named and must be there; `folder` is where `ledger key new` puts keys, and holds
    the ledger's or not. `witnesses` are submission prefixes (http://host:port); with `witness_keys`, only
    cosignatures by these are kept. `memory` is where keys remember what they signed, else beside their files.
    """

    key_file: Path | None = None
    folder: Path | None = None
    witnesses: tuple[str, ...] = ()
    witness_keys: tuple[Verifier, ...] = ()
    memory: Path | None = None

    def signer(self, store: Store) -> LogSigner | None:
        """Return the ledger's private key with its memory, `None` when this process has none.

        Raises: EnvironmentFault for a key file that others can read, or a named one that is missing;
        UsageError for a named key that is not this ledger's; IntegrityError for a damaged record.
        """
        records = read_records(store)
        if self.key_file is not None:
            return self._remembering(self.key_file, self._named(records, self.key_file))
        for record in reversed(records):
            path = self.folder / key_file_name(record.verifier.name) if self.folder else None
            if path is not None and path.is_file():
                signer = read_key_file(path)
                if signer.verifier() == record.verifier:
                    return self._remembering(path, signer)
        return None

    def _remembering(self, path: Path, signer: Signer) -> LogSigner:
        return LogSigner(signer, memory_of(path, signer.verifier(), self.memory))

    @staticmethod
    def _named(records: Sequence[KeyRecord], path: Path) -> Signer:
        signer = read_key_file(path)
        known = [record.verifier for record in records]
        if known and signer.verifier() not in known:
            names = ", ".join(format_vkey(key) for key in known)
            raise UsageError(
                f"{path} is the key {format_vkey(signer.verifier())}, this ledger is signed by {names}.",
                next_step="name the ledger's key with --key, or add this one: ledger key add FILE",
            )
        return signer


def memory_of(key_file: Path, key: Verifier, folder: Path | None = None) -> CheckpointMemory:
    """Return the memory of the key in this file: below `folder` where one is set, else beside the file."""
    if folder is not None:
        return CheckpointMemory(folder / f"{key.key_id.hex()}.signed")
    return CheckpointMemory(key_file.with_name(f"{key_file.name}.signed"))

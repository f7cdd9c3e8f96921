"""Small real ledgers for the tests of trust: appended, sealed in pieces, signed."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from run_evidence.ledger import Ledger
from run_evidence.ledger.storage.checkpoints import read_checkpoint
from run_evidence.ledger.storage.key_file import write_key_file
from run_evidence.ledger.storage.keyring import SigningSetup, memory_of
from run_evidence.ledger.tlog.checkpoint import StoredCheckpoint
from run_evidence.ledger.tlog.keys import Signer, format_vkey
from run_evidence.ledger.verification.findings import Finding
from tests.ledger.samples import NOON, Clock, own, record

LOG_KEY = Signer("example.com/ledger", 0x01, bytes(range(32)))
OTHER_KEY = Signer("example.com/ledger", 0x01, bytes(32))
WITNESS_KEY = Signer("witness.example/w1", 0x04, bytes(range(1, 33)))
VKEY = format_vkey(LOG_KEY.verifier())


def key_file(folder: Path, signer: Signer = LOG_KEY) -> Path:
    """Return a file with a private key, written once."""
    path = folder / f"{format_vkey(signer.verifier())[-12:].replace('/', '_')}.key"
    if not path.exists():
        write_key_file(path, signer)
        memory_of(path, signer.verifier()).create()
    return path


def own_signing_setup(folder: Path, signer: Signer = LOG_KEY) -> SigningSetup:
    """Return who signs the ledger in `folder`, with a memory for it alone: others here have the same name."""
    memory = folder.parent / f"{folder.name}.memory"
    memory_of(Path("any"), signer.verifier(), memory).create()
    return SigningSetup(key_file(folder.parent, signer), memory=memory)


def signed_ledger(folder: Path, sizes: Sequence[int], signer: Signer | None = LOG_KEY) -> Ledger:
    """Return a ledger sealed at each of `sizes` in turn, its origin the key's name.

    A new one is a copy of one made before; one that is there grows, and the signer is the one from now on.
    """
    if folder.exists():
        grown = Ledger(folder, clock=Clock(), signing_setup=own_signing_setup(folder, signer) if signer else None)
        grow(grown, sizes)
        return grown
    made, now = _made(tuple(sizes), signer)
    for path in made.glob("ledger*"):  # the ledger, and the memory of its key; all files new, as if written here
        shutil.copytree(path, folder.with_name(path.name.replace("ledger", folder.name)), copy_function=shutil.copy)
    return Ledger(folder, clock=Clock(now), signing_setup=own_signing_setup(folder, signer) if signer else None)


@functools.cache
def _made(sizes: tuple[int, ...], signer: Signer | None) -> tuple[Path, int]:
    """Return a folder with such a ledger, made once in a process, and the time on its clock."""
    home = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, home)
    clock = Clock()
    signing_setup = own_signing_setup(home / "ledger", signer) if signer else None
    ledger = Ledger(home / "ledger", clock=clock, signing_setup=signing_setup)
    ledger.create(LOG_KEY.name)
    grow(ledger, sizes)
    return home, clock.now


def grow(ledger: Ledger, sizes: Sequence[int]) -> None:
    """Append and seal up to each of `sizes`; every tenth event is the ledger's own."""
    done = ledger.log().size
    for size in sizes:
        ledger.append(
            own("run.seen.v1", occurred_at=10**15 + i, data={"n": i}) if i % 10 == 9 else record(i)
            for i in range(done, size)
        )
        assert ledger.seal().size == size
        done = size


def head_of(ledger: Ledger, size: int) -> StoredCheckpoint:
    """Return the stored head of this size."""
    head = read_checkpoint(ledger.store, size)
    assert head is not None
    return head


def copied(ledger: Ledger, folder: Path) -> Ledger:
    """Return a copy of a ledger, sealed with the same key."""
    shutil.copytree(ledger.root, folder)
    return Ledger(folder, clock=Clock(NOON + 10**9), signing_setup=ledger.signing_setup)


def told(findings: Sequence[Finding]) -> str:
    """Return the findings as one text, for `in`."""
    return "\n".join(f"{f.where} {f.index}: {f.problem} {f.expected} {f.got}" for f in findings)

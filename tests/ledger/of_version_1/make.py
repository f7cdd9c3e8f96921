"""Make the ledger of schema version 1 that tests read: `python -m tests.ledger.of_version_1.make FOLDER`.

The ledger beside this file was made by the program that knew version 1 alone. It is data, and is not made again: a
newer program would write another version. The key is made of a public seed and signs nothing else.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from run_evidence.ledger import Event, Ledger
from run_evidence.ledger.storage.key_file import write_key_file
from run_evidence.ledger.storage.keyring import SigningSetup, memory_of
from run_evidence.ledger.tlog.keys import Signer
from tests.ledger.samples import NOON, RUN, Clock, own, record

KEY = Signer("example.com/ledger-of-version-1", 0x01, bytes(range(64, 96)))
DOCUMENT = b'{"document":"of version 1"}\n'


def make(folder: Path) -> None:
    """Write the ledger, its key and what the key remembers into `folder`."""
    memory, key_file = folder / "memory", folder / "signing.key"
    write_key_file(key_file, KEY)
    memory_of(key_file, KEY.verifier(), memory).create()
    ledger = Ledger(folder / "ledger", clock=Clock(), signing_setup=SigningSetup(key_file, memory=memory))
    ledger.create(KEY.name)
    ledger.append([own("run.seen.v1", data={"tags": {"a": "b"}}), *map(record, range(1, 20))])
    ledger.append([record(20, outcome="failed", reason_code="too_slow", attempt=2, partition="2026-04-17")])
    ledger.append([record(21, data={"long": "x" * 40_000}), record(22, asset_key="a/b", check_name="größe \u0001")])
    ledger.seal()
    derived = {"name": "d.json", "sha256": hashlib.sha256(DOCUMENT).hexdigest(), "size_bytes": len(DOCUMENT)}
    told = {"run_id": RUN, "as_of_size": 23, "documents": [derived]}
    ledger.append([Event(event_type="document.derived.v1", occurred_at=NOON, data=told)])
    ledger.append(map(record, range(23, 36)))
    ledger.append([own("run.closed.v1", data={"revision": 1, "ledger_records": 35})])
    ledger.seal()
    ledger.append([record(36), record(37, batch_id="waiting")])


if __name__ == "__main__":
    target = Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    make(target)

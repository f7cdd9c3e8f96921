"""What trust costs: hashing, verifying, signing, proving, redacting, as ratios to bare hashlib in the same run."""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.core import events
from benchmarks.measure import Row, best_seconds
from run_evidence.ledger import Ledger
from run_evidence.ledger.model.event import encode
from run_evidence.ledger.proving.check import check_proof
from run_evidence.ledger.proving.export import export_tlog
from run_evidence.ledger.proving.prove import open_prover
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.redaction.redact import Redaction
from run_evidence.ledger.sealing.compact import compact
from run_evidence.ledger.storage.key_file import generate_signer, write_key_file
from run_evidence.ledger.storage.keyring import SigningSetup, memory_of
from run_evidence.ledger.tlog.keys import format_vkey
from run_evidence.ledger.tlog.merkle import Frontier, leaf_hash
from run_evidence.ledger.tlog.proof_file import format_proof, parse_proof
from run_evidence.ledger.tlog.trust import read_trust
from run_evidence.ledger.verification.sample import verify_sample

_EVENTS = int(os.environ.get("BENCH_EVENTS", "100000"))
"""10,000,000 takes about a quarter of an hour and 5 GB of disk."""

_SEALED_TOGETHER = 100_000
_BATCH = 5_000
_HASHED = 100_000
"""Leaves that bare hashlib is measured on: they are all held in memory."""

_PROOFS = 200


_MEASURED = """
import resource, sys
from run_evidence.ledger.cli import main
try:
    main()
finally:
    # Not our own ru_maxrss: it starts at what the process had that started us.
    status = open("/proc/self/status").read()
    own = int(status.partition("VmHWM:")[2].split()[0])
    print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss), file=sys.stderr)
"""


def run() -> Iterator[Row]:
    """Measure on a signed ledger of its own."""
    with tempfile.TemporaryDirectory() as folder:
        signer = generate_signer("example.com/bench")
        write_key_file(Path(folder) / "key", signer)
        memory_of(Path(folder) / "key", signer.verifier()).create()
        ledger = Ledger(Path(folder) / "ledger", signing_setup=SigningSetup(Path(folder) / "key"))
        ledger.create(signer.name)
        yield from _seal(ledger)
        yield from _verify(ledger)
        yield from _prove(ledger, format_vkey(signer.verifier()))
        yield from _export(ledger, Path(folder) / "export")
    yield from _redact()


def _seal(ledger: Ledger) -> Iterator[Row]:
    seconds = 0.0
    for first in range(0, _EVENTS, _BATCH):
        ledger.append(events(first, _BATCH))
        if (first + _BATCH) % _SEALED_TOGETHER == 0:
            started = time.perf_counter()
            sealed = ledger.seal()
            seconds += time.perf_counter() - started
            if sealed.problems:
                raise RuntimeError(f"not sealed as it is measured: {sealed.problems}")
    yield Row(f"seal {_EVENTS:,} events, signed, with tiles", f"{_EVENTS / seconds:,.0f} events/s")
    compact(ledger.store, ledger.require())
    seconds = best_seconds(ledger.seal)
    yield Row("seal when nothing new has come", f"{seconds * 1e3:.1f} ms")


def _verify(ledger: Ledger) -> Iterator[Row]:
    with open_snapshot(ledger) as snapshot:
        leaves = [
            entry for (entry,) in snapshot.rows("SELECT entry FROM entries ORDER BY index LIMIT $n", {"n": _HASHED})
        ]
    count, size = len(leaves), sum(map(len, leaves)) / len(leaves)
    bare = count / best_seconds(lambda: [hashlib.sha256(leaf).digest() for leaf in leaves])
    yield Row(f"hashlib.sha256 over {count:,} entries of {size:.0f} bytes", f"{bare:,.0f} entries/s", "1")
    tree = count / best_seconds(lambda: Frontier.empty().extend(map(leaf_hash, leaves)))
    yield Row("leaf hashes and the tree", f"{tree:,.0f} entries/s", f"{tree / bare:.2f} of hashlib")
    for what, options in (("one process", []), (f"--parallel ({os.cpu_count()} processors)", ["--parallel"])):
        seconds, peak = _command(ledger, "verify", *options)
        speed = _EVENTS / seconds
        yield Row(
            f"ledger verify, {what}, {peak:,.0f} MB at most in a process",
            f"{speed:,.0f} entries/s",
            f"{speed / bare:.2f} of hashlib",
        )
    seconds = best_seconds(lambda: verify_sample(ledger, 100), tries=2)
    yield Row("verify --sample 100", f"{seconds * 1e3:.0f} ms")


def _command(ledger: Ledger, *words: str) -> tuple[float, float]:
    """Run a command as a process of its own; return its seconds and the most memory of one process, in MB."""
    program = [sys.executable, "-c", _MEASURED, "--ledger", str(ledger.root), *words]
    started = time.perf_counter()
    # What a verifier remembers of the log of this name is of another one: each time it is made anew.
    remembering = os.environ | {"XDG_STATE_HOME": str(ledger.root.parent / "state")}
    done = subprocess.run(program, check=False, capture_output=True, text=True, env=remembering)
    if done.returncode:
        raise RuntimeError(f"ledger {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return time.perf_counter() - started, int(done.stderr.split()[-1]) / 1024


def _prove(ledger: Ledger, vkey: str) -> Iterator[Row]:
    trust = read_trust([vkey], [])
    with open_snapshot(ledger) as snapshot:
        chance = random.Random(1)  # noqa: S311 - which ones are proved is no secret
        asked = {"wanted": chance.sample(range(_EVENTS), _PROOFS)}
        found = snapshot.rows("SELECT event_id FROM events WHERE index IN (SELECT unnest($wanted))", asked)
        chosen = [event_id for (event_id,) in found]
    with open_prover(ledger) as prover:
        proofs = []
        times = []
        for event_id in chosen:
            started = time.perf_counter()
            proofs.append(format_proof(prover.prove_event(event_id)))
            times.append((time.perf_counter() - started) * 1e3)
    quantiles = statistics.quantiles(times, n=100)
    yield Row(f"prove one of {_EVENTS:,}, warm, p50 / p99", f"{quantiles[49]:.1f} / {quantiles[98]:.1f} ms")
    seconds = best_seconds(lambda: [check_proof(parse_proof(proof), trust) for proof in proofs]) / _PROOFS
    yield Row("check a proof file, signature included", f"{seconds * 1e6:.0f} µs")


def _export(ledger: Ledger, target: Path) -> Iterator[Row]:
    started = time.perf_counter()
    export_tlog(ledger, target)
    seconds = time.perf_counter() - started
    yield Row("export tlog, from nothing", f"{_EVENTS / seconds:,.0f} entries/s")


def _redact() -> Iterator[Row]:
    """Measure what an append does with every event: look for secrets, then encode."""
    some = events(0, 2_000)
    redaction = Redaction()
    encoding = best_seconds(lambda: [encode(event, 0) for event in some])
    looking = best_seconds(lambda: [redaction.apply(event) for event in some])
    yield Row("encode an event", f"{encoding / len(some) * 1e6:.1f} µs", "1")
    yield Row("look for secrets in it", f"{looking / len(some) * 1e6:.1f} µs", f"{looking / encoding:.2f}")

"""A process that is killed at any of its writes while it signs or erases leaves nothing that looks altered.

Each command is killed before calls that change the disk, one after the other, by count: no verdict depends on how
fast the machine is.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import run_evidence.ledger.sealing.cosign
from run_evidence.ledger import Ledger
from run_evidence.ledger.admin.amend import ERASED, erase
from run_evidence.ledger.admin.status import diagnose, status
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.sealing.compact import compact
from run_evidence.ledger.storage.keyring import SigningSetup, record_key
from run_evidence.ledger.tlog.keys import COSIGNATURE, Signer, format_vkey
from run_evidence.ledger.tlog.trust import Trust, read_trust
from run_evidence.ledger.verification.findings import Verification
from run_evidence.ledger.verification.memory import VerifierMemory
from run_evidence.ledger.verification.verify import verify
from run_evidence.ledger.witness.witness import Witness
from tests.ledger.processes import Child, Tell
from tests.ledger.samples import Clock, record
from tests.trust.ledgers import LOG_KEY, VKEY, WITNESS_KEY, own_signing_setup, told

NEXT_KEY: Final = Signer("example.com/ledger-2", LOG_KEY.algorithm, bytes(range(2, 34)))
WITNESS: Final = read_trust([VKEY], [format_vkey(WITNESS_KEY.verifier())])
WHOLE_SWEEP: Final = bool(os.environ.get("LEDGER_TESTS_EVERY_STEP"))
CHANGES: Final = (
    *("link", "unlink", "rename", "replace", "mkdir"),
    *(("open", "write", "fsync", "chmod") if WHOLE_SWEEP else ()),
)
"""The functions of `os` that everything of ours goes through which changes what names there are on the disk.

With LEDGER_TESTS_EVERY_STEP=1 those too that fill a file before it has its name, which takes ten times as long.
"""
STRIDE: Final = 1 if WHOLE_SWEEP else 4
LIMIT: Final = 400


def opened(world: Path, signer: Signer = LOG_KEY) -> Ledger:
    """Return the world's ledger with its key, the key's memory and a witness."""
    mine = own_signing_setup(world / "ledger", signer)
    return Ledger(
        world / "ledger",
        clock=Clock(),
        signing_setup=SigningSetup(mine.key_file, memory=mine.memory, witnesses=("witness",)),
    )


def cosigned_in_this_process(world: Path) -> Callable[[str, bytes], Any]:
    """Return what asks a witness that has its memory in the world, without a network."""
    (world / "watched").mkdir(exist_ok=True)
    keys = (LOG_KEY.verifier(), NEXT_KEY.verifier())
    witness = Witness(WITNESS_KEY, {LOG_KEY.name: keys}, world / "watched", clock_s=lambda: 1_776_427_200)
    assert witness.signer.algorithm == COSIGNATURE

    def post(_url: str, body: bytes) -> Any:
        answer = witness.add_checkpoint(body)
        return run_evidence.ledger.sealing.cosign._Response(answer.status, answer.content_type, answer.body)

    return post


def first_seal(world: Path) -> Ledger:
    """Make a ledger whose key has signed nothing yet."""
    made = opened(world)
    made.create(LOG_KEY.name)
    record_key(made.store, LOG_KEY.verifier())
    made.append(map(record, range(4)))
    made.append(map(record, range(2, 7)))
    return made


def later_seal(world: Path) -> Ledger:
    """Make a signed ledger; new appends wait, one with a payload beside the log."""
    made = first_seal(world)
    made.seal()
    made.append([record(7)], personal=True)
    made.append([record(8)])
    return made


def seal_after_others(world: Path) -> Ledger:
    """Make a signed ledger; processes without the key have sealed since."""
    made = later_seal(world)
    Ledger(made.root, clock=Clock()).seal()
    made.append([record(9)])
    Ledger(made.root, clock=Clock()).seal()
    return made


def erasure(world: Path) -> Ledger:
    """Make a signed ledger with a payload beside the log."""
    made = later_seal(world)
    made.seal()
    return made


def seal_whole(world: Path) -> None:
    opened(world).seal()


def seal_rotated(world: Path) -> None:
    """Seal with another key, which is the ledger's from now on."""
    made = opened(world, NEXT_KEY)
    record_key(made.store, NEXT_KEY.verifier())
    made.seal()


def erase_it(world: Path) -> None:
    erase(opened(world), payload_event(opened(world)), reason="asked", actor="me")


def compact_it(world: Path) -> None:
    made = opened(world)
    compact(made.store, made.require())


def append_it(world: Path) -> None:
    opened(world).append([record(100)], personal=True)


def payload_event(made: Ledger) -> str:
    with open_snapshot(made, views=("payloads",)) as snapshot:
        ((event_id,),) = snapshot.rows("SELECT event_id FROM payloads WHERE event_type <> $own", {"own": ERASED})
    return str(event_id)


WORK: Final[dict[str, tuple[Callable[[Path], Ledger], Callable[[Path], None]]]] = {
    "the first signed seal": (first_seal, seal_whole),
    "a later signed seal": (later_seal, seal_whole),
    "a seal that signs what others sealed": (seal_after_others, seal_whole),
    "the first seal of the next key": (later_seal, seal_rotated),
    "an erasure": (erasure, erase_it),
    "a compaction": (seal_after_others, compact_it),
    "an append with a payload": (later_seal, append_it),
}


def work_and_die(tell: Tell, world: Path, work: str, step: int) -> None:
    """Do the work and be killed before change number `step` of the disk; tell when it was whole before that."""
    lock = threading.Lock()
    done = 0

    def counting(name: str) -> Callable[..., Any]:
        change = getattr(os, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            if name != "open" or arguments[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                with lock:
                    if done == step:
                        os.kill(os.getpid(), signal.SIGKILL)
                    done += 1
            return change(*arguments, **options)

        return counted

    run_evidence.ledger.sealing.cosign._post = cosigned_in_this_process(world)  # type: ignore[assignment]
    originals = {name: getattr(os, name) for name in CHANGES}
    for name in CHANGES:
        setattr(os, name, counting(name))
    WORK[work][1](world)
    for name, change in originals.items():
        setattr(os, name, change)
    tell("whole", done)


def seen(made: Ledger) -> set[tuple[str, int]]:
    """Return every record that a reader sees. Each is there once."""
    with open_snapshot(made, views=("events",)) as snapshot:
        rows = snapshot.rows("SELECT store_id, storage_id FROM events WHERE storage_id IS NOT NULL")
    assert len(rows) == len(set(rows))
    return set(rows)


def require_unaltered(made: Ledger, trust: Trust, memory: VerifierMemory) -> None:
    """Pass if nothing is called altered, whoever verifies, and nobody else stops at it either."""
    for brought in (Trust(), read_trust([VKEY], [])):
        result: Verification = verify(made, trust=brought, memory=memory)
        kinds = {finding.kind for finding in result.findings}
        assert kinds <= {"not covered", "not erased"}, told(result.findings)
    result = verify(made, trust=trust, memory=memory)
    assert not result.altered, told(result.findings)
    assert status(made).origin
    assert diagnose(made)


@pytest.mark.soak
@pytest.mark.parametrize("work", WORK)
def test_a_kill_at_any_change_of_the_disk_is_not_an_alteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """Nothing is lost, verify says at most that it is not covered, and the same work again finishes."""
    before = tmp_path / "before"
    before.mkdir()
    monkeypatch.setattr(run_evidence.ledger.sealing.cosign, "_post", cosigned_in_this_process(before))
    prepare, do = WORK[work]
    known = seen(prepare(before))
    remembered = VerifierMemory(before / "verified")
    verify(opened(before), memory=remembered)
    for step in range(list(WORK).index(work) % STRIDE, LIMIT, STRIDE):
        world = tmp_path / f"step-{step}"
        shutil.copytree(before, world)
        monkeypatch.setattr(run_evidence.ledger.sealing.cosign, "_post", cosigned_in_this_process(world))
        child = Child(tmp_path / "reports" / str(step), work_and_die, world, work, step)
        whole = child.finish()
        assert child.exit_code == (0 if whole else -signal.SIGKILL)
        made = opened(world, NEXT_KEY if do is seal_rotated else LOG_KEY)
        memory = VerifierMemory(world / "verified")
        assert known <= seen(made)
        require_unaltered(made, WITNESS, memory)
        do(world)
        sealed = made.seal()
        assert sealed.problems == ()
        assert known <= seen(made)
        keys = (VKEY, format_vkey(NEXT_KEY.verifier())) if do is seal_rotated else (VKEY,)
        result = verify(made, trust=read_trust(keys, [format_vkey(WITNESS_KEY.verifier())]), memory=memory)
        assert result.ok, told(result.findings)
        assert (result.unsealed, result.beyond_checkpoint, result.erased) == (0, 0, int(do is erase_it))
        if whole:
            return
        shutil.rmtree(world)
    pytest.fail(f"{work} has more than {LIMIT} steps")

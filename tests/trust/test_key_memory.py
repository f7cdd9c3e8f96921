"""What a key signed last is remembered beside it, outside the ledger, and nothing else is signed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from run_evidence.ledger import EnvironmentFault, IntegrityError, Ledger
from run_evidence.ledger.sealing.adopt import adopt
from run_evidence.ledger.sealing.cosign import cosign_checkpoint
from run_evidence.ledger.sealing.signing import add_lines, last_signed
from run_evidence.ledger.storage.checkpoint_memory import CheckpointMemory
from run_evidence.ledger.storage.key_file import write_key_file
from run_evidence.ledger.storage.keyring import LogSigner, SigningSetup, memory_of, record_key
from run_evidence.ledger.tlog.checkpoint import parse_stored
from run_evidence.ledger.tlog.keys import Signer, format_vkey
from run_evidence.ledger.tlog.note import open_note
from run_evidence.ledger.tlog.trust import read_trust
from run_evidence.ledger.verification.memory import VerifierMemory
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import records
from tests.paths import paths
from tests.trust.ledgers import LOG_KEY, OTHER_KEY, VKEY, grow, head_of, key_file, own_signing_setup, signed_ledger
from tests.trust.test_signing import cli


def signer_of(ledger: Ledger) -> LogSigner:
    """Return the key and its memory as a seal finds them."""
    assert ledger.signing_setup is not None
    found = ledger.signing_setup.signer(ledger.store)
    assert found is not None
    return found


def test_the_memory_is_the_last_signed_checkpoint_for_the_owner_alone(tmp_path: Path) -> None:
    """As a signed note, so that an auditor can read what the signer has said."""
    ledger = signed_ledger(tmp_path / "ledger", [5, 9])
    memory = signer_of(ledger).memory
    assert not memory.folder.is_relative_to(ledger.root)
    assert stat.S_IMODE(memory.folder.stat().st_mode) == 0o700
    note = open_note(memory.path(LOG_KEY.name).read_bytes(), [LOG_KEY.verifier()])
    assert parse_stored(memory.path(LOG_KEY.name).read_bytes()).checkpoint == head_of(ledger, 9).checkpoint
    assert note.text == head_of(ledger, 9).text


def test_key_new_makes_the_memory_and_a_seal_needs_no_decision(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger").append(records(range(4)))
    assert cli(tmp_path, "key", "new").returncode == 0
    sealed = cli(tmp_path, "seal")
    assert (sealed.returncode, "signed by" in sealed.stdout) == (0, True)


def lose(memory: CheckpointMemory, how: str) -> None:
    if how == "the folder":
        shutil.rmtree(memory.folder)
    elif how == "the file":
        memory.path(LOG_KEY.name).unlink()
    else:
        memory.path(LOG_KEY.name).rename(memory.path("example.com/another"))


@pytest.mark.parametrize("how", ["the folder", "the file", "this log among others"])
def test_a_lost_memory_is_named_and_asks_for_a_decision(tmp_path: Path, how: str) -> None:
    """What was appended is sealed all the same, unsigned; `key add` decides, and then all of it is signed."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    signer = signer_of(ledger)
    lose(signer.memory, how)
    if how == "this log among others":
        shutil.rmtree(paths(ledger).keys)  # nothing in the ledger tells that the key was used
        paths(ledger).checkpoint(5).write_text(head_of(ledger, 5).text)
    ledger.append(records(range(100, 104)))
    done = ledger.seal()
    assert (done.size, done.signed_by, len(list(paths(ledger).inbox.iterdir()))) == (9, None, 0)
    assert done.unsigned is not None
    assert "was not used" in done.unsigned[0]
    assert "ledger key add" in done.unsigned[1]
    assert not head_of(ledger, 9).signatures
    assert {f.kind for f in verify(ledger, trust=read_trust([VKEY], [])).findings} == {"not covered"}
    assert adopt(ledger.store, ledger.require(), signer).size == 9
    assert ledger.seal().signed_by == VKEY
    assert verify(ledger, trust=read_trust([VKEY], [])).ok


def test_the_command_line_says_that_nothing_was_signed(tmp_path: Path) -> None:
    """Exit code 4, the reason and the way on; after the decision 0."""
    Ledger(tmp_path / "ledger").append(records(range(4)))
    cli(tmp_path, "key", "new", "--name", "example.com/mine")
    cli(tmp_path, "seal")
    (file,) = (tmp_path / "config" / "run-evidence-ledger").glob("*.key")
    shutil.rmtree(file.with_name(f"{file.name}.signed"))
    refused = cli(tmp_path, "seal")
    assert refused.returncode == 4
    assert "not signed: The key example.com/mine" in refused.stderr
    assert "ledger key add FILE" in refused.stderr
    added = cli(tmp_path, "key", "add", str(file))
    assert (added.returncode, "goes on from 4 entries" in added.stderr) == (0, True)
    assert cli(tmp_path, "seal").returncode == 0


def test_a_key_that_never_signed_needs_no_decision(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5], signer=None)
    assert Ledger(ledger.root, signing_setup=own_signing_setup(ledger.root)).seal().signed_by == VKEY


def test_a_damaged_memory_signs_nothing(tmp_path: Path) -> None:
    """Neither what is no checkpoint, nor one that the key did not sign, nor one of another log."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    memory = signer_of(ledger).memory
    path = memory.path(LOG_KEY.name)
    right = path.read_bytes()
    for wrong in (b"", b"\0", right.replace(b"\n5\n", b"\n4\n"), right.split(b"\n\n")[0] + b"\n"):
        path.write_bytes(wrong)
        ledger.append(records([100]))
        with pytest.raises(IntegrityError, match="what it remembers of this log is damaged") as caught:
            ledger.seal()
        assert caught.value.exit_code == EnvironmentFault.exit_code  # a fault, not an alteration
        assert "ledger key add --forget" in str(caught.value.next_step)
    path.write_bytes(right)
    assert ledger.seal().signed_by == VKEY


def test_adopting_keeps_a_memory_that_is_there(tmp_path: Path) -> None:
    """It can not be used to go on from a log that was cut; `forget` can, and is the owner's word."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    shutil.copytree(ledger.root, tmp_path / "backup")
    grow(ledger, [9])
    signer = signer_of(ledger)
    restored = Ledger(tmp_path / "backup", signing_setup=ledger.signing_setup)
    assert adopt(restored.store, restored.require(), signer).size == 9
    with pytest.raises(IntegrityError, match="signed 9 entries of this log, and the log has 5"):
        restored.seal()
    assert adopt(restored.store, restored.require(), signer, forget=True).size == 5
    assert restored.seal().signed_by == VKEY


def test_adopting_refuses_a_log_that_is_not_what_the_key_signed(tmp_path: Path) -> None:
    """The ledger's own signed checkpoints are held against its entries, also where the memory is lost."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    other = signed_ledger(tmp_path / "other", [], signer=None)
    other.append(records(range(50, 57)))
    other.seal()
    shutil.rmtree(paths(ledger).log)
    shutil.copytree(paths(other).log, paths(ledger).log)
    signer = signer_of(ledger)
    signer.memory.forget(LOG_KEY.name)
    with pytest.raises(IntegrityError):
        adopt(ledger.store, ledger.require(), signer)
    assert last_signed(signer, LOG_KEY.name) is None


def test_several_signers_each_have_a_memory_and_agree_through_the_ledger(tmp_path: Path) -> None:
    """Two keys take turns; each signs what extends its own last checkpoint and the other's in the ledger."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    second = Ledger(ledger.root, clock=ledger.clock, signing_setup=own_signing_setup(ledger.root, OTHER_KEY))
    other = signer_of_named(second)
    assert adopt(second.store, second.require(), other).size == 5
    for turn, size in enumerate((7, 9, 20, 31)):
        grow((second, ledger)[turn % 2], [size])
    assert last_signed(signer_of(ledger), LOG_KEY.name) == head_of(ledger, 31).checkpoint
    assert last_signed(other, LOG_KEY.name) == head_of(ledger, 20).checkpoint
    assert verify(ledger).ok


def signer_of_named(ledger: Ledger) -> LogSigner:
    """Return the key a signing_setup names, whether or not it is the ledger's yet."""
    assert ledger.signing_setup is not None
    assert ledger.signing_setup.key_file is not None
    key = OTHER_KEY.verifier()
    return LogSigner(OTHER_KEY, memory_of(ledger.signing_setup.key_file, key, ledger.signing_setup.memory))


def test_a_memory_that_cannot_be_written_signs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key on a read-only disk, say: sealed, not signed, and the setting that helps is named."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    memory = signer_of(ledger).memory

    def full(_self: CheckpointMemory, origin: str, _message: bytes) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(memory.path(origin)))

    monkeypatch.setattr(CheckpointMemory, "remember", full)
    ledger.append(records([100]))
    done = ledger.seal()
    assert (done.size, done.signed_by) == (6, None)
    assert done.unsigned is not None
    assert "LEDGER_KEY_MEMORY" in done.unsigned[1]
    assert not head_of(ledger, 6).signatures


def test_the_memory_is_written_before_the_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a crash in between leaves a checkpoint that is signed again, never a signature nobody remembers."""
    ledger = signed_ledger(tmp_path / "ledger", [5])

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("run_evidence.ledger.sealing.signing._create_signed", crash)
        ledger.append(records([100]))
        with pytest.raises(KeyboardInterrupt):
            ledger.seal()
    assert last_signed(signer_of(ledger), LOG_KEY.name) is not None
    assert ledger.seal().signed_by == VKEY
    assert verify(ledger, trust=read_trust([VKEY], [])).ok


def test_keys_that_share_a_folder_for_their_memories_do_not_share_a_memory(tmp_path: Path) -> None:
    here = [memory_of(tmp_path / "k", key.verifier(), tmp_path / "m").folder for key in (LOG_KEY, OTHER_KEY)]
    assert len(set(here)) == 2


@pytest.mark.parametrize("origin", ["例/ledger", "a/../../b", "x" * 300, "x" * 299 + "y", "%2F", "/", "a b"])
def test_every_origin_has_a_file_of_its_own_in_the_folder(tmp_path: Path, origin: str) -> None:
    memory = CheckpointMemory(tmp_path)
    path = memory.path(origin)
    assert path.parent == tmp_path
    assert len(path.name.encode()) <= 255
    others = {"例/ledger", "a/../../b", "x" * 300, "x" * 299 + "y", "%2F", "/", "a b"} - {origin}
    assert path not in {memory.path(other) for other in others}


def test_a_full_disk_leaves_no_half_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(EnvironmentFault, match="cannot be written"):
            write_key_file(tmp_path / "a.key", LOG_KEY)
    assert list(tmp_path.iterdir()) == []
    write_key_file(tmp_path / "a.key", LOG_KEY)


def test_lines_that_are_added_at_once_are_all_kept(tmp_path: Path) -> None:
    """Eight witnesses' lines, eight threads, one checkpoint."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    head = head_of(ledger, 5)
    witnesses = [Signer(f"witness.example/{n}", 0x04, bytes([n]) * 32) for n in range(8)]
    threads = [
        threading.Thread(target=add_lines, args=(ledger.store, head, [key.cosign(head.text, 1)]))
        for key in witnesses
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = head_of(ledger, 5)
    assert all(stored.names(key.verifier()) for key in (LOG_KEY, *witnesses))
    everybody = read_trust([VKEY], [format_vkey(key.verifier()) for key in witnesses])
    assert verify(ledger, trust=everybody).ok


def test_nothing_is_cosigned_where_nothing_is_sealed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.create()
    assert cosign_checkpoint(ledger.store, 0, SigningSetup(key_file(tmp_path))).faults == ()


@pytest.mark.parametrize("second", ["a.example/2", "b.example/2", "c.example/2"])
def test_of_two_keys_that_signed_nothing_the_one_that_will_is_named(tmp_path: Path, second: str) -> None:
    assert cli(tmp_path, "key", "new", "--name", "x.example/1").returncode == 0
    new = cli(tmp_path, "key", "new", "--name", second)
    Ledger(tmp_path / "ledger").append(records(range(1, 3)))
    sealed = cli(tmp_path, "seal")
    assert ("a seal signs with x.example/1" in new.stderr) == ("signed by x.example/1" in sealed.stdout)
    assert f"signed by {'x.example/1' if 'a seal signs with' in new.stderr else second}" in sealed.stdout


def test_an_owner_goes_on_from_a_damaged_memory(tmp_path: Path) -> None:
    """The next step that the error names works: what is damaged is forgotten, by the owner's own decision."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    signer = signer_of(ledger)
    signer.memory.path(LOG_KEY.name).write_bytes(b"damaged")
    assert adopt(ledger.store, ledger.require(), signer, forget=True).size == 5
    ledger.append(records([100]))
    assert ledger.seal().signed_by == VKEY


def test_a_key_that_did_not_sign_before_is_new_until_it_is_brought(tmp_path: Path) -> None:
    """Whoever can write a ledger can add a key of his own; a verifier who remembers gets a finding, each time."""
    ledger, memory, other = signed_ledger(tmp_path / "ledger", [5]), VerifierMemory(tmp_path / "m"), OTHER_KEY
    assert verify(ledger, memory=memory).new_keys == ()
    record_key(ledger.store, other.verifier())
    grow(Ledger(ledger.root, signing_setup=own_signing_setup(ledger.root, other)), [12])
    new = format_vkey(other.verifier())
    for _ in range(2):
        result = verify(ledger, memory=memory)
        assert (result.ok, result.new_keys) == (True, (new,))
    said = cli(tmp_path, "verify", "--no-memory")
    assert (said.returncode, f"signed by {new} (the ledger's own word for it" in said.stdout) == (0, True)
    brought = read_trust([VKEY, new], [])
    assert verify(ledger, memory=memory, trust=brought).new_keys == ()
    assert verify(ledger, memory=memory).new_keys == ()

"""A ledger's heads are signed with one command, the key stays out of it, and nothing contradictory is signed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from run_evidence.ledger import EnvironmentFault, IntegrityError, Ledger, UsageError
from run_evidence.ledger.storage.checkpoint_memory import CheckpointMemory
from run_evidence.ledger.storage.checkpoints import checkpoint_sizes
from run_evidence.ledger.storage.key_file import generate_signer, read_key_file, write_key_file
from run_evidence.ledger.storage.keyring import LogSigner, SigningSetup, read_records, record_key
from run_evidence.ledger.tlog.checkpoint import parse_stored
from run_evidence.ledger.tlog.keys import ED25519, Signer, format_skey, format_vkey
from run_evidence.ledger.tlog.note import open_note
from run_evidence.ledger.tlog.trust import read_trust, require_trusted
from run_evidence.ledger.verification.verify import verify
from tests.here import ledger_here
from tests.ledger.samples import records
from tests.paths import paths
from tests.trust.ledgers import (
    LOG_KEY,
    OTHER_KEY,
    VKEY,
    WITNESS_KEY,
    grow,
    head_of,
    key_file,
    own_signing_setup,
    signed_ledger,
    told,
)


def cli(
    folder: Path, *arguments: str, prefix: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line with its own home; in a process of its own below another program where one is named."""
    values = {k: v for k, v in os.environ.items() if not k.startswith("LEDGER")}
    values |= {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state"), **environment}
    words = ("--ledger", str(folder / "ledger"), *arguments)
    if not prefix:
        return ledger_here(*words, env=values)
    command = [*prefix, sys.executable, "-c", "from run_evidence.ledger.cli import main; main()", *words]
    return subprocess.run(command, env=values, capture_output=True, text=True, check=False)


PROCESS = ("env",)
"""A prefix that makes `cli` start a process."""


# --- key files --------------------------------------------------------------------------------------------


def test_a_key_file_is_for_its_owner_alone_and_round_trips(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.key"
    write_key_file(path, LOG_KEY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_key_file(path) == LOG_KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644, 0o666])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path)
    path.chmod(mode)
    with pytest.raises(EnvironmentFault, match=f"mode {mode:04o}") as caught:
        read_key_file(path)
    assert "chmod 600" in str(caught.value.next_step)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    with pytest.raises(UsageError, match="never overwritten"):
        write_key_file(path, OTHER_KEY)
    assert read_key_file(path) == LOG_KEY


def test_a_key_is_not_written_into_the_ledger_not_even_through_a_link(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.create()
    (tmp_path / "elsewhere").symlink_to(ledger.root / "log")
    for path in (ledger.root / "a.key", tmp_path / "elsewhere" / "a.key"):
        with pytest.raises(UsageError, match="inside the ledger"):
            write_key_file(path, LOG_KEY, ledger.root)
        assert not path.exists()


def test_a_key_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.key").symlink_to(tmp_path / "target")
    with pytest.raises(UsageError):
        write_key_file(tmp_path / "a.key", LOG_KEY)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("content", ["", "PRIVATE+KEY+", "secret words", format_skey(LOG_KEY)[:-2], "\x00" * 100])
def test_what_is_no_key_is_refused_without_quoting_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(UsageError) as caught:
        read_key_file(path)
    assert len(content) < 13 or content[-12:] not in str(caught.value)


def test_a_missing_key_and_a_folder_are_faults_of_the_environment(tmp_path: Path) -> None:
    for path in (tmp_path / "none.key", tmp_path):
        with pytest.raises(EnvironmentFault):
            read_key_file(path)


# --- sealing ----------------------------------------------------------------------------------------------


def test_a_ledger_works_unsigned_and_says_so(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5, 9], signer=None)
    result = verify(ledger)
    assert (result.ok, result.signed_by, head_of(ledger, 9).signatures) == (True, (), ())


def test_every_head_is_signed_as_it_is_written(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5, 9, 300])
    for size in (5, 9, 300):
        assert open_note(head_of(ledger, size).message, [LOG_KEY.verifier()]).text == head_of(ledger, size).text
    result = verify(ledger, trust=read_trust([VKEY], []))
    assert result.ok, told(result.findings)
    assert (result.signed_by, result.key_given) == ((VKEY,), True)


def test_the_next_seal_signs_the_head_also_when_nothing_new_has_come(tmp_path: Path) -> None:
    """The text is the same; heads from before the key's time stay as they are, and that is fine."""
    ledger = signed_ledger(tmp_path / "ledger", [5, 9], signer=None)
    before = head_of(ledger, 9).text
    signing = Ledger(ledger.root, signing_setup=SigningSetup(key_file(tmp_path)))
    done = signing.seal()
    assert (done.sealed, done.size, done.signed_by) == (0, 9, VKEY)
    assert head_of(ledger, 9).text == before
    assert head_of(ledger, 9).names(LOG_KEY.verifier())
    assert not head_of(ledger, 5).signatures
    assert verify(ledger, trust=read_trust([VKEY], [])).ok
    message = head_of(ledger, 9).message
    signing.seal()
    assert head_of(ledger, 9).message == message


def test_what_was_sealed_without_the_key_is_signed_by_the_next_who_has_it(tmp_path: Path) -> None:
    """Until then verification says which heads lack the signature, and what to do."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    grow(Ledger(ledger.root), [8, 12])
    found = verify(ledger)
    assert [f.where[-2:] for f in found.findings] == ["08", "12", "ts"]
    assert {f.kind for f in found.findings} == {"not covered"}, "nothing was altered"
    assert not found.altered
    assert all("ledger seal" in (f.next_step or "") for f in found.findings)
    grow(ledger, [14])
    assert verify(ledger).ok
    assert all(head_of(ledger, size).names(LOG_KEY.verifier()) for size in (5, 8, 12, 14))


def test_a_head_that_contradicts_the_last_signed_one_is_not_signed(tmp_path: Path) -> None:
    """Someone without the key replaces the whole log by another one and waits for the next seal."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    rewritten = signed_ledger(tmp_path / "other", [3, 7], signer=None)
    for folder in ("log", "tile"):
        (ledger.root / folder).rename(tmp_path / f"old {folder}")
        (rewritten.root / folder).rename(ledger.root / folder)
    for size in (3, 7):
        paths(rewritten).checkpoint(size).rename(paths(ledger).checkpoint(size))
    with pytest.raises(IntegrityError, match="not an extension"):
        ledger.seal()
    ledger.append(records([100]))
    with pytest.raises(IntegrityError, match="not an extension"):
        ledger.seal()
    assert all(not head_of(ledger, size).signatures for size in checkpoint_sizes(ledger.store) if size > 5)


def test_a_damaged_or_missing_tile_does_not_stop_signing(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [300])
    for path in [p for p in paths(ledger).tiles.rglob("*") if p.is_file()]:
        path.write_bytes(b"")
    grow(ledger, [600])
    assert verify(ledger, trust=read_trust([VKEY], [])).ok


def test_a_key_that_is_not_the_ledger_s_does_not_sign_it(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5])
    with pytest.raises(UsageError, match="is signed by"):
        Ledger(ledger.root, signing_setup=SigningSetup(key_file(tmp_path, OTHER_KEY))).seal()
    with pytest.raises(UsageError, match="witness"):
        record_key(ledger.store, WITNESS_KEY.verifier())


def test_a_second_key_takes_over_and_both_times_verify(tmp_path: Path) -> None:
    """Rotation: from its first head on the new key signs, and what was left unsigned before it."""
    ledger = signed_ledger(tmp_path / "ledger", [5, 9])
    grow(Ledger(ledger.root), [10])
    record_key(ledger.store, OTHER_KEY.verifier())
    grow(Ledger(ledger.root, signing_setup=own_signing_setup(ledger.root, OTHER_KEY)), [12, 20])
    assert [r.signed_from for r in read_records(ledger.store)] == [5, 12]
    assert verify(ledger).ok
    assert verify(ledger, trust=read_trust([format_vkey(OTHER_KEY.verifier())], [])).ok
    assert "signed by another key" in told(verify(ledger, trust=read_trust([VKEY], [])).findings)


def test_the_key_is_found_by_name_and_only_if_it_is_the_ledger_s(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5])
    folder = tmp_path / "keys"
    write_key_file(folder / "example.com%2Fledger.key", OTHER_KEY)
    assert SigningSetup(folder=folder).signer(ledger.store) is None
    (folder / "example.com%2Fledger.key").unlink()
    write_key_file(folder / "example.com%2Fledger.key", LOG_KEY)
    assert SigningSetup(folder=folder).signer(ledger.store) == LogSigner(
        LOG_KEY, CheckpointMemory(folder / "example.com%2Fledger.key.signed")
    )


def test_check_head_wants_every_trusted_party(tmp_path: Path) -> None:
    head = head_of(signed_ledger(tmp_path / "ledger", [5]), 5)
    assert require_trusted(head, read_trust([VKEY], [])).signed_by == (VKEY,)
    with pytest.raises(IntegrityError, match="no cosignature"):
        require_trusted(head, read_trust([VKEY], [format_vkey(WITNESS_KEY.verifier())]))
    with pytest.raises(IntegrityError, match="of another log"):
        require_trusted(head, read_trust([VKEY], [], origin="example.com/other"))
    with pytest.raises(IntegrityError, match="not signed"):
        require_trusted(parse_stored(head.text.encode()), read_trust([VKEY], []))
    with pytest.raises(UsageError, match="not a key for --key"):
        read_trust([format_vkey(WITNESS_KEY.verifier())], [])


# --- the command line -------------------------------------------------------------------------------------


def test_from_no_key_to_a_verified_signature(tmp_path: Path) -> None:
    """`key new`, `seal`, `key show`, `verify --key`: stdout has what the next command takes."""
    made = cli(tmp_path, "key", "new", "--name", "example.com/mine", prefix=PROCESS)
    assert made.returncode == 0, made.stderr
    vkey = made.stdout.strip()
    secret = (tmp_path / "config/run-evidence-ledger/example.com%2Fmine.key").read_text()
    assert secret.strip() not in made.stdout + made.stderr
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.require() == "example.com/mine"
    ledger.append(records(range(4)))
    assert f"signed by {vkey}" in cli(tmp_path, "seal", prefix=PROCESS).stdout
    assert cli(tmp_path, "key", "show", prefix=PROCESS).stdout == f"{vkey}\n"
    verified = cli(tmp_path, "verify", "--key", vkey, prefix=PROCESS)
    assert verified.returncode == 0, verified.stdout
    assert "the key you gave" in verified.stdout
    assert "the ledger's own word" in cli(tmp_path, "verify").stdout
    contents = b"".join(p.read_bytes() for p in ledger.root.rglob("*") if p.is_file())
    assert secret.strip().encode() not in contents


def test_an_existing_ledger_is_signed_under_any_name(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.append(records(range(4)))
    ledger.seal()
    out = tmp_path / "some.key"
    made = cli(tmp_path, "key", "new", "--name", "acme", "--out", str(out))
    assert made.returncode == 0
    assert "origin" in made.stderr
    assert cli(tmp_path, "key", "show", str(out)).stdout == made.stdout
    sealed = cli(tmp_path, "seal", LEDGER_KEY=str(out))
    assert "sealed 0 events" in sealed.stdout
    assert cli(tmp_path, "verify", "--key", made.stdout.strip()).returncode == 0


def test_wrong_keys_and_readable_keys_are_refused_by_the_commands(tmp_path: Path) -> None:
    signed_ledger(tmp_path / "ledger", [5])
    other = format_vkey(OTHER_KEY.verifier())
    assert cli(tmp_path, "verify", "--key", other).returncode == 3
    assert cli(tmp_path, "verify", "--key", "nonsense").returncode == 2
    path = key_file(tmp_path)
    path.chmod(0o644)
    refused = cli(tmp_path, "seal", "--key", str(path))
    assert (refused.returncode, "chmod 600" in refused.stderr) == (4, True)
    assert cli(tmp_path, "key", "show", str(path)).returncode == 4


def test_keys_are_made_with_the_system_s_randomness() -> None:
    seeds = {generate_signer("a", ED25519).seed for _ in range(50)}
    assert len(seeds) == 50
    assert all(Signer("a", ED25519, seed).verifier() for seed in seeds)


def test_a_key_s_record_that_was_lost_is_written_again_as_it_was(tmp_path: Path) -> None:
    """The next seal states the first checkpoint that the key signed, not the newest."""
    ledger = signed_ledger(tmp_path / "ledger", [5, 9])
    (path,) = paths(ledger).keys.iterdir()
    before = path.read_bytes()
    path.unlink()
    assert ledger.seal().signed_by == VKEY
    assert path.read_bytes() == before
    for trust in (read_trust([], []), read_trust([VKEY], [])):
        assert verify(ledger, trust=trust).ok

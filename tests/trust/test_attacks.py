"""Attacks on a signed ledger: each is detected, and the finding says where.

What can be done to segments and Delta's log is in tests/ledger/test_verify_tampering.py; here it is heads, keys,
tiles, histories and paths.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from run_evidence.ledger import IntegrityError, Ledger
from run_evidence.ledger.proving.prove import open_prover
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.sealing.signing import write_checkpoint
from run_evidence.ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from run_evidence.ledger.tlog.keys import Signer, format_vkey
from run_evidence.ledger.tlog.merkle import leaf_hash
from run_evidence.ledger.tlog.note import add_signatures, sign_note
from run_evidence.ledger.tlog.trust import read_trust
from run_evidence.ledger.verification.checkpoints import read_checkpoints, verify_signatures
from run_evidence.ledger.verification.findings import Verification
from run_evidence.ledger.verification.sample import verify_sample
from run_evidence.ledger.verification.tree import GrowingTree, read_cache_note
from run_evidence.ledger.verification.verify import _verify_tiles, verify
from tests.ledger.samples import record
from tests.paths import paths
from tests.trust.ledgers import (
    LOG_KEY,
    OTHER_KEY,
    VKEY,
    WITNESS_KEY,
    copied,
    grow,
    head_of,
    own_signing_setup,
    signed_ledger,
    told,
)
from tests.trust.test_proof_files import event_id
from tests.trust.test_signing import cli

TRUST = read_trust([VKEY], [])


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return signed_ledger(tmp_path / "ledger", [5, 9, 300])


def found(ledger: Ledger, *since: Path) -> str:
    """Return the findings, of a verifier with the log's key and of one without; both have to see it."""
    with_key = verify(ledger, trust=TRUST, since=since)
    without = verify(ledger, since=since)
    assert not with_key.ok
    assert not without.ok
    return told(with_key.findings)


# --- every byte -------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("size", [2, 3], ids=["an older one", "the newest"])
def test_every_bit_of_a_signed_head_counts(tmp_path: Path, size: int) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [2, 3])
    path = paths(ledger).checkpoint(size)
    right = path.read_bytes()
    for position in range(len(right)):
        for bit in (1, 0x20):
            changed = bytearray(right)
            changed[position] ^= bit
            path.write_bytes(changed)
            assert path.name in told(verify(ledger).findings), f"byte {position}"
    path.write_bytes(right)
    assert verify(ledger).ok


@pytest.mark.soak
def test_every_byte_of_every_tile_counts(tmp_path: Path) -> None:
    """And every bit, and of the note how far they reach too; `verify` reports what the check of the tiles finds."""
    ledger = signed_ledger(tmp_path / "ledger", [2, 3])
    with open_snapshot(ledger, views=("entries",)) as snapshot:
        leaves = [leaf_hash(entry) for (entry,) in snapshot.rows("SELECT entry FROM entries ORDER BY index")]

    def found_in_tiles() -> str:
        result = Verification(ledger.require(), size=len(leaves))
        note = read_cache_note(ledger.store, result)
        tree = GrowingTree(ledger.store, [note.size] if note else [], result)
        tree.grow(leaves)
        _verify_tiles(ledger.store, note, tree, result)
        return told(result.findings)

    assert found_in_tiles() == ""
    files = sorted(p for p in paths(ledger).tiles.rglob("*") if p.is_file())
    assert [str(p.relative_to(ledger.root)) for p in files] == ["tile/0/000.p/3", "tile/frontier"]
    for path in files:
        right = path.read_bytes()
        name = str(path.relative_to(ledger.root))
        for bit in range(8 * len(right)):
            changed = bytearray(right)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            assert name in found_in_tiles(), f"{path} bit {bit}"
            if bit % 101 == 0:
                assert name in told(verify(ledger).findings), f"{path} bit {bit}"
        path.write_bytes(right)
    assert verify(ledger, trust=TRUST).ok


@pytest.mark.soak
def test_tiles_of_every_kind_are_compared(ledger: Ledger) -> None:
    """Full, partial, of a higher level; a tile that is gone is made again and is no finding."""
    files = sorted(p for p in paths(ledger).tiles.rglob("*") if p.is_file())
    assert [str(p.relative_to(ledger.root)) for p in files] == [
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/frontier",
    ]
    for path in files:
        right = path.read_bytes()
        for position in {*range(0, len(right), 311), len(right) - 1}:
            changed = bytearray(right)
            changed[position] ^= 1
            path.write_bytes(changed)
            assert str(path.relative_to(ledger.root)) in told(verify(ledger).findings), f"{path} {position}"
        for cut in (b"", right[:-1], right + right[-1:]):
            path.write_bytes(cut)
            assert str(path.relative_to(ledger.root)) in told(verify(ledger).findings), f"{path} cut"
        path.write_bytes(right)
    shutil.rmtree(paths(ledger).tiles)
    assert verify(ledger, trust=TRUST).ok


@pytest.mark.soak
def test_every_byte_of_delta_s_log_counts_or_changes_nothing(tmp_path: Path) -> None:
    """It says which files are the log, in which order, and no more is believed: the rest may say what it likes."""
    ledger = signed_ledger(tmp_path / "ledger", [3])
    intact = ledger.log()
    for commit in sorted((paths(ledger).log / "_delta_log").glob("*.json")):
        right = commit.read_bytes()
        for position in range(len(right)):
            changed = bytearray(right)
            changed[position] ^= 1 << position % 8
            commit.write_bytes(changed)
            try:
                same = ledger.log() == intact
            except IntegrityError:
                continue
            assert same or not verify(ledger).ok, f"{commit.name} byte {position}"
        commit.write_bytes(right)
    assert verify(ledger).ok


def test_a_changed_tile_is_located_to_the_entry(ledger: Ledger) -> None:
    path = paths(ledger).tiles / "0" / "001.p" / "44"
    data = bytearray(path.read_bytes())
    data[3 * 32 + 5] ^= 1
    path.write_bytes(data)
    (finding,) = verify(ledger).findings
    assert (finding.where, finding.index) == ("tile/0/001.p/44", 259)
    assert finding.got == data[96:128].hex()


@pytest.mark.soak
def test_every_byte_of_the_note_of_the_key_counts(ledger: Ledger) -> None:
    """With the key brought along the ledger's own note is not needed, and its damage is still said."""
    (path,) = paths(ledger).keys.iterdir()
    right = path.read_bytes()
    for position in range(len(right)):
        changed = bytearray(right)
        changed[position] ^= 1
        path.write_bytes(changed)
        assert not verify(ledger).ok, f"byte {position}"
    path.unlink()
    assert "no key this ledger names" in told(verify(ledger).findings)
    assert verify(ledger, trust=TRUST).ok


# --- signatures -------------------------------------------------------------------------------------------


def restored(ledger: Ledger, size: int, message: bytes) -> str:
    """Put other bytes in place of a head and return what is found."""
    paths(ledger).checkpoint(size).write_bytes(message)
    return found(ledger)


@pytest.mark.parametrize("size", [5, 9, 300])
def test_a_stripped_signature(ledger: Ledger, size: int) -> None:
    said = restored(ledger, size, head_of(ledger, size).text.encode())
    assert f"checkpoints/{size:016d} None: its signature is missing" in said


def test_all_signatures_stripped_with_the_note_of_the_key(ledger: Ledger) -> None:
    """What is left says of itself that it is not signed; only who brings the key sees more."""
    for size in (5, 9, 300):
        paths(ledger).checkpoint(size).write_text(head_of(ledger, size).text)
    shutil.rmtree(paths(ledger).keys)
    result = verify(ledger)
    assert (result.ok, result.signed_by) == (True, ())
    said = told(verify(ledger, trust=TRUST).findings)
    assert "checkpoints/0000000000000300 None: its signature is missing" in said
    shown = cli(ledger.root.parent, "verify")
    assert (shown.returncode, "not signed: this shows that the ledger agrees with itself" in shown.stdout) == (
        0,
        True,
    )


@pytest.mark.parametrize(
    "signer",
    [OTHER_KEY, Signer("example.com/other", 0x01, LOG_KEY.seed), Signer("example.com/other", 0x01, bytes(32))],
    ids=["another key of the same name", "the same key under another name", "another key and name"],
)
def test_a_head_signed_by_another_key_or_another_name(ledger: Ledger, signer: Signer) -> None:
    text = head_of(ledger, 300).text
    said = restored(ledger, 300, sign_note(text, [signer]))
    assert "checkpoints/0000000000000300 None: it is signed by another key" in said
    assert VKEY in said


def test_a_signature_of_another_head(ledger: Ledger) -> None:
    moved = sign_note(head_of(ledger, 300).text, [OTHER_KEY])
    moved = add_signatures(moved, head_of(ledger, 9).signatures)
    assert "is not over this text" in restored(ledger, 300, moved)


def test_the_whole_ledger_signed_again_with_another_key(ledger: Ledger, tmp_path: Path) -> None:
    """The attacker brings a key of his own and notes it as the ledger's; who holds the real one sees it."""
    forged = signed_ledger(tmp_path / "forged", [5, 9, 300], Signer(LOG_KEY.name, 0x01, b"\7" * 32))
    assert verify(forged).ok
    said = told(verify(forged, trust=TRUST).findings)
    assert "checkpoints/0000000000000300 None: it is signed by another key" in said


def test_a_wrong_cosignature(ledger: Ledger) -> None:
    head = head_of(ledger, 300)
    wrong = WITNESS_KEY.cosign(head_of(ledger, 9).text, 1)
    paths(ledger).checkpoint(300).write_bytes(add_signatures(head.message, [wrong]))
    trust = read_trust([VKEY], [format_vkey(WITNESS_KEY.verifier())])
    assert "is not over this text" in told(verify(ledger, trust=trust).findings)


def test_a_cosignature_is_worth_what_its_key_is_worth(ledger: Ledger, tmp_path: Path) -> None:
    """Without the witness's key nobody can tell a flipped byte, and `verify` says so; with it every byte counts."""
    head = head_of(ledger, 300)
    path = paths(ledger).checkpoint(300)
    right = add_signatures(head.message, [WITNESS_KEY.cosign(head.text, 1_776_427_200)])
    path.write_bytes(right)
    witness = WITNESS_KEY.verifier()
    trust = read_trust([VKEY], [format_vkey(witness)])
    assert verify(ledger, trust=trust).unchecked == ()
    changed = bytearray(right)
    changed[-20] ^= 1
    path.write_bytes(changed)
    result = verify(ledger, trust=TRUST)
    assert (result.ok, result.unchecked) == (True, (f"{witness.name}+{witness.key_id.hex()}",))
    assert verify_sample(ledger, 5, trust=TRUST).unchecked == result.unchecked
    shown = cli(tmp_path, "--ledger", str(ledger.root), "verify")
    assert f"not checked: the signature by {witness.name}+{witness.key_id.hex()}, no key" in shown.stdout
    for position in range(len(head.message), len(right)):
        changed = bytearray(right)
        changed[position] ^= 1
        path.write_bytes(changed)
        checked = Verification(ledger.require())
        verify_signatures(ledger.store, read_checkpoints(ledger.store, checked), trust, checked)
        assert path.name in told(checked.findings), f"byte {position}"
        if position % 13 == 0:
            assert path.name in told(verify(ledger, trust=trust).findings), f"byte {position}"


# --- histories --------------------------------------------------------------------------------------------


def rewritten(ledger: Ledger, folder: Path, upto: int, sizes: list[int]) -> Ledger:
    """Return what the key holder makes of a ledger: cut to its first head, sealed and signed on differently."""
    forged = signed_ledger(folder, [size for size in (5, 9, 300) if size <= upto])
    forged.append([record(1000 + upto)])
    forged.seal()
    grow(forged, [size for size in sizes if size > upto + 1])
    return forged


def test_the_last_entries_cut_off_and_the_head_rewritten_with_the_key(ledger: Ledger, tmp_path: Path) -> None:
    """Everything in what is left is sound and signed. A copy of an older head, kept elsewhere, shows the cut."""
    kept = tmp_path / "kept"
    kept.write_bytes(head_of(ledger, 300).message)
    cut = signed_ledger(tmp_path / "cut", [5, 9, 250])
    assert verify(cut, trust=TRUST).ok
    said = found(cut, kept)
    assert "the log has fewer entries than this copy of its checkpoint" in said
    assert (str(kept) in said, "300 250" in said) == (True, True)
    shown = cli(tmp_path, "--ledger", str(cut.root), "verify", "--since", str(kept))
    assert (shown.returncode, str(kept) in shown.stdout) == (3, True)


def test_history_rewritten_and_grown_past_the_copy(ledger: Ledger, tmp_path: Path) -> None:
    kept = [tmp_path / "at 9", tmp_path / "at 300"]
    for path, size in zip(kept, (9, 300), strict=True):
        path.write_bytes(head_of(ledger, size).message)
    forged = rewritten(ledger, tmp_path / "forged", 9, [300, 400])
    assert verify(forged, trust=TRUST).ok
    result = verify(forged, trust=TRUST, since=kept)
    assert [f.where for f in result.findings] == [str(kept[1])]
    assert "history was rewritten" in result.findings[0].problem
    assert result.since == [9]
    honest = verify(ledger, trust=TRUST, since=kept)
    assert (honest.ok, honest.since) == (True, [9, 300])
    sampled = verify_sample(forged, 5, trust=TRUST, since=kept)
    assert "history was rewritten" in told(sampled.findings)


def test_a_fork_two_histories_under_one_key(ledger: Ledger, tmp_path: Path) -> None:
    """Two heads of one size, both signed: each ledger is sound, and either's head convicts the other."""
    fork = rewritten(ledger, tmp_path / "fork", 5, [9, 300])
    ours, theirs = head_of(ledger, 300), head_of(fork, 300)
    assert ours.checkpoint.size == theirs.checkpoint.size
    assert ours.checkpoint.root != theirs.checkpoint.root
    for one, other in ((ledger, fork), (fork, ledger)):
        assert verify(one, trust=TRUST).ok
        copy = paths(other).checkpoint(300)
        assert str(copy) in found(one, copy)


def test_a_head_of_the_fork_put_among_the_others(ledger: Ledger, tmp_path: Path) -> None:
    fork = rewritten(ledger, tmp_path / "fork", 5, [9, 20])
    shutil.copy(paths(fork).checkpoint(20), paths(ledger).checkpoint(20))
    said = found(ledger)
    assert "checkpoints/0000000000000020" in said
    assert "calculated root" in said


def test_a_head_beyond_the_log(ledger: Ledger) -> None:
    """Signed with the key, of a size the log has not."""
    text = format_checkpoint(Checkpoint(LOG_KEY.name, 301, bytes(32)))
    paths(ledger).checkpoint(301).write_bytes(sign_note(text, [LOG_KEY]))
    assert "the log is shorter than this checkpoint" in found(ledger)


def test_a_signed_head_over_a_rewritten_log_is_not_made(ledger: Ledger, tmp_path: Path) -> None:
    """The honest sealer, with the key, over a log that somebody exchanged: it refuses to sign."""
    fork = rewritten(ledger, tmp_path / "fork", 5, [9, 20, 310])
    shutil.rmtree(paths(ledger).log)
    shutil.copytree(paths(fork).log, paths(ledger).log)
    with pytest.raises(IntegrityError):
        ledger.seal()
    head = head_of(fork, 310).checkpoint
    with pytest.raises(IntegrityError, match="not an extension"):
        write_checkpoint(ledger.store, head, own_signing_setup(ledger.root).signer(ledger.store))


def test_copies_of_other_logs_and_nonsense_prove_nothing(ledger: Ledger, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(sign_note(format_checkpoint(Checkpoint("example.com/x", 9, bytes(32))), [LOG_KEY]))
    assert "the copy is of another log" in found(ledger, other)
    other.write_bytes(head_of(ledger, 9).message.replace(b"\n9\n", b"\n8\n"))
    assert "is not over this text" in told(verify(ledger, trust=TRUST, since=[other]).findings)
    other.write_bytes(b"\0")
    assert str(other) in found(ledger, other)


# --- a look at some, and at many at once -------------------------------------------------------------------


def flip_a_segment(ledger: Ledger) -> str:
    segment = ledger.log().segments[-1]
    data = bytearray(segment.path.read_bytes())
    data[len(data) // 2] ^= 1
    segment.path.write_bytes(data)
    return segment.path.name


@pytest.mark.soak
def test_both_processors_find_what_one_finds(ledger: Ledger, tmp_path: Path) -> None:
    for damage in (lambda _: None, flip_a_segment):
        damage(ledger)
        one, two = verify(ledger, trust=TRUST), verify(ledger, trust=TRUST, workers=2)
        assert one == two


def test_a_sample_of_everything_sees_everything_a_sample_of_nothing_is_refused(ledger: Ledger) -> None:
    result = verify_sample(ledger, 10_000, trust=TRUST)
    assert (result.ok, result.sampled, result.entries) == (True, 300, 300), told(result.findings)
    assert verify_sample(ledger, 1).sampled == 1
    name = flip_a_segment(ledger)
    assert name in told(verify_sample(ledger, 10_000).findings)
    assert cli(ledger.root.parent, "verify", "--sample", "0").returncode == 2
    assert cli(ledger.root.parent, "verify", "--since", "nowhere").returncode == 4


def test_a_sample_needs_no_tiles_and_is_not_fooled_by_wrong_ones(ledger: Ledger) -> None:
    for path in [p for p in paths(ledger).tiles.rglob("*") if p.is_file() and p.name != "frontier"]:
        path.write_bytes(bytes(len(path.read_bytes())))
    assert verify_sample(ledger, 5, trust=TRUST).ok
    shutil.rmtree(paths(ledger).tiles)
    assert verify_sample(ledger, 5, trust=TRUST).ok


# --- paths ------------------------------------------------------------------------------------------------


def _escape_relative(ledger: Ledger, target: Path) -> None:
    _repoint(ledger, f"../../{target.name}")


def _escape_encoded(ledger: Ledger, target: Path) -> None:
    _repoint(ledger, f"%2e%2e/%2e%2e/{target.name}")


def _escape_absolute(ledger: Ledger, target: Path) -> None:
    _repoint(ledger, str(target))


def _escape_url(ledger: Ledger, target: Path) -> None:
    _repoint(ledger, f"file://{target}")


def _escape_by_link(ledger: Ledger, target: Path) -> None:
    segment = ledger.log().segments[0].path
    shutil.move(segment, target)
    segment.symlink_to(target)


def _repoint(ledger: Ledger, path: str) -> None:
    """Make Delta's log name another file for the first segment."""
    segment = ledger.log().segments[0].path
    for commit in sorted((paths(ledger).log / "_delta_log").glob("*.json")):
        lines = [json.loads(line) for line in commit.read_text().splitlines()]
        for action in lines:
            if action.get("add", {}).get("path") == segment.name:
                action["add"]["path"] = path
        commit.write_text("".join(f"{json.dumps(action)}\n" for action in lines))


@pytest.mark.parametrize(
    "escape", [_escape_relative, _escape_encoded, _escape_absolute, _escape_url, _escape_by_link]
)
def test_a_path_that_leads_out_of_the_ledger(
    ledger: Ledger, tmp_path: Path, escape: Callable[[Ledger, Path], None]
) -> None:
    """Nothing outside is read: not by verify, not by a query, not by a proof."""
    target = tmp_path / ledger.log().segments[0].path.name
    if escape is not _escape_by_link:
        shutil.copy(ledger.log().segments[0].path, target)
    escape(ledger, target)
    assert "log" in found(ledger)
    with pytest.raises(IntegrityError), open_snapshot(ledger, views=("events",)) as snapshot:
        snapshot.rows("SELECT count(*) FROM events")
    with pytest.raises(IntegrityError), open_prover(ledger) as prover:
        prover.prove_event(event_id(1))


def test_a_sealer_with_the_key_stops_at_damage_and_leaves_the_inbox(ledger: Ledger, tmp_path: Path) -> None:
    fork = copied(ledger, tmp_path / "damaged")
    paths(fork).checkpoint(300).write_text(head_of(ledger, 300).text.replace("\n300\n", "\n299\n"))
    fork.append([record(1000)])
    with pytest.raises(IntegrityError):
        Ledger(fork.root, signing_setup=own_signing_setup(ledger.root)).seal()
    assert len(list(paths(fork).inbox.iterdir())) == 1


def die(_: object) -> None:
    """End the process as a crash in a library does."""
    os._exit(9)


@pytest.mark.soak
def test_a_process_that_dies_while_it_reads_is_a_finding(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that ends the process which reads it must not end the verification without a word."""
    monkeypatch.setattr("run_evidence.ledger.verification.rows.check_group", die)
    result = verify(ledger, workers=2)
    assert result.findings[0].where == f"log/{ledger.log().segments[0].path.name}"
    assert "was ended" in result.findings[0].problem

"""A real ledger, exported, is what Go's sumdb packages verify; nothing altered becomes an export."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from run_evidence.ledger import EnvironmentFault, IntegrityError, Ledger, UsageError
from run_evidence.ledger.proving.export import export_tlog
from run_evidence.ledger.sealing.compact import compact
from run_evidence.ledger.tlog.keys import encode_base64
from run_evidence.ledger.tlog.merkle import leaf_hash
from tests.paths import paths
from tests.trust.ledgers import OTHER_KEY, VKEY, grow, head_of, key_file, signed_ledger
from tests.trust.test_foreign import run, verifier  # noqa: F401 - a fixture
from tests.trust.test_signing import cli
from tests.trust.tile_reference import decode_bundle


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.foreign
def test_go_verifies_a_real_ledger_as_it_grows(verifier: Path, tmp_path: Path) -> None:  # noqa: F811
    """Captured, sealed in pieces, compacted, exported three times: root, every entry, consistency, signature."""
    ledger = signed_ledger(tmp_path / "ledger", [3])
    target = tmp_path / "export"
    older = []
    for sizes in ([200], [256, 257], [600, 1100]):
        grow(ledger, sizes)
        compact(ledger.store, ledger.require())
        done = export_tlog(ledger, target)
        assert (done.size, done.signed) == (sizes[-1], True)
        done_by_go = run(verifier, target, *older, vkey=VKEY)
        assert done_by_go.returncode == 0, done_by_go.stderr
        assert done_by_go.stdout.endswith(f"consistency={len(older)}\n")
        older.append(f"{sizes[-1]}:{encode_base64(head_of(ledger, sizes[-1]).checkpoint.root)}")


@pytest.mark.foreign
def test_go_refuses_an_export_of_another_key(verifier: Path, tmp_path: Path) -> None:  # noqa: F811
    export_tlog(signed_ledger(tmp_path / "ledger", [3], OTHER_KEY), tmp_path / "export")
    assert "no verifiable signatures" in run(verifier, tmp_path / "export", vkey=VKEY).stderr


def test_an_export_in_steps_has_what_an_export_at_once_has(tmp_path: Path) -> None:
    """Only partial tiles of sizes in between are more; the entries are the bytes that were hashed."""
    ledger = signed_ledger(tmp_path / "ledger", [100])
    for size in (100, 300, 512, 700):
        grow(ledger, [size] if size > 100 else [])
        export_tlog(ledger, tmp_path / "steps")
    export_tlog(ledger, tmp_path / "once")
    once, steps = contents(tmp_path / "once"), contents(tmp_path / "steps")
    assert once.items() <= steps.items()
    assert all(".p/" in name for name in steps.keys() - once.keys())
    leaves = b"".join(leaf_hash(e) for e in decode_bundle(once["tile/entries/001"], 256))
    assert leaves == once["tile/0/001"]


def test_nothing_new_writes_the_checkpoint_alone(tmp_path: Path) -> None:
    """A signature that came later is exported too."""
    ledger = signed_ledger(tmp_path / "ledger", [30], signer=None)
    assert not export_tlog(ledger, tmp_path / "export").signed
    Ledger(ledger.root, signing_setup=signed_ledger(tmp_path / "x", [1]).signing_setup).seal()
    done = export_tlog(ledger, tmp_path / "export")
    assert (done.files, done.signed) == (0, True)


def test_the_ledger_s_own_tiles_are_the_export_s(tmp_path: Path) -> None:
    """The cache in the ledger has the specified layout, so it can be served as it is."""
    ledger = signed_ledger(tmp_path / "ledger", [5, 300, 700])
    export_tlog(ledger, tmp_path / "export")
    exported = {k: v for k, v in contents(tmp_path / "export").items() if k.startswith(("tile/0", "tile/1"))}
    own = {k: v for k, v in contents(ledger.root).items() if k.startswith(("tile/0", "tile/1"))}
    assert own == exported


@pytest.mark.parametrize("what", ["tile/0/001.p/44", "tile/1/000.p/1", "checkpoint"])
def test_an_export_that_was_altered_is_not_continued(tmp_path: Path, what: str) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [300])
    target = tmp_path / "export"
    export_tlog(ledger, target)
    data = bytearray((target / what).read_bytes())
    data[20] ^= 1
    (target / what).write_bytes(data)
    grow(ledger, [400])
    with pytest.raises((IntegrityError, UsageError)):
        export_tlog(ledger, target)


def test_a_ledger_that_was_altered_is_not_exported(tmp_path: Path) -> None:
    """Another log under the same head, and another first half under a longer one."""
    ledger = signed_ledger(tmp_path / "ledger", [300])
    other = signed_ledger(tmp_path / "other", [100], signer=None)
    grow(Ledger(other.root, clock=lambda: 10**15), [300])
    target = tmp_path / "export"
    export_tlog(ledger, target)
    shutil.rmtree(paths(ledger).log)
    shutil.copytree(paths(other).log, paths(ledger).log)
    with pytest.raises(IntegrityError, match="lead to root"):
        export_tlog(ledger, tmp_path / "new")
    assert not (tmp_path / "new" / "checkpoint").exists()


def test_folders_that_hold_something_else_are_left_alone(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [30])
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter").write_text("1")
    with pytest.raises(UsageError, match="something else"):
        export_tlog(ledger, folder)
    assert contents(folder) == {"chapter": b"1"}
    with pytest.raises(UsageError, match="is a file"):
        export_tlog(ledger, folder / "chapter")
    export_tlog(signed_ledger(tmp_path / "larger", [40]), tmp_path / "export")
    with pytest.raises(UsageError, match=r"40 entries .* this log has 30"):
        export_tlog(ledger, tmp_path / "export")
    empty = Ledger(tmp_path / "empty")
    empty.create()
    with pytest.raises(UsageError, match="nothing is sealed"):
        export_tlog(empty, tmp_path / "e")
    with pytest.raises(EnvironmentFault, match="stopped"):
        export_tlog(ledger, Path("/proc/nowhere"))


def test_on_the_command_line(tmp_path: Path) -> None:
    key_file(tmp_path)
    signed_ledger(tmp_path / "ledger", [30])
    done = cli(tmp_path, "export", "tlog", str(tmp_path / "export"))
    assert (done.returncode, "30 entries (30 new)" in done.stdout) == (0, True), done.stderr
    assert (tmp_path / "export" / "checkpoint").is_file()


def test_the_newest_checkpoint_is_copied_to_be_kept(tmp_path: Path) -> None:
    """Byte for byte, to a new file outside of the ledger; `verify --since` and `check --checkpoint` take it."""
    ledger = signed_ledger(tmp_path / "ledger", [3, 9])
    kept = tmp_path / "OLD"
    copied = cli(tmp_path, "export", "checkpoint", str(kept))
    assert (copied.returncode, copied.stdout) == (0, f"{kept}\n")
    assert "the checkpoint of 9 entries" in copied.stderr
    assert kept.read_bytes() == head_of(ledger, 9).message
    grow(ledger, [20])
    assert "since the copy of 9 entries" in cli(tmp_path, "verify", "--key", VKEY, "--since", str(kept)).stdout
    assert cli(tmp_path, "export", "checkpoint", str(kept)).returncode == 2, "a kept copy is not replaced"
    assert kept.read_bytes() == head_of(ledger, 9).message
    assert cli(tmp_path, "export", "checkpoint", str(kept), "--force").returncode == 0
    assert kept.read_bytes() == head_of(ledger, 20).message
    inside = cli(tmp_path, "export", "checkpoint", str(ledger.root / "OLD"))
    assert (inside.returncode, "inside the ledger" in inside.stderr) == (2, True)


def test_where_nothing_is_sealed_there_is_no_checkpoint_to_copy(tmp_path: Path) -> None:
    """The next command is named, and nothing is written; likewise for a copy that is not there."""
    none = cli(tmp_path, "export", "checkpoint", str(tmp_path / "OLD"))
    assert (none.returncode, "no ledger" in none.stderr) == (4, True)
    signed_ledger(tmp_path / "ledger", [])
    empty = cli(tmp_path, "export", "checkpoint", str(tmp_path / "OLD"))
    assert (empty.returncode, "ledger seal" in empty.stderr) == (2, True)
    assert not (tmp_path / "OLD").exists()
    missing = cli(tmp_path, "verify", "--since", str(tmp_path / "OLD"))
    assert (missing.returncode, "ledger export checkpoint" in missing.stderr) == (4, True)

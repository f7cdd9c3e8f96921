"""A ledger that a group shares: whoever is in the group appends, seals and erases; nobody else reads."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from run_evidence.ledger import Ledger
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import record, records
from tests.paths import paths

GROUP = 54_321
OTHERS = (54_322, 54_323)


def folders(root: Path) -> list[Path]:
    return [root, *(path for path in root.rglob("*") if path.is_dir())]


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_folders_are_shared_as_the_ledger_s_own_is(tmp_path: Path, umask: int) -> None:
    """With any umask that leaves the group its right to read; one that nobody shares is its owner's to write."""
    before = os.umask(umask)
    try:
        for mode, wanted in ((0o2770, True), (0o750, False)):
            root = tmp_path / f"{mode:o}"
            root.mkdir()
            root.chmod(mode)
            ledger = Ledger(root)
            ledger.append(records(range(3)), personal=True)
            ledger.append([record(9, partition="password=hunter22")])  # makes the key that tells such names apart
            ledger.seal()
            key = stat.S_IMODE(paths(ledger).name_key.stat().st_mode)
            assert key == (0o640 if wanted else 0o600)
            for folder in folders(root):
                bits = folder.stat().st_mode & (stat.S_IWGRP | stat.S_ISGID)
                assert (bits == stat.S_IWGRP | stat.S_ISGID) == wanted, folder
                assert not folder.stat().st_mode & stat.S_IWOTH
    finally:
        os.umask(before)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become other users")
@pytest.mark.soak
def test_two_users_of_a_group_share_a_ledger() -> None:
    """They take turns to append and seal; the second one removes what the first has appended."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own lie where no other user may look
        Path(folder).chmod(0o711)
        _take_turns(Path(folder) / "ledger")


def _take_turns(root: Path) -> None:
    root.mkdir()
    os.chown(root, OTHERS[0], GROUP)
    root.chmod(0o2770)
    for turn in range(4):
        as_user(OTHERS[turn % 2], root, turn)
    assert verify(Ledger(root)).ok
    assert Ledger(root).log().size == 12


def as_user(user: int, root: Path, turn: int) -> None:
    """Append and, at every second turn, seal, as this user."""
    command = [sys.executable, "-c", AS_USER, str(user), str(GROUP), str(root), str(turn)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


AS_USER = """
import os, sys, tempfile
from pathlib import Path
from run_evidence.ledger import Ledger
from tests.ledger.samples import record, records
user, group, root, turn = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
with tempfile.TemporaryDirectory() as elsewhere:  # everything is imported before the user changes
    for first in (0, 3):
        Ledger(elsewhere + "/ledger").append(records(range(first, first + 3)))
        Ledger(elsewhere + "/ledger").seal()
os.umask(0o022)
os.setgroups([group])
os.setgid(user)
os.setuid(user)
ledger = Ledger(root)
ledger.append(records(range(3 * turn, 3 * turn + 3)))
if turn % 2:
    ledger.seal()
"""

"""What to do where a power cut left a table that delta-rs cannot load."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.files import read_regular
from run_evidence.ledger.storage.layout import LOG
from run_evidence.ledger.storage.store import Store


def repair_of_torn_log(store: Store) -> str | None:
    """Return the command that moves away what delta-rs cannot load after a power cut; `None` where there is none.

    Delta's checkpoints are caches of its commits. A commit that was torn is the newest one, and what it sealed
    is still in the inbox, because that is emptied only after the commit was flushed.
    """
    folder = store.path(LOG) / "_delta_log"
    torn = [p for p in sorted(folder.glob("*.checkpoint*.parquet")) if not _is_parquet(p)]
    if torn:
        return _move_away([*torn, *folder.glob("_last_checkpoint")])
    commits = sorted(folder.glob("*.json"))
    if commits and not _is_commit(commits[-1]):
        return _move_away(commits[-1:])
    return None


def _is_parquet(path: Path) -> bool:
    content = _content(path)
    return content[:4] == b"PAR1" == content[-4:]


def _is_commit(path: Path) -> bool:
    try:
        actions = [json.loads(line) for line in _content(path).decode().splitlines()]
    except ValueError:
        return False
    return bool(actions) and all(isinstance(action, dict) for action in actions)


def _content(path: Path) -> bytes:
    """Return what is in a file; nothing where it is no file, or cannot be read."""
    try:
        return read_regular(path)
    except (IntegrityError, OSError):
        return b""


def _move_away(paths: Sequence[Path]) -> str:
    moves = " && ".join(f"mv {shlex.quote(str(p))} {shlex.quote(f'{p}.torn')}" for p in paths)
    return f"{moves} && ledger seal && ledger verify"

"""What is no file where a file belongs is named, by everything that meets it, and nothing waits for it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from run_evidence.ledger import EnvironmentFault, IntegrityError, Ledger, LedgerError
from run_evidence.ledger.admin.amend import erase
from run_evidence.ledger.admin.status import diagnose, status
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.storage.faults import machine_fault
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import record
from tests.paths import paths
from tests.trust.ledgers import VKEY, signed_ledger, told
from tests.trust.test_signing import PROCESS, cli

KINDS: dict[str, Callable[[Path], None]] = {
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a link elsewhere": lambda path: path.symlink_to("/etc/hostname"),
    "a link to nothing": lambda path: path.symlink_to("/nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}
PLACES = {
    "inbox": "inbox/0000000000000001-" + "0" * 32 + ".jsonl",
    "payloads": "blobs/" + "0" * 64,
    "checkpoints": "checkpoints/0000000000000003",
    "keys": "keys/00000000.json",
    "a tile": "tile/0/000.p/9",
    "the tiles' note": "tile/frontier",
    "Delta's log": "log/_delta_log/00000000000000000009.json",
    "a segment": "",
}
CACHES = ("inbox", "a tile", "the tiles' note")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return signed_ledger(tmp_path / "ledger", [5, 9])


@pytest.mark.soak
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_finding_and_never_waited_for(ledger: Ledger, kind: str, place: str) -> None:
    """Each command ends, with an error of ours or without one; verify says where it is."""
    path = ledger.root / PLACES[place] if PLACES[place] else ledger.log().segments[-1].path
    if path.exists() and not path.is_dir():
        path.unlink()
    KINDS[kind](path)
    result = verify(ledger)
    ignored = {("a folder", "Delta's log"), *((kind, place) for place in CACHES if "nothing" in kind)}
    assert not result.ok or (kind, place) in ignored
    assert diagnose(ledger)
    for work in (ledger.seal, lambda: status(ledger), lambda: rows(ledger)):
        with contextlib.suppress(LedgerError):
            work()


def rows(ledger: Ledger) -> int:
    with open_snapshot(ledger, views=("events",)) as snapshot:
        return int(snapshot.rows("SELECT count(*) FROM events")[0][0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["tile", "tile/0", "tile/0/000.p", "tile/0/000.p/9", "tile/frontier"])
def test_what_is_no_cache_is_no_alteration(ledger: Ledger, kind: str, place: str) -> None:
    """Whatever stands where tiles belong, nothing of the log was altered; a link in a circle is reported as one."""
    path = ledger.root / place
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    KINDS[kind](path)
    result = verify(ledger)
    assert not result.altered
    assert {finding.kind for finding in result.findings} <= {"not read"}
    assert result.ok or all(finding.where.startswith("tile") for finding in result.findings)
    if kind == "a link to itself":
        assert not result.ok


@pytest.mark.parametrize("folder", ["blobs", "inbox", "checkpoints"])
def test_a_folder_in_the_way_stops_no_seal(ledger: Ledger, folder: str) -> None:
    """What was appended beside it is sealed; doctor and verify name it."""
    name = {"blobs": "0" * 64, "inbox": "0" * 16 + "-" + "0" * 32 + ".jsonl", "checkpoints": "notes"}[folder]
    (ledger.root / folder / name).mkdir()
    ledger.append([record(100)])
    assert ledger.seal().size == 10
    if folder != "checkpoints":
        assert f"{folder}/{name}" in told(verify(ledger).findings)


def write_sparse(path: Path) -> None:
    """Make a file of a terabyte that takes no space."""
    path.touch()
    os.truncate(path, 1 << 40)


ENDLESS: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "too large": write_sparse,
}
ARGUMENTS = (
    "check FILE --key KEY",
    "check OTHER FILE --key KEY",
    "check OTHER --key FILE",
    "check OTHER --checkpoint FILE",
    "prove --file FILE",
    "verify --no-memory --since FILE",
    "query FILE",
    "query --as-of FILE 'SELECT 1'",
    "key show FILE",
    "seal --key FILE",
    "sync --dagster-home HERE --policy FILE",
)


@pytest.mark.soak
@pytest.mark.parametrize("what", ENDLESS)
def test_a_file_that_a_user_names_is_a_file_and_has_an_end(ledger: Ledger, tmp_path: Path, what: str) -> None:
    """Whatever a command is given to read: it ends at once, with a code of ours, and nothing is called altered."""
    odd = tmp_path / "odd.sql"
    ENDLESS[what](odd)
    for line in ARGUMENTS:
        given = {"FILE": str(odd), "KEY": VKEY, "OTHER": str(paths(ledger).marker), "HERE": str(tmp_path)}
        own = PROCESS if what == "a pipe" and line.startswith(("check FILE", "query FILE")) else ()
        done = cli(tmp_path, *(given.get(word, word) for word in shlex.split(line)), prefix=own)
        said = done.stdout + done.stderr
        assert done.returncode in {2, 3, 4}, f"{line}: {done.returncode} {said}"
        assert "altered" not in said, f"{line}: {said}"
    assert verify(ledger).ok


def test_without_a_home_nothing_is_written_elsewhere(ledger: Ledger, tmp_path: Path) -> None:
    """An empty HOME is none: what would be remembered or kept below it is asked for by name."""
    nowhere = {"HOME": "", "XDG_STATE_HOME": "", "XDG_CONFIG_HOME": ""}
    for line, code in {"verify": 4, "verify --no-memory": 0, "status": 0, "key new": 4, "seal": 0}.items():
        done = cli(tmp_path, *line.split(), **nowhere)
        assert done.returncode == code, f"{line}: {done.stdout}{done.stderr}"
    done = cli(tmp_path, "verify", **nowhere)
    assert "--no-memory" in done.stderr
    assert ledger.exists()


@pytest.mark.soak
@pytest.mark.parametrize("files", [24, 16, 12, 10])
def test_too_few_open_files_are_the_machine_s_fault(ledger: Ledger, tmp_path: Path, files: int) -> None:
    """Exit code 0 or 4, and never a word of alteration."""
    for size in range(10, 40, 2):
        ledger.append([record(200 + size)])
        ledger.seal()
    for command in ("verify", "verify --parallel", "status", "doctor", "seal", "runs"):
        limited = f'ulimit -n {files}; exec "$@"'
        done = cli(tmp_path, *command.split(), prefix=("bash", "-c", limited, "bash"))
        said = done.stdout + done.stderr
        assert done.returncode in {0, 4}, f"{command}: {done.returncode} {said[-500:]}"
        assert "altered" not in said.replace("nothing was altered", "")
        assert "Traceback" not in said


def test_a_payload_erased_while_it_is_verified_is_no_finding(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is written after the log was loaded, and the payload is gone when payloads are hashed."""
    ledger.append([record(100)], personal=True)
    ledger.seal()
    (blob,) = paths(ledger).blobs.iterdir()
    with open_snapshot(ledger, views=("payloads",)) as snapshot:
        ((event_id,),) = snapshot.rows("SELECT event_id FROM payloads")
    from run_evidence.ledger.verification import verify as module

    loaded = module.load

    def load_then_erase(folder: Path) -> object:
        log = loaded(folder)
        if blob.exists():
            erase(ledger, str(event_id), reason="asked", actor="me")
        return log

    monkeypatch.setattr(module, "load", load_then_erase)
    result = verify(ledger)
    assert result.ok, told(result.findings)
    assert result.erased == 1


def test_an_erased_payload_that_is_there_is_a_finding_and_erase_finishes(ledger: Ledger) -> None:
    """As a kill between the record and the removal leaves it, or somebody who kept a copy."""
    ledger.append([record(100)], personal=True)
    ledger.seal()
    (blob,) = paths(ledger).blobs.iterdir()
    content = blob.read_bytes()
    with open_snapshot(ledger, views=("payloads",)) as snapshot:
        ((event_id,),) = snapshot.rows("SELECT event_id FROM payloads")
    erase(ledger, str(event_id), reason="asked", actor="me")
    ledger.append([record(100)], personal=True)
    assert not blob.exists(), "the same record does not bring it back"
    blob.write_bytes(content)
    result = verify(ledger)
    assert [(f.where, f.kind) for f in result.findings] == [(f"blobs/{blob.name}", "not erased")]
    assert not result.altered
    waiting = len(list(paths(ledger).inbox.iterdir()))
    assert erase(ledger, str(event_id), reason="again", actor="me") == blob.name
    assert len(list(paths(ledger).inbox.iterdir())) == waiting, "it is on record already"
    assert not blob.exists()
    assert verify(ledger).ok


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(24, "Too many open files"), 24),
        (OSError(2, "No such file"), None),
        (ValueError("Generic LocalFileSystem error: ... (os error 24)"), 24),
        (RuntimeError('IO Error: Cannot open file "x": Too many open files'), 24),
        (ValueError("Parquet magic bytes not found"), None),
        (MemoryError(), 12),
        (PermissionError(13, "Permission denied"), 13),
        (ValueError("os error 2"), None),
    ],
)
def test_the_machine_s_faults_are_told_from_damage(error: BaseException, number: int | None) -> None:
    """By number or by the system's words, whichever library puts them into its message."""
    assert machine_fault(error) == number


def test_a_full_disk_and_a_damaged_file_are_told_apart(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    from run_evidence.ledger.storage import segment

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(segment.pq, "ParquetFile", fail)
        with pytest.raises(EnvironmentFault, match="No space left"):
            verify(ledger)
    shutil.copy(paths(ledger).marker, ledger.log().segments[0].path)
    assert "cannot be read" in told(verify(ledger).findings)
    with pytest.raises(IntegrityError):
        rows(ledger)

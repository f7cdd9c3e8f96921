"""What a ledger asks of whatever keeps its objects. Every store passes these, a bucket's too when there is one."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from run_evidence.ledger import IntegrityError, Ledger
from run_evidence.ledger.admin.amend import erase
from run_evidence.ledger.admin.status import status
from run_evidence.ledger.proving.prove import open_prover
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.sealing.compact import compact
from run_evidence.ledger.storage.folder import FolderStore
from run_evidence.ledger.storage.store import Store, is_unfinished
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import record, records
from tests.ledger.stores import MemoryStore

NAMES = ["ledger.json", "inbox/a.jsonl", "tile/0/x001/002.p/7", "blobs/" + "0" * 64]


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Return a store with nothing in it."""
    return FolderStore(tmp_path / "ledger") if request.param == "folder" else MemoryStore(tmp_path / "scratch")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_created_is_read_and_its_name_is_taken(store: Store, name: str) -> None:
    store.create(name, b"first")
    with pytest.raises(FileExistsError):
        store.create(name, b"other")
    assert store.read(name) == b"first"
    with store.open(name) as file:
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(b"first").digest()
    assert store.path(name).read_bytes() == b"first"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes_may_be_put_twice_and_no_others(store: Store, name: str) -> None:
    store.put(name, b"same")
    store.put(name, b"same")
    with pytest.raises(IntegrityError):
        store.put(name, b"else")
    assert store.read(name) == b"same"


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_replaced_is_the_new_bytes(store: Store, name: str, durable: bool) -> None:
    store.replace(name, b"old, and longer", durable=durable)
    store.replace(name, b"new", durable=durable)
    assert store.read(name) == b"new"


def test_of_rivals_one_creates(store: Store) -> None:
    won, lost = _race(lambda mine: store.create("checkpoints/0000000000000009", mine), FileExistsError)
    assert len(won) == 1
    assert len(lost) == 7
    assert store.read("checkpoints/0000000000000009") == won[0]


def test_no_change_of_a_rival_is_lost(store: Store) -> None:
    store.change("checkpoints/0000000000000009", lambda old: b"" if old is None else pytest.fail("there is one"))
    _race(lambda mine: store.change("checkpoints/0000000000000009", lambda old: (old or b"") + mine), OSError)
    assert sorted(store.read("checkpoints/0000000000000009")) == list(range(8))
    store.change("checkpoints/0000000000000009", lambda _: None)
    assert len(store.read("checkpoints/0000000000000009")) == 8


def _race(act: Callable[[bytes], None], lost_by: type[BaseException]) -> tuple[list[bytes], list[bytes]]:
    """Let eight threads act at once, each with a byte of its own; return those that won and those that lost."""
    won: list[bytes] = []
    lost: list[bytes] = []
    start = threading.Barrier(8)

    def rival(mine: bytes) -> None:
        start.wait()
        try:
            act(mine)
            won.append(mine)
        except lost_by:
            lost.append(mine)

    threads = [threading.Thread(target=rival, args=(bytes([n]),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won, lost


def test_names_are_listed_in_order_and_folders_like_objects(store: Store) -> None:
    assert store.names() == store.names("inbox") == []
    for name in ("inbox/b", "inbox/a", "tile/0/000", "ledger.json"):
        store.create(name, name.encode())
    assert store.names() == ["inbox", "ledger.json", "tile"]
    assert store.names("inbox") == ["a", "b"]
    assert store.names("tile") == ["0"]
    assert store.names("nowhere") == []
    with pytest.raises(NotADirectoryError):
        store.names("inbox/a")
    assert {(each.name, each.size_bytes) for each in store.objects()} == {
        (name, len(name)) for name in ("inbox/b", "inbox/a", "tile/0/000", "ledger.json")
    }
    assert {each.name for each in store.objects("tile")} == {"tile/0/000"}
    assert list(store.objects("nowhere")) == []


def test_what_is_known_of_an_object_is_its_size_and_age(store: Store) -> None:
    assert store.stat("inbox") is store.stat("inbox/a") is None
    store.create("inbox/a", b"1234")
    found, folder = store.stat("inbox/a"), store.stat("inbox")
    assert found is not None
    assert folder is not None
    assert (found.name, found.size_bytes) == ("inbox/a", 4)
    assert folder.modified_us >= found.modified_us - 1_000_000
    assert store.stat("inbox/a/below") is None


def test_what_is_not_there_is_said_to_be_missing(store: Store) -> None:
    store.create("inbox/a", b"")
    for name in ("b", "inbox/b", "nowhere/b"):
        with pytest.raises(FileNotFoundError):
            store.read(name)
        with pytest.raises(FileNotFoundError):
            store.open(name)


def test_more_bytes_than_are_asked_for_are_refused(store: Store) -> None:
    store.create("a", b"12345")
    assert store.read("a", max_bytes=5) == b"12345"
    with pytest.raises(IntegrityError):
        store.read("a", max_bytes=4)


@pytest.mark.parametrize("count", [1, 200])
@pytest.mark.parametrize("durable", [True, False])
def test_what_is_removed_is_gone_whoever_removed_it(store: Store, count: int, durable: bool) -> None:
    names = [f"inbox/{n}" for n in range(count)]
    for name in names[1:]:
        store.replace(name, b"x", durable=False)
    store.create("inbox/kept", b"")
    store.remove(names, durable=durable)
    assert store.names("inbox") == ["kept"]


def test_a_folder_is_cleared_whole(store: Store) -> None:
    for name in ("tile/0/000", "tile/1/x000/000.p/4", "inbox/a"):
        store.create(name, b"")
    store.clear("tile")
    store.clear("tile")
    assert store.names("tile") == []
    assert store.names("inbox") == ["a"]
    store.create("tile/0/000", b"again")


def test_a_good_place_has_no_problems(store: Store) -> None:
    store.prepare(["inbox", "log"])
    store.prepare(["inbox", "log"])
    assert list(store.problems(["inbox", "log"])) == []


def test_what_was_left_half_written_is_an_object_without_a_name(tmp_path: Path) -> None:
    """A folder's: a bucket has nothing half written."""
    store = FolderStore(tmp_path)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / ".tmp-0123456789abcdef").write_bytes(b"half")
    assert store.names("inbox") == []
    (left,) = store.objects()
    assert is_unfinished(left.name)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_in_a_folder_only_a_file_is_read(tmp_path: Path, kind: str) -> None:
    store = FolderStore(tmp_path)
    (tmp_path / "elsewhere").write_bytes(b"secret")
    if kind == "link":
        (tmp_path / "a").symlink_to("elsewhere")
        assert store.read("a", follow=True) == b"secret"
    elif kind == "pipe":
        os.mkfifo(tmp_path / "a")
    else:
        (tmp_path / "a").mkdir()
    with pytest.raises(IntegrityError):
        store.read("a")
    with pytest.raises(IntegrityError):
        store.open("a")
    assert {each.name for each in store.objects()} == {"elsewhere"}


def test_a_ledger_lives_in_any_store(store: Store) -> None:
    """Append, seal, query, prove, erase, compact, verify: nothing but the table is reached past the port."""
    ledger = Ledger(store)
    ledger.append(records(range(300)))
    ledger.seal()
    ledger.append(records(range(300, 320)), personal=True)
    ledger.append([record(900, partition="token:abcdef")])
    ledger.seal()
    with open_snapshot(ledger, views=("events", "payloads")) as snapshot:
        assert snapshot.rows("SELECT count(*) FROM events") == [(321,)]
        ((event_id,),) = snapshot.rows("SELECT min(event_id) FROM events WHERE storage_id = 310")
        assert snapshot.rows("SELECT count(*) FROM payloads WHERE NOT erased") != [(0,)]
    erase(ledger, event_id, reason="asked for", actor="ana")
    ledger.append([record(901)])
    ledger.seal()
    with open_prover(ledger) as prover:
        assert prover.prove_event(event_id).inclusions
    assert compact(ledger.store, ledger.require()).after == 1
    result = verify(ledger)
    assert result.ok, result.findings
    assert (result.entries, result.erased) == (323, 1)
    assert status(ledger).sealed_events == 323
    if isinstance(store, MemoryStore):
        assert {path.name for path in ledger.root.iterdir()} <= {"log", "blobs"}  # the table, and what SQL has read

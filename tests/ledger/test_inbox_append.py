"""An append is one immutable object, all of it or nothing, and durable when the call returns."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger import EnvironmentFault, IntegrityError, Ledger, UsageError
from run_evidence.ledger.model.canonical import canonical
from run_evidence.ledger.model.event import MAX_DATA_BYTES, encode
from run_evidence.ledger.storage.files import create_exclusive, create_idempotent, make_folder, replace_atomic
from run_evidence.ledger.storage.inbox import names, read, read_rows
from tests.ledger.samples import NOON, RUN, Clock, own, record, records

NAME = re.compile(r"[0-9]{16}-[0-9a-f]{32}\.jsonl")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger", clock=Clock())


def test_an_append_is_one_object_named_by_its_time_and_digest(ledger: Ledger) -> None:
    """The name is enough to order the inbox and to see that an object was damaged."""
    assert ledger.append(records(range(5))) == 5
    (path,) = (ledger.root / "inbox").iterdir()
    assert NAME.fullmatch(path.name)
    content = path.read_bytes()
    assert path.name == f"{NOON + 1:016d}-{hashlib.sha256(content).hexdigest()[:32]}.jsonl"
    assert content == b"".join(encode(event, NOON + 1).entry + b"\n" for event in records(range(5)))


def test_appending_nothing_makes_nothing(ledger: Ledger) -> None:
    """Not even a ledger."""
    assert ledger.append([]) == 0
    assert not ledger.root.exists()


def test_one_bad_event_keeps_all_of_them_out(ledger: Ledger) -> None:
    """All or nothing: nothing is written before every event was seen to be sound."""
    with pytest.raises(UsageError):
        ledger.append([*records(range(3)), record(4, attempt=-1)])
    assert not ledger.root.exists()


def test_events_may_come_from_a_generator(ledger: Ledger) -> None:
    """The caller's iterable is read once."""
    assert ledger.append(record(n) for n in range(3)) == 3


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9, unique=True))
def test_the_inbox_is_listed_in_the_order_of_time(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    """Objects are sealed in the order in which they were recorded, whatever the folder says."""
    root = tmp_path_factory.mktemp("order")
    for moment in order:
        Ledger(root, clock=Clock(NOON + moment - 1)).append([record(moment)])
    found = names(Ledger(root).store)
    assert [int(name[:16]) - NOON for name in found] == sorted(order)


def test_the_same_append_twice_is_one_object(tmp_path: Path) -> None:
    """Same events at the same microsecond are the same bytes under the same name."""
    for _ in range(2):
        Ledger(tmp_path / "ledger", clock=lambda: NOON).append(records(range(3)))
    assert len(names(Ledger(tmp_path / "ledger").store)) == 1


def test_a_large_payload_is_beside_the_log_before_anything_names_it(ledger: Ledger) -> None:
    """Its file is its SHA-256, and two events with the same payload share it."""
    data = {"text": "x" * MAX_DATA_BYTES}
    ledger.append([record(1, data=data), record(2, data=data)])
    (blob,) = (ledger.root / "blobs").iterdir()
    assert blob.read_bytes() == canonical(dict(data))
    assert blob.name == hashlib.sha256(blob.read_bytes()).hexdigest()
    assert blob.stat().st_mtime_ns <= (ledger.root / "inbox").stat().st_mtime_ns


def test_what_the_ledger_knows_of_a_run_includes_a_payload_beside_the_log(ledger: Ledger) -> None:
    """Tags of 40 kB are read back whole, unsealed and sealed; a payload that was altered is reported."""
    data = {"tags": {"big": "x" * 40_000}}
    ledger.append([own("run.seen.v1", data=data)])
    for _ in range(2):
        (event,) = ledger.known([RUN])[RUN].own
        assert event.data == data
        ledger.seal()
    (blob,) = (ledger.root / "blobs").iterdir()
    blob.write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="is not what its name says"):
        ledger.known([RUN])
    blob.unlink()
    with pytest.raises(EnvironmentFault, match="cannot be read"):
        ledger.known([RUN])


def test_an_object_whose_content_changed_is_refused_by_name(ledger: Ledger) -> None:
    """The digest in the name no longer fits, and the message says which object and what to do."""
    ledger.append(records(range(2)))
    (name,) = names(ledger.store)
    path = ledger.root / "inbox" / name
    path.write_bytes(path.read_bytes().replace(b"record 1", b"record 9"))
    with pytest.raises(IntegrityError, match=name) as caught:
        read(ledger.store, name)
    assert caught.value.next_step


def test_an_object_that_is_intact_and_cannot_be_sealed_is_refused_by_line(ledger: Ledger) -> None:
    """Something else wrote it: its name is right, its second line is not an event."""
    ledger.append([record(1)])
    content = encode(record(2), NOON).entry + b"\n" + b'{"a":1}\n'
    name = f"{NOON:016d}-{hashlib.sha256(content).hexdigest()[:32]}.jsonl"
    (ledger.root / "inbox" / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{name} line 2"):
        read_rows(ledger.store, name)
    # What such an object holds counts as unknown, so that it is captured again.
    assert set(ledger.known([RUN])[RUN].records) == {("store-1", 1)}


def test_an_object_that_a_sealer_took_reads_as_nothing(ledger: Ledger) -> None:
    """Between listing and reading it may be gone; then its entries are in the log."""
    ledger.append([record(1)])
    (name,) = names(ledger.store)
    ledger.seal()
    assert read(ledger.store, name) is None
    assert read_rows(ledger.store, name) is None


def test_half_written_files_are_seen_by_nobody(ledger: Ledger) -> None:
    """A writer that died leaves a file with a temporary name, which is no object."""
    ledger.append([record(1)])
    (ledger.root / "inbox" / ".tmp-0123456789abcdef").write_bytes(b'{"half')
    assert len(names(ledger.store)) == 1
    assert ledger.seal().sealed == 1


def test_a_copy_without_empty_folders_is_still_a_ledger(ledger: Ledger) -> None:
    """What leaves empty folders out (version control does) loses nothing: append and seal go on."""
    ledger.append([record(1)])
    ledger.seal()
    for folder in ("inbox", "blobs"):
        (ledger.root / folder).rmdir()
    assert names(ledger.store) == []
    assert ledger.seal().size == 1
    ledger.append([record(2)])
    assert ledger.seal().size == 2


def test_what_the_operating_system_refuses_is_said_in_a_sentence(ledger: Ledger) -> None:
    """A folder that takes no file is an environment fault with a next step, and nothing is visible."""
    ledger.create()
    (ledger.root / "inbox").rmdir()
    (ledger.root / "inbox").symlink_to("/proc")
    with pytest.raises(EnvironmentFault, match="Nothing was appended") as caught:
        ledger.append([record(1)])
    assert caught.value.next_step == "ledger doctor"


def test_exclusive_creation_leaves_the_first_file_alone(tmp_path: Path) -> None:
    """The verb for names that may be taken: the second writer gets an error."""
    create_exclusive(tmp_path / "f", b"first")
    with pytest.raises(FileExistsError):
        create_exclusive(tmp_path / "f", b"second")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"first"


def test_idempotent_creation_takes_the_same_bytes_and_no_others(tmp_path: Path) -> None:
    """The verb for names that stand for their content."""
    create_idempotent(tmp_path / "f", b"same")
    create_idempotent(tmp_path / "f", b"same")
    with pytest.raises(IntegrityError, match="holds other bytes"):
        create_idempotent(tmp_path / "f", b"other")
    assert (tmp_path / "f").read_bytes() == b"same"


def test_replacement_is_whole(tmp_path: Path) -> None:
    """The verb for what may change: the old bytes or the new ones, and no trace of the way there."""
    replace_atomic(tmp_path / "f", b"old")
    replace_atomic(tmp_path / "f", b"new")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"new"]


def test_a_folder_is_made_with_its_parents_for_its_owner(tmp_path: Path) -> None:
    """Evidence may name people: others have no access. Making it again is fine."""
    umask = os.umask(0)
    try:
        make_folder(tmp_path / "a" / "b")
        make_folder(tmp_path / "a" / "b")
    finally:
        os.umask(umask)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o750

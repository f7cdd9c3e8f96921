"""Sealing gives every event one dense index, whatever way it came in, and changes nothing that is sealed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from run_evidence.ledger import Event, IntegrityError, Ledger
from run_evidence.ledger.model.event import MAX_DATA_BYTES, Key, decode_entry, encode
from run_evidence.ledger.sealing import batch as batch_module
from run_evidence.ledger.storage import commit as commit_module
from run_evidence.ledger.storage.commit import commit_append
from run_evidence.ledger.storage.inbox import InboxObject, names, read
from run_evidence.ledger.storage.layout import inbox_name
from run_evidence.ledger.storage.log import Log
from run_evidence.ledger.storage.search import sealed_digests
from run_evidence.ledger.storage.segment import read_batches
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.checkpoint import parse_checkpoint
from run_evidence.ledger.tlog.merkle import leaf_hash, tree_root
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import NOON, RUN, Clock, events, own, record, records


def entries(ledger: Ledger) -> list[bytes]:
    """Return every sealed entry in the order of the log, seeing that the indexes are dense."""
    found: list[bytes] = []
    for segment in ledger.log().segments:
        for batch in read_batches(segment):
            assert batch.column("index").to_pylist() == list(range(len(found), len(found) + len(batch)))
            found += batch.column("entry").to_pylist()
    return found


def sealed_keys(ledger: Ledger) -> list[object]:
    """Return what identifies each sealed entry, in the order of the log."""
    return [decode_entry(entry).key for entry in entries(ledger)]


@pytest.fixture(autouse=True, scope="module", params=["few entries", "many entries"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Seal as a few entries are sealed, one by one, and as very many are: in pieces that DuckDB takes apart."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "many entries":
            for name, value in {"_WORTH_A_DATABASE": 1, "_FIRST_PIECE_BYTES": 1, "_PIECE_BYTES": 2_000}.items():
                patch.setattr(batch_module, name, value)
        yield


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger", clock=Clock())


@pytest.mark.soak
@settings(max_examples=25)
@given(
    st.lists(events(), max_size=8),
    st.lists(st.tuples(st.lists(st.integers(0, 15), max_size=6), st.booleans()), max_size=6),
)
def test_any_way_of_appending_seals_to_the_same_set(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Event], calls: list[tuple[list[int], bool]]
) -> None:
    """Split, repeated, in any order, with seals between: every event is there once, and the root is theirs."""
    pool = [*drawn, *records(range(4)), own("run.seen.v1"), own("plan.committed.v1")]
    ledger = Ledger(tmp_path_factory.mktemp("any") / "ledger", clock=Clock())
    ledger.create()
    expected = set()
    for picks, seal_after in calls:
        chosen = [pool[pick % len(pool)] for pick in picks]
        ledger.append(chosen)
        expected |= {decode_entry(encode(event, 0).entry).key for event in chosen}
        if seal_after:
            ledger.seal()
    done = ledger.seal()
    keys = sealed_keys(ledger)
    assert len(keys) == len(set(keys)) == done.size
    assert {key for key in keys if key in expected} == expected
    assert done.size - len(expected) <= len(drawn)  # what is more are alarms of records drawn twice
    assert names(ledger.store) == []
    checked = verify(ledger)
    assert [f.kind for f in checked.findings] == ([] if expected else ["nothing there"]), checked.findings
    assert checked.root == tree_root([leaf_hash(entry) for entry in entries(ledger)]).hex()


def test_the_checkpoint_names_the_log_its_size_and_its_root(ledger: Ledger) -> None:
    """One checkpoint for each size that was sealed at, each with the root of that prefix."""
    for start in (0, 3, 4):
        ledger.append(records(range(start, start + 3)))
        ledger.seal()
    found = entries(ledger)
    sizes = []
    for path in sorted((ledger.root / "checkpoints").iterdir()):
        head = parse_checkpoint(path.read_text())
        assert head.origin == ledger.require()
        assert head.root == tree_root([leaf_hash(entry) for entry in found[: head.size]])
        assert path.name == f"{head.size:016d}"
        sizes.append(head.size)
    assert sizes == [3, 6, 7]


def test_sealing_again_changes_nothing(ledger: Ledger) -> None:
    """Not one byte of the ledger, and it says so."""
    ledger.append(records(range(5)))
    first = ledger.seal()
    before = {path: path.read_bytes() for path in ledger.root.rglob("*") if path.is_file()}
    again = ledger.seal()
    assert (again.size, again.sealed, again.duplicates, again.alarms) == (first.size, 0, 0, 0)
    assert {path: path.read_bytes() for path in ledger.root.rglob("*") if path.is_file()} == before


def test_an_empty_ledger_seals_to_nothing(ledger: Ledger) -> None:
    """No segment, no checkpoint, size 0."""
    ledger.create()
    assert ledger.seal().size == 0
    assert list((ledger.root / "checkpoints").iterdir()) == []


def test_a_seal_counts_what_it_dropped(ledger: Ledger) -> None:
    """Every event that came in is sealed, a duplicate, or raised as an alarm."""
    ledger.append([*records(range(4)), record(0)])
    ledger.append(records(range(2, 6)))
    done = ledger.seal()
    assert (done.sealed, done.duplicates, done.alarms) == (6, 3, 0)
    ledger.append(records(range(6)))
    done = ledger.seal()
    assert (done.sealed, done.duplicates, done.size) == (0, 6, 6)


@pytest.mark.soak
@pytest.mark.parametrize("damage", ["gone", "a folder", "other bytes"])
def test_a_seal_does_without_tiles_that_cannot_be_used(ledger: Ledger, damage: str) -> None:
    """They are a cache: whoever needs them makes them again."""
    ledger.append(records(range(5)))
    ledger.seal()
    (tile,) = (ledger.root / "tile" / "0" / "000.p").iterdir()
    content = tile.read_bytes()
    tile.unlink()
    if damage == "a folder":
        tile.mkdir()
    elif damage == "other bytes":
        tile.write_bytes(bytes(len(content)))
    ledger.append(records(range(5, 300)))
    assert ledger.seal().size == 300
    assert {f.where for f in verify(ledger).findings} <= {"tile/0/000.p/5"}
    shutil.rmtree(ledger.root / "tile")
    assert verify(ledger).ok


def test_a_large_inbox_is_sealed_in_several_segments(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment has a bounded number of entries, and one seal still takes everything that was there."""
    monkeypatch.setattr(batch_module, "MAX_SEGMENT_ENTRIES", 10)
    monkeypatch.setattr(batch_module, "_FIRST_PIECE_BYTES", 1)
    monkeypatch.setattr(batch_module, "_PIECE_BYTES", 1)
    for start in range(0, 44, 4):
        ledger.append(records(range(start, start + 4)))
    assert ledger.seal().sealed == 44
    assert [segment.count for segment in ledger.log().segments] == [12, 12, 12, 8]
    assert verify(ledger).ok


def test_a_seal_ends_though_others_go_on_appending(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there when it is called is sealed; what comes meanwhile may wait for the next one."""
    ledger.append([record(0)])
    arrived = iter(range(1, 1_000))

    def commit_while_others_append(*arguments: object) -> None:
        ledger.append([record(next(arrived))])
        commit_append(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("run_evidence.ledger.sealing.seal.commit_append", commit_while_others_append)
    assert ledger.seal().sealed == 1
    assert len(names(ledger.store)) == 1


def test_the_log_is_asked_once_what_it_has_however_much_comes(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking through a large log takes longer than sealing; twice only where it has some of it."""
    asked: list[int] = []

    def counted(log: Log, keys: Collection[Key]) -> dict[Key, str]:
        asked.append(len(keys))
        return sealed_digests(log, keys)

    ledger.append([record(1000)])
    ledger.seal()
    monkeypatch.setattr("run_evidence.ledger.sealing.seal.sealed_digests", counted)
    for start in range(0, 100, 20):
        ledger.append(records(range(start, start + 20)))
    assert ledger.seal().sealed == 100
    assert [count for count in asked if count] == [100]
    asked.clear()
    ledger.append([*records(range(100, 110)), record(1000), record(1001)])
    done = ledger.seal()
    assert (done.sealed, done.duplicates) == (11, 1)
    assert [count for count in asked if count] == [12, 11]
    assert verify(ledger).ok


def test_a_lost_race_is_taken_up_from_the_new_state(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rival that seals part of the same inbox first costs nothing: the rest follows, nothing twice."""
    for start in range(4):
        ledger.append(records(range(start * 3, start * 3 + 5)))
    rival = Ledger(ledger.root, clock=Clock(NOON + 10_000))
    raced: list[int] = []

    def commit_after_the_rival(*arguments: object) -> None:
        if not raced:
            raced.append(1)
            rival.append([record(100)])
            raced.append(rival.seal().sealed)
        commit_append(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("run_evidence.ledger.sealing.seal.commit_append", commit_after_the_rival)
    done = ledger.seal()
    assert raced[1] + done.sealed == done.size == 15
    assert verify(ledger).ok
    assert not [
        p
        for p in (ledger.root / "log").glob("*.parquet")
        if p.name not in {s.path.name for s in ledger.log().segments}
    ]


def _alarm(ledger: Ledger) -> dict[str, object]:
    bodies = [json.loads(entry) for entry in entries(ledger)]
    (body,) = [body for body in bodies if body["event_type"] == "record.conflicted.v1"]
    return dict(body)


OTHER = "f" * 64


@pytest.mark.parametrize("rewritten", ["contents", "time"])
@pytest.mark.parametrize("when", ["one append", "two appends", "already sealed"])
def test_a_record_that_reads_differently_is_an_alarm_and_never_overwrites(
    ledger: Ledger, rewritten: str, when: str
) -> None:
    """The first version stays; the other is kept inside one alarm, however often it is captured."""
    first = record(1)
    second = replace(first, source_digest=OTHER, data={"message": "another"})
    if rewritten == "time":  # its event_id holds the time: it must still be the same record
        second = replace(second, occurred_at=first.occurred_at + 60_000_000)
    if when == "one append":
        ledger.append([first, second])
    else:
        ledger.append([first])
        if when == "already sealed":
            ledger.seal()
        ledger.append([second])
    assert ledger.seal().alarms == 1
    ledger.append([second, first, second])
    again = ledger.seal()
    assert (again.sealed, again.alarms, again.size) == (0, 0, 2)
    assert json.loads(entries(ledger)[0])["data"] == first.data
    alarm = _alarm(ledger)
    assert (alarm["run_id"], alarm["outcome"], alarm["reason_code"]) == (RUN, "unknown", "record_changed_at_source")
    data = alarm["data"]
    assert isinstance(data, dict)
    assert (data["recorded_digest"], data["rejected_digest"]) == (first.source_digest, OTHER)
    assert json.loads(data["rejected_event"])["data"] == {"message": "another"}
    assert verify(ledger).ok


def test_what_is_sealed_counts_against_what_comes_first(ledger: Ledger) -> None:
    """A batch with a rival and the recorded version again raises one alarm, about the rival."""
    ledger.append([record(1)])
    ledger.seal()
    rivals = [record(1, source_digest=digit * 64) for digit in "ab"]
    ledger.append([rivals[0], record(1), rivals[1]])
    done = ledger.seal()
    assert (done.alarms, done.duplicates, done.size) == (2, 1, 3)
    told = [json.loads(entry)["data"] for entry in entries(ledger)[1:]]
    assert {data["recorded_digest"] for data in told} == {record(1).source_digest}
    assert {data["rejected_digest"] for data in told} == {"a" * 64, "b" * 64}


@pytest.mark.parametrize(
    "large", [{"data": {"text": "x" * (MAX_DATA_BYTES - 100)}}, {"asset_key": "k" * 60_000}], ids=["data", "keys"]
)
def test_a_rejected_record_of_any_size_is_kept_whole(ledger: Ledger, large: dict[str, object]) -> None:
    """The alarm about a large record names a payload, and the payload is there."""
    ledger.append([record(1)])
    ledger.append([replace(record(1), source_digest=OTHER, **large)])  # type: ignore[arg-type]
    assert ledger.seal().alarms == 1
    named = _alarm(ledger)["data"]
    assert isinstance(named, dict)
    blob = (ledger.root / "blobs" / named["blob_sha256"]).read_bytes()
    assert hashlib.sha256(blob).hexdigest() == named["blob_sha256"]
    rejected = json.loads(json.loads(blob)["rejected_event"])
    assert all(rejected[name] == value for name, value in large.items())
    assert verify(ledger).ok


def _damage(ledger: Ledger, number: int) -> str:
    name = names(ledger.store)[number]
    path = ledger.root / "inbox" / name
    path.write_bytes(path.read_bytes()[:-10])
    return name


def test_a_damaged_object_is_refused_and_the_others_are_sealed(ledger: Ledger) -> None:
    """It is reported, left where it is, and sealed once it was restored."""
    for number in range(3):
        ledger.append([record(number)])
    intact = (ledger.root / "inbox" / names(ledger.store)[1]).read_bytes()
    name = _damage(ledger, 1)
    for _ in range(2):
        done = ledger.seal()
        assert done.size == 2
        (problem,) = done.refused
        assert name in problem
        assert names(ledger.store) == [name]
    (ledger.root / "inbox" / name).write_bytes(intact)
    assert ledger.seal().size == 3
    assert verify(ledger).ok


@pytest.mark.parametrize(
    "content",
    [
        encode(record(2), NOON).entry + b"\n" + encode(record(3), NOON).entry,
        encode(record(2), NOON).entry + b"\n\n",
        encode(record(2), NOON).entry + b"\n{}\n",
        encode(record(2), NOON).entry.replace(b"record 2", b"record \xff") + b"\n",
        b"",
        b"\n",
    ],
    ids=["no end of line", "an empty line", "no event", "not UTF-8", "nothing", "nothing but a line"],
)
def test_an_object_of_another_make_is_refused_whole_and_the_others_are_sealed(
    ledger: Ledger, content: bytes
) -> None:
    """Its name is right, so the digest says nothing; not one of its lines is sealed, or joined with another's."""
    ledger.append([record(1)])
    name = inbox_name(NOON + 1, content)
    ledger.append([record(4)])
    (ledger.root / "inbox" / name).write_bytes(content)
    done = ledger.seal()
    assert sorted(key[2] for key in sealed_keys(ledger) if isinstance(key, tuple)) == [1, 4]
    (problem,) = done.refused
    assert f"inbox/{name} line" in problem
    assert names(ledger.store) == [name]


def test_objects_that_a_rival_takes_while_they_are_read_are_left_to_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rival seals after the first object was read: the seal begins again and finds the rest."""
    for number in range(6):
        ledger.append([record(number)])
    rival = Ledger(ledger.root, clock=Clock(NOON + 10_000))
    sealed: list[int] = []

    def read_and_lose(store: Store, name: str) -> InboxObject | None:
        item = read(store, name)
        if not sealed:
            sealed.append(0)
            sealed.append(rival.seal().sealed)
            ledger.append([record(100)])
        return item

    monkeypatch.setattr("run_evidence.ledger.storage.inbox.read", read_and_lose)
    done = ledger.seal()
    assert (sealed[1], done.sealed, done.size) == (6, 0, 6)
    assert ledger.seal().size == 7
    assert verify(ledger).ok


def _rolled_back(ledger: Ledger) -> None:
    commits = sorted((ledger.root / "log" / "_delta_log").glob("*.json"))
    commits[-1].unlink()


def _without_log(ledger: Ledger) -> None:
    shutil.rmtree(ledger.root / "log" / "_delta_log")


def _forged_head(ledger: Ledger) -> None:
    (path,) = (ledger.root / "checkpoints").glob("*5")
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], lines[1], "A" * 43 + "=", ""]))


@pytest.mark.parametrize("tamper", [_rolled_back, _without_log, _forged_head])
def test_nothing_is_built_on_a_log_that_contradicts_its_checkpoints(ledger: Ledger, tamper: object) -> None:
    """A seal refuses, the inbox is kept, and the message leads on."""
    for number in range(5):
        ledger.append([record(number)])
        ledger.seal()
    tamper(ledger)  # type: ignore[operator]
    ledger.append([record(9)])
    before = {path for path in (ledger.root / "log").rglob("*") if path.is_file()}
    with pytest.raises(IntegrityError) as caught:
        ledger.seal()
    assert caught.value.next_step
    assert len(names(ledger.store)) == 1
    assert {path for path in (ledger.root / "log").rglob("*") if path.is_file()} == before
    assert not verify(ledger).ok


def test_the_log_survives_deltas_own_checkpoints(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past them (every third commit here, every hundredth else) the state is the same as before."""
    interval = {"delta.checkpointInterval": "3"}
    monkeypatch.setattr(commit_module, "_CONFIGURATION", {**commit_module._CONFIGURATION, **interval})
    for number in range(10):
        ledger.append([record(number)])
        assert ledger.seal().size == number + 1
    assert len(list((ledger.root / "log" / "_delta_log").glob("*.checkpoint.parquet"))) >= 3
    assert sealed_keys(ledger) == [("store-1", RUN, number) for number in range(10)]
    assert verify(ledger).ok


def test_any_delta_reader_sees_the_log(ledger: Ledger) -> None:
    """The table is a plain append-only Delta Lake table whose rows are the entries."""
    from deltalake import DeltaTable

    for number in range(3):
        ledger.append(records(range(number * 2, number * 2 + 2)))
        ledger.seal()
    table = DeltaTable(ledger.root / "log")
    assert table.metadata().configuration["delta.appendOnly"] == "true"
    rows = sorted(table.to_pyarrow_table().to_pylist(), key=lambda row: row["index"])
    assert [row["entry"] for row in rows] == entries(ledger)


def _known_ids(ledger: Ledger, run_ids: Sequence[str]) -> dict[str, set[int]]:
    return {run: {sid for _, sid in known.records} for run, known in ledger.known(run_ids).items()}


def test_what_is_known_of_a_run_is_the_same_before_and_after_sealing(ledger: Ledger) -> None:
    """Every record and own event once, in the order of the log, also when some is sealed and some is not."""
    ledger.append(
        [*records(range(3)), own("run.seen.v1"), record(0, run_id="other"), own("sync.done.v1", run_id="")]
    )
    ledger.append([own("run.seen.v1"), own("plan.committed.v1")])
    before = ledger.known([RUN, "", "absent"])
    ledger.seal()
    ledger.append([own("run.seen.v1"), record(1)])
    after = ledger.known([RUN, "", "absent"])
    assert before == after
    assert [event.event_type for event in after[RUN].own] == ["run.seen.v1", "plan.committed.v1"]
    assert [event.event_type for event in after[""].own] == ["sync.done.v1"]
    assert after["absent"].records == {}
    assert _known_ids(ledger, [RUN, "other"]) == {RUN: {0, 1, 2}, "other": {0}}
    assert ledger.known([RUN], sealed=False)[RUN].records == {("store-1", 1): record(1).source_digest}

"""Whatever is changed behind the ledger's back is found and located, and a ledger that was not changed is fine."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from run_evidence.ledger import IntegrityError, Ledger
from run_evidence.ledger.model.canonical import canonical
from run_evidence.ledger.model.event import MAX_DATA_BYTES, decode_entry, encode
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.sealing import seal as seal_module
from run_evidence.ledger.sealing.batch import entries_of
from run_evidence.ledger.storage.inbox import names
from run_evidence.ledger.storage.log import Segment
from run_evidence.ledger.storage.rows import SCHEMA
from run_evidence.ledger.storage.rows import table as as_table
from run_evidence.ledger.storage.segment import STATED, bloom_filtered, read_batches, write
from run_evidence.ledger.terminal import printable
from run_evidence.ledger.tlog.merkle import Frontier, leaf_hash
from run_evidence.ledger.verification.findings import Finding, Verification
from run_evidence.ledger.verification.rows import check_all
from run_evidence.ledger.verification.verify import verify
from tests.ledger.samples import NOON, Clock, own, record, records


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments of five entries, one payload beside the log, two entries that wait in the inbox."""
    made = Ledger(tmp_path_factory.mktemp("sound") / "ledger", clock=Clock())
    for start in (0, 5, 10):
        made.append(records(range(start, start + 5)))
        made.seal()
    made.append([own("plan.committed.v1", data={"text": "x" * MAX_DATA_BYTES}), record(15)])
    return made.root


@pytest.fixture
def ledger(sound: Path, tmp_path: Path) -> Ledger:
    """Return a copy of the sound ledger, to be tampered with."""
    return Ledger(shutil.copytree(sound, tmp_path / "ledger"), clock=Clock(NOON + 1_000))


def _segments(ledger: Ledger) -> tuple[Segment, ...]:
    return ledger.log().segments


def _table(segment: Segment) -> pa.Table:
    return pa.Table.from_batches(list(read_batches(segment)))


def _relabel(ledger: Ledger, segment: Segment, table: pa.Table, **options: Any) -> None:
    """Put a table in the place of a segment, with the old footer, and make the log name the new file.

    That is what somebody does who has read the format: the file's name and Delta's log agree again.
    """
    footer = {b"ledger.frontier": pq.read_metadata(segment.path).metadata[b"ledger.frontier"]}
    target = segment.path.with_name("forged.parquet")
    pq.write_table(table.replace_schema_metadata(footer), target, **{"write_statistics": STATED, **options})
    _adopt(ledger, segment, target)


def _adopt(ledger: Ledger, segment: Segment, target: Path) -> None:
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    name = "-".join([*segment.path.name.split("-")[:2], digest, "00000000.parquet"])
    target.rename(segment.path.with_name(name))
    segment.path.unlink()
    size = segment.path.with_name(name).stat().st_size
    for commit in (ledger.root / "log" / "_delta_log").glob("*.json"):
        text = commit.read_text().replace(segment.path.name, name)
        commit.write_text(text.replace(f'"size":{segment.size_bytes}', f'"size":{size}') if name in text else text)


def _only(result: Verification) -> Finding:
    assert not result.ok
    return result.findings[0]


def test_a_ledger_that_nobody_touched_is_fine(ledger: Ledger) -> None:
    """And the numbers say what was checked."""
    result = verify(ledger)
    assert result.ok, result.findings
    assert (result.size, result.entries, result.segments, result.checkpoints, result.unsealed) == (15, 15, 3, 3, 2)
    assert result.blobs == 1
    ledger.seal()
    result = verify(ledger)
    assert (result.ok, result.size, result.unsealed) == (True, 17, 0)


def test_rewriting_a_segment_as_it_was_changes_nothing_that_is_verified(ledger: Ledger) -> None:
    """The forger's tools of these tests leave a sound ledger sound: what they find later is the forgery."""
    segment = _segments(ledger)[1]
    _relabel(ledger, segment, _table(segment))
    result = verify(ledger)
    assert result.ok, result.findings


COLUMN_EDITS: list[tuple[str, Any]] = [
    ("index", 99),
    ("event_id", "00000000-0000-8000-8000-000000000000"),
    ("event_type", "step.succeeded.v1"),
    ("occurred_at", NOON + 1),
    ("occurred_at", 2**62),
    ("recorded_at", NOON),
    ("store_id", "store-2"),
    ("run_id", "another"),
    ("storage_id", 77),
    ("job_name", None),
    ("step_key", "step_9"),
    ("attempt", 2),
    ("asset_key", "a"),
    ("outcome", "passed"),
    ("reason_code", ""),
    ("data", "{}"),
    ("data", '{"message": "record 7"}'),
    ("source_digest", "0" * 64),
    ("trace_id", "t"),
]


@pytest.mark.parametrize(("column", "value"), COLUMN_EDITS, ids=range(len(COLUMN_EDITS)))
def test_a_derived_column_that_was_edited_is_found_by_its_entry(ledger: Ledger, column: str, value: Any) -> None:
    """The leaf is untouched, SQL would answer otherwise, and everything around it was made to agree."""
    segment = _segments(ledger)[1]
    table = _table(segment)
    position = SCHEMA.get_field_index(column)
    stored = pa.int64() if pa.types.is_timestamp(SCHEMA.field(column).type) else SCHEMA.field(column).type
    values = table.column(column).cast(stored).to_pylist()
    values[2] = value
    edited = table.set_column(
        position, SCHEMA.field(column), pa.array(values, stored).cast(SCHEMA.field(column).type)
    )
    _relabel(ledger, segment, edited)
    finding = _only(verify(ledger))
    assert finding.index == 7
    assert f"column {column} is not what the entry says" in finding.problem
    assert finding.where.startswith("log/0000000000000005-5-")


def test_text_that_is_not_text_is_a_finding_too(ledger: Ledger) -> None:
    """A column of bytes that are not UTF-8 does not stop the verification."""
    segment = _segments(ledger)[1]
    table = _table(segment)
    values = [value.encode() for value in table.column("run_id").to_pylist()]
    values[2] = b"\xff\xfe\x1b[31m"
    broken = pa.array(values, pa.binary()).cast(pa.string(), safe=False)
    _relabel(ledger, segment, table.set_column(SCHEMA.get_field_index("run_id"), SCHEMA.field("run_id"), broken))
    finding = _only(verify(ledger))
    assert finding.index == 7
    assert finding.got is not None
    assert "\x1b" not in printable(finding.got)


def _edited_entry(table: pa.Table) -> pa.Table:
    """Edit one entry *and* derive its columns anew: only the tree still knows."""
    entries = table.column("entry").to_pylist()
    body = json.loads(entries[2])
    body["data"] = {"message": "another"}
    rows = [decode_entry(entry) for entry in entries]
    rows[2] = decode_entry(canonical(body))
    return as_table(rows, table.column("index")[0].as_py())


def _swapped(table: pa.Table) -> pa.Table:
    rows = [decode_entry(entry) for entry in table.column("entry").to_pylist()]
    rows[1], rows[2] = rows[2], rows[1]
    return as_table(rows, table.column("index")[0].as_py())


def _doubled(table: pa.Table) -> pa.Table:
    rows = [decode_entry(entry) for entry in table.column("entry").to_pylist()]
    rows[2] = rows[1]
    return as_table(rows, table.column("index")[0].as_py())


ROW_EDITS: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "an entry edited": (_edited_entry, "calculated root|frontier is not that of the entries"),
    "entries swapped": (_swapped, "calculated root|frontier is not that of the entries"),
    "an entry doubled": (_doubled, "calculated root|frontier is not that of the entries"),
    "an entry removed": (lambda t: pa.concat_tables([t.slice(0, 2), t.slice(3)]), "column index is not"),
    "the last entry removed": (lambda t: t.slice(0, 4), "other first and last|another number of entries"),
    "an entry added": (lambda t: pa.concat_tables([t, t.slice(4)]), "column index is not"),
    "no entries": (lambda t: t.slice(0, 0), "another number of entries"),
    "a column left out": (lambda t: t.drop_columns(["reason_code"]), "has columns .*expected"),
    "a column added": (lambda t: t.append_column("note", pa.array(["x"] * len(t))), "has columns .*expected"),
    "a column of another type": (
        lambda t: t.set_column(10, "step_key", t.column("step_key").cast(pa.large_string())),
        "has columns .*expected|is not what the entry says",
    ),
    "an entry of NULL": (
        lambda t: t.set_column(21, SCHEMA.field("entry"), pa.array([None] * len(t), pa.binary())),
        "The entry is not JSON",
    ),
}


@pytest.mark.parametrize("edit", ROW_EDITS)
def test_rows_that_were_changed_are_found(ledger: Ledger, edit: str) -> None:
    """Though file name, footer and Delta's log were made to agree with the forgery."""
    change, problem = ROW_EDITS[edit]
    segment = _segments(ledger)[1]
    _relabel(ledger, segment, change(_table(segment)))
    result = verify(ledger)
    assert not result.ok
    assert any(_matches(problem, finding.problem) for finding in result.findings), result.findings
    assert any("0000000000000005-5-" in f.where or f.where.startswith("checkpoints/") for f in result.findings)


def _matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


def test_a_segment_forged_whole_is_found_by_the_checkpoint(ledger: Ledger) -> None:
    """Other entries with a footer of their own: each is sound, and the tree is not the one that was sealed."""
    segment = _segments(ledger)[1]
    rows = [decode_entry(encode(record(n, step_key="forged"), NOON).entry) for n in range(5, 10)]
    earlier = [leaf_hash(entry) for entry in _table(_segments(ledger)[0]).column("entry").to_pylist()]
    tree = Frontier.empty().extend([*earlier, *(leaf_hash(row.entry) for row in rows)])
    _adopt(ledger, segment, write(ledger.store, [as_table(rows, 5)], lambda: tree).path)
    result = verify(ledger)
    assert [f.where for f in result.findings if "calculated root" in f.problem] == [
        f"checkpoints/{size:016d}" for size in (10, 15)
    ]


FOOTER_LIES: dict[str, tuple[dict[str, Any], str]] = {
    "a Bloom filter": (
        {"bloom_filter_options": {"run_id": {"ndv": 10, "fpp": 0.01}}},
        "run_id has an index or a filter",
    ),
    "a page index": ({"write_page_index": True}, "has an index or a filter"),
    "statistics of payloads": ({"write_statistics": [*STATED, "data"]}, "data has statistics"),
}


WRITES_FILTERS = "bloom_filter_options" in inspect.signature(pq.ParquetWriter).parameters  # pyarrow 25 and newer


@pytest.mark.skipif(not WRITES_FILTERS, reason="this pyarrow cannot write what is looked for")
def test_both_ways_to_see_a_bloom_filter_agree(ledger: Ledger) -> None:
    """Arrow tells of filters since version 25; DuckDB, which is asked where it does not, sees the same."""
    before = _segments(ledger)[1]
    assert bloom_filtered(before.path, 0) == set()
    _relabel(ledger, before, _table(before), bloom_filter_options={"run_id": {"ndv": 10, "fpp": 0.01}})
    (found,) = {frozenset(bloom_filtered(segment.path, 0)) for segment in _segments(ledger)} - {frozenset()}
    assert found == {"run_id"}


@pytest.mark.parametrize("lie", [lie for lie in FOOTER_LIES if WRITES_FILTERS or lie != "a Bloom filter"])
def test_what_nobody_can_check_has_no_place_in_a_segment(ledger: Ledger, lie: str) -> None:
    """A filter or an index that lies hides rows from SQL while every entry is in its place."""
    options, problem = FOOTER_LIES[lie]
    segment = _segments(ledger)[1]
    _relabel(ledger, segment, _table(segment), **options)
    assert problem in _only(verify(ledger)).problem


def test_statistics_that_hide_rows_are_found(ledger: Ledger) -> None:
    """The file's own minimum was changed so that a query for a step finds nothing there."""
    segment = _segments(ledger)[1]
    content = segment.path.read_bytes()
    body, footer = content[: len(content) // 2], content[len(content) // 2 :]
    assert footer.count(b"step_0") >= 1
    target = segment.path.with_name("lie.parquet")
    target.write_bytes(body + footer.replace(b"step_0", b"step_1"))
    _adopt(ledger, segment, target)
    result = verify(ledger)
    assert [f.problem for f in result.findings] == ["the statistics of step_key do not bound its values"]
    assert (result.findings[0].expected, result.findings[0].got) == (
        "b'step_0' to b'step_2'",
        "b'step_1' to b'step_2'",
    )


def test_a_segment_put_in_anothers_place_is_found(ledger: Ledger) -> None:
    """Two segments exchanged: every file is whole, and none is where it belongs."""
    first, second, _ = _segments(ledger)
    for commit in (ledger.root / "log" / "_delta_log").glob("*.json"):
        text = commit.read_text()
        swapped = text.replace(first.path.name, "@").replace(second.path.name, first.path.name)
        commit.write_text(swapped.replace("@", second.path.name))
    result = verify(ledger)
    assert _only(result).index == 0
    assert any("calculated root" in finding.problem for finding in result.findings)


def test_file_contents_exchanged_are_found(ledger: Ledger) -> None:
    """The same under each other's names."""
    first, second, _ = _segments(ledger)
    kept = first.path.read_bytes()
    first.path.write_bytes(second.path.read_bytes())
    second.path.write_bytes(kept)
    assert "its name says" in _only(verify(ledger)).problem


def test_a_segment_of_an_older_copy_is_found(ledger: Ledger, tmp_path: Path) -> None:
    """A copy of the ledger that went another way has the same sizes and other entries."""
    shutil.copytree(ledger.root, tmp_path / "copy")
    other = Ledger(tmp_path / "copy", clock=Clock(NOON + 10**9))
    other.seal()
    ledger.append([record(16), record(17)])
    ledger.seal()
    ours, theirs = _segments(ledger)[3], _segments(other)[3]
    shutil.copy(theirs.path, ours.path)
    assert "its name says" in _only(verify(ledger)).problem
    _adopt(ledger, ours, Path(shutil.copy(theirs.path, ours.path.with_name("older.parquet"))))
    assert not verify(ledger).ok


def _lose_last_commit(ledger: Ledger) -> None:
    sorted((ledger.root / "log" / "_delta_log").glob("*.json"))[-1].unlink()


def _lose_first_commit(ledger: Ledger) -> None:
    sorted((ledger.root / "log" / "_delta_log").glob("*.json"))[0].unlink()


def _lose_table(ledger: Ledger) -> None:
    shutil.rmtree(ledger.root / "log" / "_delta_log")


def _lose_segment(ledger: Ledger) -> None:
    _segments(ledger)[1].path.unlink()


def _truncate_segment(ledger: Ledger) -> None:
    path = _segments(ledger)[1].path
    path.write_bytes(path.read_bytes()[:-100])


def _empty_segment(ledger: Ledger) -> None:
    _segments(ledger)[1].path.write_bytes(b"")


def _edit_stats(ledger: Ledger) -> None:
    """Make Delta's log state other ids than a segment has, so that duplicates would not be looked for there."""
    segment = _segments(ledger)[1]
    for commit in (ledger.root / "log" / "_delta_log").glob("*.json"):
        commit.write_text(commit.read_text().replace(segment.min_event_id, segment.max_event_id))


def _edit_count(ledger: Ledger) -> None:
    commit = sorted((ledger.root / "log" / "_delta_log").glob("*.json"))[2]
    commit.write_text(commit.read_text().replace('numRecords\\": 5', 'numRecords\\": 4'))


def _point_elsewhere(ledger: Ledger) -> None:
    segment = _segments(ledger)[1]
    shutil.copy(segment.path, ledger.root / "elsewhere.parquet")
    for commit in (ledger.root / "log" / "_delta_log").glob("*.json"):
        commit.write_text(commit.read_text().replace(segment.path.name, "../elsewhere.parquet"))


def _foreign_file(ledger: Ledger) -> None:
    """Let another program append to the table: rows with statistics, and so a place of their own."""
    rows = _table(_segments(ledger)[0])
    write_deltalake(ledger.root / "log", rows, mode="append")


def _foreign_rows_at_the_end(ledger: Ledger) -> None:
    rows = [decode_entry(encode(record(n), NOON).entry) for n in (20, 21)]
    table = as_table(rows, 15)
    write_deltalake(ledger.root / "log", table, mode="append")


def _foreign_removal(ledger: Ledger) -> None:
    table = DeltaTable(ledger.root / "log")
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    DeltaTable(ledger.root / "log").delete("index >= 12")


def _edit_checkpoint_root(ledger: Ledger) -> None:
    path = ledger.root / "checkpoints" / f"{10:016d}"
    origin, size, root, _ = path.read_text().split("\n")
    path.write_text(f"{origin}\n{size}\n{('B' if root[0] == 'A' else 'A') + root[1:]}\n")


def _rename_checkpoint(ledger: Ledger) -> None:
    (ledger.root / "checkpoints" / f"{10:016d}").rename(ledger.root / "checkpoints" / f"{12:016d}")


def _checkpoint_of_another_log(ledger: Ledger) -> None:
    path = ledger.root / "checkpoints" / f"{10:016d}"
    path.write_text(path.read_text().replace("run-evidence-ledger/", "run-evidence-ledger/0"))


def _checkpoint_beyond(ledger: Ledger) -> None:
    path = ledger.root / "checkpoints" / f"{15:016d}"
    path.with_name(f"{99:016d}").write_text(path.read_text().replace("\n15\n", "\n99\n"))


def _edit_inbox(ledger: Ledger) -> None:
    path = ledger.root / "inbox" / names(ledger.store)[0]
    path.write_bytes(path.read_bytes().replace(b"record 15", b"record 16"))


def _edit_blob(ledger: Ledger) -> None:
    (blob,) = (ledger.root / "blobs").iterdir()
    blob.write_bytes(blob.read_bytes().replace(b"xx", b"xy", 1))


def _lose_blob(ledger: Ledger) -> None:
    (blob,) = (ledger.root / "blobs").iterdir()
    blob.unlink()


def _rename_origin(ledger: Ledger) -> None:
    marker = ledger.root / "ledger.json"
    marker.write_text(marker.read_text().replace("run-evidence-ledger/", "another/"))


TAMPERINGS: list[tuple[Callable[[Ledger], None], str, str]] = [
    (_lose_last_commit, "checkpoints/0000000000000015", "shorter than this checkpoint"),
    (_lose_first_commit, "log", "cannot be loaded"),
    (_lose_table, "checkpoints/0000000000000015", "shorter than this checkpoint"),
    (_lose_segment, "log/0000000000000005", "cannot be read"),
    (_truncate_segment, "log/0000000000000005", "cannot be read"),
    (_empty_segment, "log/0000000000000005", "cannot be read"),
    (_edit_stats, "log/0000000000000005", "other first and last event ids than the log says"),
    (_edit_count, "log", "expected more from 9"),
    (_point_elsewhere, "log", "outside its folder"),
    (_foreign_file, "log", "lost or gained a segment"),
    (_foreign_rows_at_the_end, "log", "something else wrote to it"),
    (_foreign_removal, "log", "something else wrote"),
    (_edit_checkpoint_root, "checkpoints/0000000000000010", "calculated root"),
    (_rename_checkpoint, "checkpoints/0000000000000012", "of another size than its name"),
    (_checkpoint_of_another_log, "checkpoints/0000000000000010", "of another log"),
    (_checkpoint_beyond, "checkpoints/0000000000000099", "shorter than this checkpoint"),
    (_edit_inbox, "inbox/", "no longer has the digest its name carries"),
    (_edit_blob, "blobs/", "is not what was recorded"),
    (_lose_blob, "blobs/", "an entry names this payload"),
    (_rename_origin, "checkpoints/0000000000000005", "of another log"),
]


@pytest.mark.parametrize(("tamper", "where", "problem"), TAMPERINGS, ids=[case[0].__name__ for case in TAMPERINGS])
def test_what_was_changed_is_found_and_located(
    ledger: Ledger, tamper: Callable[[Ledger], None], where: str, problem: str
) -> None:
    """A finding names the place and says what is wrong with it; nothing raises."""
    tamper(ledger)
    result = verify(ledger)
    assert not result.ok
    found = [(finding.where, finding.problem) for finding in result.findings]
    assert any(place.startswith(where) and problem in text for place, text in found), found


@pytest.mark.parametrize("tamper", [_edit_blob, _lose_blob])
def test_a_payload_that_a_sealed_entry_names_is_found_too(ledger: Ledger, tamper: Callable[[Ledger], None]) -> None:
    """Sealing moves the entry; the payload is beside the log either way."""
    ledger.seal()
    tamper(ledger)
    assert _only(verify(ledger)).where.startswith("blobs/")


def test_a_truncated_segment_names_the_file_and_the_next_step(ledger: Ledger) -> None:
    """To whoever reads it: a query, a seal, a compaction."""
    _truncate_segment(ledger)
    (name,) = [s.path.name for s in _segments(ledger) if s.first_index == 5]
    with pytest.raises(IntegrityError, match=name) as caught:
        list(read_batches(_segments(ledger)[1]))
    assert caught.value.next_step == "restore this file from a copy of the ledger, then: ledger verify"
    with pytest.raises(IntegrityError, match=name) as caught, open_snapshot(ledger, views=("events",)) as snapshot:
        snapshot.rows("SELECT count(*) FROM events")
    assert caught.value.next_step == "ledger verify"


def test_an_event_that_is_there_twice_is_found(tmp_path: Path) -> None:
    """Sealed by something that does not look: the tree is sound, and the record counts twice."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.append(records(range(3)))
    ledger.seal()
    log = ledger.log()
    before = seal_module._frontier(ledger.store, ledger.require(), log)
    again = decode_entry(encode(record(1, occurred_at=NOON + 5), NOON).entry)
    intake = seal_module._Intake(ledger.store, log, before, NOON, {})
    seal_module._commit(ledger.store, log, intake, iter([intake._grown_by(entries_of(as_table([again])))]))
    result = verify(ledger)
    assert [(f.problem, f.index) for f in result.findings] == [
        (f"record 1 of run {record(1).run_id} is there twice", 3)
    ]


def test_many_findings_are_counted_and_not_all_kept(tmp_path: Path) -> None:
    """A ledger that is wrong in more than a hundred places is wrong enough."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.append(records(range(130)))
    ledger.seal()
    (segment,) = _segments(ledger)
    table = _table(segment)
    _relabel(ledger, segment, table.set_column(21, SCHEMA.field("entry"), pa.array([b"{}"] * 130, pa.binary())))
    result = verify(ledger)
    assert len(result.findings) == 100
    assert result.more_findings >= 30


def _flipped(content: bytes, position: int) -> bytes:
    """Flip one bit of one byte, another one from byte to byte."""
    return content[:position] + bytes([content[position] ^ (1 << position % 8)]) + content[position + 1 :]


@pytest.mark.soak
@pytest.mark.parametrize("first", range(4))
def test_every_flipped_byte_of_a_segment_is_found(tmp_path: Path, first: int) -> None:
    """Where only the file's digest can tell, what is read is still exactly what was written."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.append(records(range(2)))
    ledger.seal()
    log = ledger.log()
    (segment,) = log.segments
    intact, content = _table(segment), segment.path.read_bytes()
    for position in range(first, len(content), 4):  # the four together are every byte
        segment.path.write_bytes(_flipped(content, position))
        found = [f for item in check_all(log, 1) for f in ([item] if isinstance(item, Finding) else item.findings)]
        assert found, f"byte {position} of {len(content)}"
        if len(found) == 1 and "its name says" in found[0].problem:
            assert _rows_or_none(segment) in (intact, None), f"byte {position}"
    segment.path.write_bytes(content)
    assert verify(ledger).ok


def _rows_or_none(segment: Segment) -> pa.Table | None:
    """Read a segment; `None` where reading is refused, or the number of rows is another than the tree's size."""
    try:
        table = pa.Table.from_batches(list(read_batches(segment)), SCHEMA)
    except IntegrityError:
        return None
    return table if len(table) == segment.count else None


@pytest.mark.soak
@pytest.mark.parametrize("folder", ["checkpoints", "inbox", "blobs"])
def test_every_flipped_byte_of_the_small_files_is_found(tmp_path: Path, folder: str) -> None:
    """Checkpoints, objects that wait, and payloads."""
    ledger = Ledger(tmp_path / "ledger", clock=Clock())
    ledger.append(records(range(2)))
    ledger.seal()
    ledger.append([record(2)])
    if folder == "blobs":
        payload = ledger.root / "blobs" / ("0" * 64)
        payload.write_bytes(b"x" * 50)
        payload.rename(payload.with_name(hashlib.sha256(b"x" * 50).hexdigest()))
    (path,) = (ledger.root / folder).iterdir()
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(_flipped(content, position))
        assert not verify(ledger).ok, f"byte {position} of {folder}/{path.name}"
    path.write_bytes(content)
    assert verify(ledger).ok

"""The past is asked by size, checkpoint or time; rows come with their proof or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from run_evidence.ledger import IntegrityError, Ledger, UsageError
from run_evidence.ledger.query.as_of import AsOf, parse_as_of
from run_evidence.ledger.query.prefix import calculated_checkpoint
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.tlog.keys import format_vkey
from run_evidence.ledger.tlog.trust import read_trust
from run_evidence.ledger.verification.verified_query import open_verified
from tests.ledger.samples import NOON, record, records
from tests.paths import paths
from tests.trust.ledgers import OTHER_KEY, VKEY, copied, grow, head_of, signed_ledger
from tests.trust.test_signing import cli

COUNT = "SELECT count(*) AS n FROM events"


def count(ledger: Ledger, text: str | None, occurred: str | None = None) -> Any:
    with open_snapshot(ledger, parse_as_of(text, occurred), ("events",)) as snapshot:
        return snapshot.rows(COUNT)[0][0]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return signed_ledger(tmp_path / "ledger", [5, 9, 30])


def test_by_size_by_checkpoint_and_by_time(ledger: Ledger) -> None:
    """A checkpoint file, signed or a bare copy, names the same prefix as its size."""
    checkpoint = paths(ledger).checkpoint(9)
    assert count(ledger, "9") == count(ledger, str(checkpoint)) == 9
    assert count(ledger, None) == 30
    with open_snapshot(ledger, views=("events",)) as snapshot:
        moments = [row[0] for row in snapshot.rows("SELECT recorded_at FROM events ORDER BY index")]
    assert count(ledger, moments[8].isoformat()) == 9
    assert count(ledger, moments[0].isoformat()) == 5, "they were appended together"


@pytest.mark.parametrize("same", [0, 270, 600])
@pytest.mark.parametrize("size", [300, 600])
def test_a_kept_checkpoint_names_no_rows_of_another_history(tmp_path: Path, same: int, size: int) -> None:
    """The log is exchanged from entry `same` on; the tiles and checkpoints that are left agree with each other."""
    ledger = signed_ledger(tmp_path / "ledger", [300, 600])
    kept = head_of(ledger, size).checkpoint
    assert calculated_checkpoint(ledger, ledger.log(), size) == kept, "this makes the tiles"
    other = signed_ledger(tmp_path / "other", [300, 600] if same == 600 else [], None)
    grow(other, [same] if 0 < same < 600 else [])
    other.append(record(5_000 + n) for n in range(700 - other.log().size))
    other.seal()
    shutil.rmtree(paths(ledger).log)
    shutil.copytree(paths(other).log, paths(ledger).log)
    if size <= same:
        assert calculated_checkpoint(ledger, ledger.log(), size) == kept
        assert count(ledger, str(paths(ledger).checkpoint(size))) == size
        return
    with pytest.raises(IntegrityError, match=f"first {size} entries"):
        count(ledger, str(paths(ledger).checkpoint(size)))
    with pytest.raises(IntegrityError, match="is not that of the checkpoint"):
        calculated_checkpoint(ledger, ledger.log(), size)


def test_event_time_cuts_across_the_order_of_the_log(ledger: Ledger) -> None:
    """What happened by then, whenever it was recorded; together with a prefix both hold."""
    at_noon = "2026-04-17T12:00:00.004"
    assert count(ledger, None, at_noon) == 5 + 3, "records 0 to 4, and three own events of 2001"
    assert count(ledger, "5", at_noon) == 5
    assert count(ledger, "9", "1999-01-01") == 0
    parsed = parse_as_of("9", at_noon)
    assert (parsed.size, parsed.occurred_by, parsed.past) == (9, NOON + 4_000, True)
    assert not parse_as_of(None, at_noon).past, "what is recorded from now on may have happened before"


def test_a_checkpoint_of_another_history_names_no_prefix(ledger: Ledger, tmp_path: Path) -> None:
    other = signed_ledger(tmp_path / "other", [4, 9])
    with pytest.raises(IntegrityError, match="first 9 entries have root"):
        count(ledger, str(paths(other).checkpoint(9)))
    assert count(ledger, str(head_file(tmp_path, head_of(ledger, 5).text))) == 5
    with pytest.raises(IntegrityError, match="is of example"):
        count(ledger, str(head_file(tmp_path, head_of(ledger, 5).text.replace("/ledger", "/else"))))
    with pytest.raises(UsageError, match="has 30 sealed"):
        count(ledger, str(head_file(tmp_path, head_of(ledger, 30).text.replace("\n30\n", "\n31\n"))))
    with pytest.raises(IntegrityError):
        count(ledger, str(head_file(tmp_path, "nonsense")))


def head_file(folder: Path, text: str) -> Path:
    path = folder / "copy"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("text", "occurred"), [("yesterday", None), ("-1", None), (None, "9"), (None, "noon")])
def test_what_is_no_point_in_time_is_refused(text: str | None, occurred: str | None) -> None:
    with pytest.raises(UsageError, match="time"):
        parse_as_of(text, occurred)


@given(st.text() | st.from_regex(r"[0-9]{1,40}") | st.datetimes(timezones=st.timezones()).map(str))
@example("9" * 5000)
@example("x" * 5000)
@example("a\x00b")
@example("0001-01-01T00:00:00+14:00")
@example("9999-12-31T23:59:59.999999-14:00")
def test_any_text_is_a_point_in_time_or_a_fault_of_ours(text: str) -> None:
    """Whatever somebody types, nothing crashes; and what is read makes SQL that DuckDB takes."""
    for asked in ((text, None), (None, text)):
        try:
            found = parse_as_of(*asked)
        except UsageError:
            continue
        assert duckdb.execute(
            "SELECT count(*) FROM (SELECT 1::BIGINT AS index, now() AS recorded_at, now() AS occurred_at) WHERE "
            + found.condition()
        ).fetchall()


def test_unsealed_entries_are_in_no_prefix_named_by_size(ledger: Ledger) -> None:
    ledger.append(records([500]))
    assert count(ledger, "30") == 30
    assert count(ledger, None) == 31


# --- rows with their proof --------------------------------------------------------------------------------


def test_rows_come_with_the_head_they_were_read_under(ledger: Ledger) -> None:
    ledger.append(records([500]))
    with open_verified(ledger, trust=read_trust([VKEY], []), workers=1) as verified:
        assert verified.snapshot.rows(COUNT) == [(30,)]
        assert verified.head.message == head_of(ledger, 30).message
    with open_verified(ledger, AsOf(size=7), workers=1) as verified:
        assert (verified.snapshot.rows(COUNT), verified.size) == ([(7,)], 7)
        assert verified.head.checkpoint.size == 30


def test_no_row_is_returned_from_a_ledger_that_was_altered(ledger: Ledger, tmp_path: Path) -> None:
    """A derived column edited, with every hash in the file's name and footer left as a naive tool leaves it."""
    other = copied(ledger, tmp_path / "altered")
    segment = other.log().segments[1]
    table = pq.read_table(segment.path)
    changed = table.set_column(
        table.schema.get_field_index("step_key"), "step_key", table.column("step_key").fill_null("forged")
    )
    pq.write_table(changed, segment.path)
    with pytest.raises(IntegrityError, match="no rows are returned"), open_verified(other, workers=1):
        pass
    with open_verified(ledger, workers=1) as verified:
        assert verified.snapshot.rows(COUNT) == [(30,)]


@pytest.mark.soak
def test_a_segment_a_query_skips_is_verified_too(ledger: Ledger) -> None:
    """Its statistics are what it is skipped by: forged ones hide rows from a query that reads none of it."""
    asked = "SELECT count(*) FROM events WHERE step_key = 'step_0'"
    with open_verified(ledger, workers=1) as verified:
        ((every,),) = verified.snapshot.rows(asked)
    path = ledger.log().segments[1].path
    content = path.read_bytes()
    body, footer = content[: len(content) // 2], content[len(content) // 2 :]
    path.write_bytes(body + footer.replace(b"step_0", b"step_1"))
    with open_snapshot(ledger) as snapshot:
        ((seen,),) = snapshot.rows(asked)
    assert seen < every
    with pytest.raises(IntegrityError, match="no rows are returned"), open_verified(ledger, workers=1):
        pass


def test_wrong_keys_and_uncovered_entries_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    other = read_trust([format_vkey(OTHER_KEY.verifier())], [])
    with pytest.raises(IntegrityError, match="is signed by"), open_verified(ledger, trust=other):
        pass
    paths(ledger).checkpoint(30).unlink()
    with pytest.raises(UsageError, match="No checkpoint covers"), open_verified(ledger, AsOf(size=20)):
        pass
    empty = Ledger(tmp_path / "empty")
    empty.create()
    with pytest.raises(UsageError, match="No checkpoint"), open_verified(empty):
        pass


@pytest.mark.soak
def test_on_the_command_line(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5, 9])
    shutil.copy(paths(ledger).checkpoint(5), tmp_path / "kept")
    grow(ledger, [20])
    asked = cli(tmp_path, "query", COUNT, "--verify", "--key", VKEY, "-f", "json")
    answer = json.loads(asked.stdout)
    assert answer == {
        "checkpoint": head_of(ledger, 20).message.decode(),
        "entries_read": 20,
        "rows": [{"n": 20}],
    }
    as_of = cli(tmp_path, "query", COUNT, "--as-of", str(tmp_path / "kept"), "-f", "csv")
    assert as_of.stdout.splitlines()[1] == "5"
    csv = cli(tmp_path, "query", COUNT, "--verify", "--as-of-occurred", "2001-12-01", "-f", "csv")
    assert (csv.stdout.splitlines()[1], VKEY.partition("+")[0] in csv.stderr) == ("2", True)
    assert cli(tmp_path, "query", COUNT, "--verify", "-f", "parquet", "-o", str(tmp_path / "x")).returncode == 0
    metadata = pq.read_schema(tmp_path / "x").metadata
    assert metadata[b"run_evidence.ledger.tlog.checkpoint"] == head_of(ledger, 20).message
    assert cli(tmp_path, "query", COUNT, "--as-of", "nonsense").returncode == 2


def test_altered_rows_are_not_printed(tmp_path: Path) -> None:
    """Exit code 3, nothing on stdout, no file; and without --verify the forgery would have been shown."""
    ledger = signed_ledger(tmp_path / "ledger", [5, 9])
    path = ledger.log().segments[0].path
    table = pq.read_table(path)
    forged = table.column("step_key").fill_null("forged")
    pq.write_table(table.set_column(table.schema.get_field_index("step_key"), "step_key", forged), path)
    asked = "SELECT DISTINCT step_key FROM events"
    assert cli(tmp_path, "query", asked).returncode == 0
    for options in ((), ("-f", "json"), ("-f", "parquet", "-o", str(tmp_path / "out"))):
        said = cli(tmp_path, "query", asked, "--verify", *options)
        assert (said.returncode, said.stdout) == (3, ""), said.stderr
        assert f"log/{path.name}" in said.stderr
    assert not (tmp_path / "out").exists()

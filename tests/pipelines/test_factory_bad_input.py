"""Bad input, one kind after the other: a reason code for each, and never a batch that is half written."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.ingestion.databases import DuckDBFile, DuckDBTransaction
from pipelines.ingestion.gate import judge_manifest
from pipelines.ingestion.refusals import RefusedInputError
from pipelines.ingestion.ticket_ingest import TicketSummary, ingest_batch, source_of_file
from pipelines.ingestion.warehouse import BatchStamp, Warehouse
from pipelines.manifests import Judgement, SourceSettings, scan_manifests
from pipelines.partitions import daily_window
from pipelines.tickets import MAX_LINE_BYTES, Ticket, parse_ticket

if TYPE_CHECKING:
    from pipelines.ingestion.databases import Database, Transaction

NOW = datetime(2026, 4, 18, 12, tzinfo=UTC)
STAMP = BatchStamp("run-1", "release-1", NOW)
TABLES = ("raw_ticket_event", "customer_dim", "ticket_fact", "ticket_quarantine")


def _ingest(folder: Path, database: Database, contents: bytes) -> TicketSummary:
    path = folder / "tickets.jsonl"
    path.write_bytes(contents)
    return ingest_batch(Warehouse(database), [source_of_file(path, "batch-1", NOW)], STAMP)[0]


def _stored(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables that tickets are written to."""
    with database.reading() as run:
        return {table: sorted(run(f"SELECT * FROM {table}"), key=str) for table in TABLES}


def _quarantined(database: Database) -> list[tuple[int, str]]:
    with database.reading() as run:
        return run("SELECT line_number, reason_codes FROM ticket_quarantine ORDER BY 1")  # type: ignore[return-value]


@pytest.fixture
def duckdb_file(tmp_path: Path) -> DuckDBFile:
    return DuckDBFile(tmp_path / "warehouse.duckdb")


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


REFUSED_LINES = {
    "a wrong type": ({"pii_redacted": "yes"}, "pii_redacted:wrong_type"),
    "a number for a text": ({"owner": 7}, "owner:wrong_type"),
    "an unknown field": ({"internal_score": 1}, "internal_score:unknown_field"),
    "a time without a zone": ({"created_at": "2026-04-17T10:00:00"}, "created_at:malformed"),
    "a leap second": ({"created_at": "2026-06-30T23:59:60Z"}, "created_at:malformed"),
    "a day that is not there": ({"created_at": "2026-02-30T00:00:00Z"}, "created_at:malformed"),
    "created in the future": ({"created_at": "2026-04-20T00:00:00Z"}, "created_at:in_future"),
    "updated in the future": ({"updated_at": "9999-12-31T23:59:59Z"}, "updated_at:in_future"),
    "resolved in the future": ({"resolved_at": "2026-05-01T00:00:00Z"}, "resolved_at:in_future"),
    "full-width letters in an id": ({"ticket_id": "ＴＫＴ-20260417-000001"}, "ticket_id:malformed"),
    "another Unicode form": ({"customer_id": unicodedata.normalize("NFD", "cus_é")}, "customer_id:not_normalized"),
}


@pytest.mark.parametrize("kind", REFUSED_LINES)
def test_a_line_that_breaks_the_contract_is_kept_apart(
    tmp_path: Path, duckdb_file: DuckDBFile, ticket: Callable[..., dict[str, Any]], kind: str
) -> None:
    """With its number and reason; the lines round it are written."""
    changes, code = REFUSED_LINES[kind]
    good = [ticket(ticket_id=f"TKT-20260417-{n:06d}") for n in (2, 3)]
    lines = [_line(good[0]), b"\n", _line(ticket(**changes)), _line(good[1])]
    summary = _ingest(tmp_path, duckdb_file, b"".join(lines))
    assert (summary.total, summary.valid, summary.invalid, summary.inserted) == (3, 2, 1, 2)
    assert _quarantined(duckdb_file) == [(3, code)]


def test_a_key_that_is_given_twice_is_refused(
    tmp_path: Path, duckdb_file: DuckDBFile, ticket: Callable[..., dict[str, Any]]
) -> None:
    """Which of the two is meant, readers decide differently."""
    line = _line(ticket())[:-2] + b', "status": "closed"}\n'
    assert _ingest(tmp_path, duckdb_file, line).invalid == 1
    assert _quarantined(duckdb_file) == [(1, "status:repeated")]


REFUSED_FILES = {
    "malformed JSON": (b'{"ticket_id": \n', "not_json"),
    "cut off in the middle": (b'{"ticket_id": "TKT', "not_json"),
    "no object": (b"[1]\n", "not_an_object"),
    "not UTF-8": (b'{"owner": "\xff"}\n', "not_json"),
    "UTF-16": ('{"owner": "x"}\n'.encode("utf-16"), "not_json"),
    "a line of 10 MB": (b'{"owner": "' + b"x" * (10 << 20) + b'"}\n', "line_too_long"),
}


@pytest.mark.soak
@pytest.mark.parametrize("kind", REFUSED_FILES)
def test_a_line_that_is_no_json_refuses_the_whole_batch(
    tmp_path: Path, database: Database, ticket: Callable[..., dict[str, Any]], kind: str
) -> None:
    """Nothing of it is in Bronze or Silver; its refused lines are kept, and the same again changes nothing."""
    contents, code = REFUSED_FILES[kind]
    assert len(contents) > MAX_LINE_BYTES or code != "line_too_long"
    lines = _line(ticket()) + _line(ticket(owner=None)) + contents
    stored = []
    for _ in range(2):
        with pytest.raises(RefusedInputError, match=r"tickets\.jsonl:3: ") as refused:
            _ingest(tmp_path, database, lines)
        assert refused.value.reason_codes == ("ticket_ingest_errors",)
        stored.append(_stored(database))
    assert stored[0] == stored[1]
    assert [stored[0][table] for table in TABLES[:3]] == [[], [], []]
    assert _quarantined(database)[:2] == [(2, "owner:null"), (3, code)]


@pytest.mark.parametrize("contents", [b"", b"\n \r\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_a_line_is_no_success(tmp_path: Path, duckdb_file: DuckDBFile, contents: bytes) -> None:
    with pytest.raises(RefusedInputError) as refused:
        _ingest(tmp_path, duckdb_file, contents)
    assert refused.value.reason_codes == ("input_empty",)


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n\r\n"])
def test_marks_and_line_ends_change_nothing(
    tmp_path: Path, duckdb_file: DuckDBFile, ticket: Callable[..., dict[str, Any]], before: bytes, end: bytes
) -> None:
    """A byte order mark, CRLF and blank lines are of the file, not of a ticket."""
    records = [ticket(ticket_id=f"TKT-20260417-{n:06d}") for n in range(3)]
    summary = _ingest(tmp_path, duckdb_file, before + end.join(json.dumps(r).encode() for r in records) + end)
    assert (summary.total, summary.inserted) == (3, 3)


def test_the_edges_of_a_day(tmp_path: Path, duckdb_file: DuckDBFile, ticket: Callable[..., dict[str, Any]]) -> None:
    """The instant decides, to the microsecond and in whatever offset it is written."""
    of_the_day = ("2026-04-17T00:00:00Z", "2026-04-17T23:59:59.999999Z", "2026-04-18T13:59:59+14:00")
    of_the_next = ("2026-04-18T00:00:00Z", "2026-04-18T14:00:00+14:00", "2026-04-17T12:00:00-12:00")
    records = [
        ticket(ticket_id=f"TKT-20260417-{n:06d}", created_at=created)
        for n, created in enumerate([*of_the_day, *of_the_next])
    ]
    _ingest(tmp_path, duckdb_file, b"".join(map(_line, records)))
    warehouse = Warehouse(duckdb_file)
    for day in ("2026-04-17", "2026-04-18"):
        assert warehouse.partition_state(daily_window(day)).ticket_count == 3


def test_an_id_with_conflicting_content_is_one_ticket_and_two_events(
    tmp_path: Path, database: Database, ticket: Callable[..., dict[str, Any]]
) -> None:
    """Bronze keeps both; Silver ends the same in whichever order they come."""
    lines = [_line(ticket(status="open")), _line(ticket(status="closed"))]
    ends = set()
    for order in (lines, lines[::-1]):
        _ingest(tmp_path, database, b"".join(order))
        stored = _stored(database)
        assert len(stored["raw_ticket_event"]) == 2
        ends.add(str(stored["ticket_fact"]))
    assert len(ends) == 1


PATHS = {
    "/etc/hostname": "source_outside_data_folder",
    "../../../etc/hostname": "source_outside_data_folder",
    "../outside.jsonl": "source_outside_data_folder",
    "linked.jsonl": "source_through_link",
    "folder/tickets.jsonl": "source_through_link",
    "gone.jsonl": "source_not_available",
    ".": "source_not_available",
}


@pytest.mark.parametrize("source", PATHS)
def test_a_manifest_reads_nothing_outside_its_data(
    tmp_path: Path, deliver: Callable[..., Path], ticket: Callable[..., dict[str, Any]], source: str
) -> None:
    """Neither by its path nor through a link, which whoever delivers may have set."""
    line = _line(ticket())
    (tmp_path / "outside.jsonl").write_bytes(line)
    data = tmp_path / "deliveries"
    folder = deliver(data, "2026-04-17", [line], source={"source_url_or_path": source}).parent
    (folder / "linked.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (folder / "folder").symlink_to(folder)
    (manifest,) = scan_manifests(data).manifests
    judged = judge_manifest(manifest, data_folder=folder)
    assert judged.assets[0].reasons[0].code == PATHS[source]
    assert judged.assets[0].path is None
    assert judged.judgement.rank >= Judgement.QUARANTINE.rank


def test_a_data_folder_that_is_a_link_itself_is_read(
    tmp_path: Path, deliver: Callable[..., Path], ticket: Callable[..., dict[str, Any]]
) -> None:
    """Where the data lies is the operator's choice; only what is in it is the delivery's."""
    deliver(tmp_path / "real", "2026-04-17", [ticket()])
    (tmp_path / "deliveries").symlink_to(tmp_path / "real")
    settings = SourceSettings(tmp_path / "deliveries")
    (manifest,) = scan_manifests(settings.manifest_path).manifests
    assert judge_manifest(manifest, data_folder=settings.data_folder).judgement is Judgement.ACCEPT


def test_two_sources_of_one_id_are_refused(tmp_path: Path, deliver: Callable[..., Path]) -> None:
    """Spelt alike, or in Unicode forms that normalise to the same."""
    for first, second in (("doc:1", "doc:1"), ("doc:é", unicodedata.normalize("NFD", "doc:é"))):
        assets = [
            {"source_id": name, "source_url_or_path": "tickets.jsonl", "asset_type": "jsonl"}
            for name in (first, second)
        ]
        deliver(tmp_path, "2026-04-17", [], assets=assets)
        (problem,) = scan_manifests(tmp_path).problems
        assert "assets[1].source_id" in str(problem.error)


_instants = st.sampled_from(
    [
        *("2026-04-17T08:00:00Z", "2026-04-17T23:59:59.999999Z", "2026-04-18T01:00:00+14:00"),
        *("2026-04-17T08:00:00", "2026-06-30T23:59:60Z", "2027-01-01T00:00:00Z", ""),
    ]
)
_changes = st.fixed_dictionaries(
    {"ticket_id": st.sampled_from([f"TKT-20260417-{n:06d}" for n in range(4)])},
    optional={
        "created_at": _instants,
        "updated_at": _instants | st.none(),
        "resolved_at": _instants | st.none(),
        "status": st.sampled_from(["open", "closed", "waiting"]),
        "customer_id": st.sampled_from(["cus_1", "cus_é", "cus_e\u0301", "", " "]),
        "owner": st.sampled_from(["data-platform", None]) | st.text(max_size=3),
        "extra": st.integers(),
    },
)


class InMemory:
    """A DuckDB in memory: as a file is, without waiting for a disk."""

    name = "memory"

    def __init__(self) -> None:
        self._connection = duckdb.connect()
        self.reading = self.writing

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Open a transaction on a connection of its own."""
        with self._connection.cursor() as cursor:
            cursor.begin()
            yield DuckDBTransaction(cursor)
            cursor.commit()


@pytest.mark.soak
@given(changes=st.lists(_changes, min_size=1, max_size=12))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_add_up_and_a_rerun_changes_nothing(
    tmp_path: Path, ticket: Callable[..., dict[str, Any]], changes: list[dict[str, Any]]
) -> None:
    """Whatever comes, in whatever order; and the tables are what the lines say, read one by one."""
    database = InMemory()
    lines = [_line(ticket(**change)) for change in changes]
    summaries, stored = [], []
    for contents in (b"".join(lines), b"".join(lines)):
        summaries.append(_ingest(tmp_path, database, contents))
        stored.append(_stored(database))
    for told in summaries:
        assert told.total == len(lines) == told.valid + told.invalid + told.errors
        assert told.valid == told.inserted + told.duplicates + told.skipped
    assert (summaries[1].inserted, stored[1]) == (0, stored[0])
    assert len(stored[0]["ticket_quarantine"]) == summaries[0].invalid
    assert len(stored[0]["raw_ticket_event"]) == summaries[0].inserted
    latest = source_of_file(tmp_path / "tickets.jsonl", "b", NOW).latest
    assert latest is not None
    found = [parsed for line in lines if isinstance(parsed := parse_ticket(line), Ticket)]
    known = [
        t for t in found if all(at is None or at <= latest for at in (t.created_at, t.updated_at, t.resolved_at))
    ]
    assert len({t.fingerprint for t in known}) == summaries[0].inserted
    newest = {
        t.ticket_id: (t.status, t.fingerprint) for t in sorted(known, key=lambda t: (t.version_at, t.fingerprint))
    }
    with database.reading() as run:
        silver = run("SELECT ticket_id, status, source_fingerprint FROM ticket_fact")
    assert {ticket_id: (status, fingerprint) for ticket_id, status, fingerprint in silver} == newest


def test_the_quarantine_names_the_file_by_its_digest(
    tmp_path: Path, duckdb_file: DuckDBFile, ticket: Callable[..., dict[str, Any]]
) -> None:
    """Whoever has the file finds the line, and what it says is not copied."""
    contents = _line(ticket(owner=None, subject="of a customer"))
    _ingest(tmp_path, duckdb_file, contents)
    (row,) = _stored(duckdb_file)["ticket_quarantine"]
    assert hashlib.sha256(contents).hexdigest() in row
    assert "of a customer" not in str(row)

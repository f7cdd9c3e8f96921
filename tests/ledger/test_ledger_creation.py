"""A ledger is made by its first append, once; whatever else is at a path is named for what it is."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from run_evidence.ledger import EnvironmentFault, Ledger, NotALedgerError, UsageError
from run_evidence.ledger.admin.status import diagnose, status
from run_evidence.ledger.query.as_of import parse_as_of
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.settings import resolve_ledger
from run_evidence.ledger.verification.verify import verify
from tests.ledger.processes import Child, create
from tests.ledger.samples import NOON, Clock, record


def test_the_first_append_makes_the_ledger(tmp_path: Path) -> None:
    """With its folders, its parents, and a settings file that names format and origin."""
    ledger = Ledger(tmp_path / "deep" / "er" / "ledger", clock=Clock())
    assert not ledger.exists()
    ledger.append([record(1)])
    assert ledger.exists()
    assert sorted(p.name for p in ledger.root.iterdir()) == ["blobs", "checkpoints", "inbox", "ledger.json", "log"]
    stated = json.loads((ledger.root / "ledger.json").read_bytes())
    assert stated == {"format": 1, "origin": ledger.require()}
    assert ledger.create() == ledger.require()


def test_every_ledger_has_an_origin_of_its_own(tmp_path: Path) -> None:
    """A checkpoint of one log can never pass for another's."""
    assert Ledger(tmp_path / "a").create() != Ledger(tmp_path / "b").create()


READERS: dict[str, Callable[[Ledger], object]] = {
    "require": Ledger.require,
    "log": Ledger.log,
    "seal": Ledger.seal,
    "verify": verify,
    "status": status,
    "snapshot": lambda ledger: open_snapshot(ledger).__enter__(),
}


@pytest.mark.parametrize("reader", READERS)
def test_reading_a_ledger_that_is_not_there_is_an_error(tmp_path: Path, reader: str) -> None:
    """Nothing is made by looking, and nothing that is absent reads as empty."""
    with pytest.raises(NotALedgerError, match="There is no ledger at") as caught:
        READERS[reader](Ledger(tmp_path / "absent"))
    assert caught.value.next_step
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


def test_what_is_known_of_a_run_in_no_ledger_is_nothing(tmp_path: Path) -> None:
    """Capture asks before the first append; everything it will find is new."""
    assert Ledger(tmp_path / "absent").known(["run"])["run"].records == {}
    assert Ledger(tmp_path / "absent").known([]) == {}


def _a_file(path: Path) -> None:
    path.write_text("not a folder")


def _a_folder_of_something_else(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def _settings(content: str) -> Callable[[Path], None]:
    def prepare(path: Path) -> None:
        Ledger(path).create()
        (path / "ledger.json").write_text(content)

    return prepare


NOT_LEDGERS: list[tuple[str, Callable[[Path], None], str]] = [
    ("a file", _a_file, "is a file; a ledger is a folder"),
    ("below a file", lambda path: _a_file(path.parent), "There is no ledger"),
    ("something else", _a_folder_of_something_else, "is a folder without ledger.json"),
    ("newer", _settings('{"format":2,"origin":"x"}'), "has format 2; this program reads up to 1"),
    ("newer, otherwise", _settings('{"format":99}'), "has format 99; this program reads up to 1"),
    ("not JSON", _settings("{"), "is not the settings file of a ledger"),
    ("empty", _settings(""), "is not the settings file of a ledger"),
    ("a list", _settings("[]"), "is not the settings file of a ledger"),
    ("no origin", _settings('{"format":1}'), "is not the settings file of a ledger"),
    ("no text", _settings('{"format":1,"origin":7}'), "is not the settings file of a ledger"),
    ("no name", _settings('{"format":1,"origin":""}'), "is not the settings file of a ledger"),
    ("format 0", _settings('{"format":0,"origin":"x"}'), "is not the settings file of a ledger"),
    ("format true", _settings('{"format":true,"origin":"x"}'), "is not the settings file of a ledger"),
    ("format text", _settings('{"format":"1","origin":"x"}'), "is not the settings file of a ledger"),
]


@pytest.mark.parametrize(("what", "prepare", "message"), NOT_LEDGERS, ids=[case[0] for case in NOT_LEDGERS])
def test_what_is_not_a_ledger_is_named_and_left_alone(
    tmp_path: Path, what: str, prepare: Callable[[Path], None], message: str
) -> None:
    """Reading says what is there and what to do; appending says so too and changes nothing."""
    path = tmp_path / "parent" / "ledger"
    if what != "below a file":
        path.parent.mkdir()
    prepare(path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    ledger = Ledger(path)
    with pytest.raises(NotALedgerError, match=message) as caught:
        ledger.require()
    assert caught.value.next_step
    with pytest.raises(EnvironmentFault) as caught_again:
        ledger.append([record(1)])
    assert caught_again.value.next_step
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    (problem,) = diagnose(ledger)
    assert (problem.level, bool(problem.next_step)) == ("problem", True)


@pytest.mark.parametrize("leftover", [[], ["inbox"], ["inbox", "log", ".tmp-0123456789abcdef"]])
def test_a_creation_that_died_is_completed_by_the_next(tmp_path: Path, leftover: list[str]) -> None:
    """Folders without a settings file, and half a settings file, are what a crash leaves."""
    (tmp_path / "ledger").mkdir()
    for name in leftover:
        (tmp_path / "ledger" / name).mkdir() if "tmp" not in name else (tmp_path / "ledger" / name).write_bytes(
            b"{"
        )
    Ledger(tmp_path / "ledger").append([record(1)])
    assert Ledger(tmp_path / "ledger").seal().size == 1


def test_a_rival_that_was_done_between_two_looks_is_taken_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen absent, then there: it is the ledger, not a folder of something else."""
    origin = Ledger(tmp_path / "ledger").create()
    monkeypatch.setattr(Ledger, "exists", lambda _: False)
    assert Ledger(tmp_path / "ledger").create() == origin


@pytest.mark.parametrize("attempt", range(3))
def test_rivals_that_create_at_once_end_with_one_ledger(tmp_path: Path, attempt: int) -> None:
    """Eight processes append to a ledger that is not there: one origin, and everything is in it."""
    root, barrier = tmp_path / "new" / "ledger", multiprocessing.get_context("forkserver").Barrier(8)
    rivals = [Child(tmp_path / "reports" / f"{n}", create, root, n, barrier) for n in range(8)]
    found = {line for rival in rivals for line in rival.finish()}
    ledger = Ledger(root)
    assert found == {ledger.require()}
    assert ledger.seal().size == 8
    assert [p.name for p in ledger.root.iterdir() if p.name.startswith(".tmp-")] == []


@pytest.mark.parametrize(
    ("path", "environment", "expected"),
    [
        ("/a/b", {"LEDGER_URL": "/c"}, "/a/b"),
        (None, {"LEDGER_URL": "/c", "DAGSTER_HOME": "/d"}, "/c"),
        (None, {"LEDGER_URL": "file:///c/d"}, "/c/d"),
        ("file://localhost/c", {}, "/c"),
        (Path("/c/a b#1?ü%").as_uri(), {}, "/c/a b#1?ü%"),
        (None, {"LEDGER_URL": "", "DAGSTER_HOME": "/d"}, "/d/ledger"),
        (None, {"DAGSTER_HOME": "/d"}, "/d/ledger"),
        (None, {"DAGSTER_HOME": ""}, str(Path.cwd() / ".ledger")),
        (None, {}, str(Path.cwd() / ".ledger")),
        ("x", {}, str(Path.cwd() / "x")),
    ],
)
def test_where_the_ledger_is(path: str | None, environment: dict[str, str], expected: str) -> None:
    """--ledger, else LEDGER_URL, else $DAGSTER_HOME/ledger, else ./.ledger; an empty value is none."""
    assert str(resolve_ledger(path, environment)) == expected


@pytest.mark.parametrize("address", ["s3://bucket/prefix", "file://another-host/c", "file:///c?x", "file:///c#x"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    """A bucket is not taken for a folder called `s3:`, nor another machine's folder for one of this machine."""
    with pytest.raises(UsageError, match="of a kind this version cannot open") as caught:
        resolve_ledger(address, {})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "size", "recorded_by"),
    [
        (None, None, None),
        ("0", 0, None),
        ("1200", 1200, None),
        ("2026-04-17T12:00:00Z", None, NOON),
        ("2026-04-17T12:00:00.000001Z", None, NOON + 1),
        ("2026-04-17T14:00:00+02:00", None, NOON),
        ("2026-04-17 12:00", None, NOON),
        ("2026-04-17", None, NOON - 12 * 3_600 * 1_000_000),
    ],
)
def test_a_prefix_is_named_by_a_size_or_a_time(text: str | None, size: int | None, recorded_by: int | None) -> None:
    """A number counts entries, a time is ISO 8601 and UTC unless it says otherwise, to the microsecond."""
    found = parse_as_of(text)
    assert (found.size, found.recorded_by) == (size, recorded_by)


@pytest.mark.parametrize("text", ["", "-1", "yesterday", "1.5", "2026-13-01", "١٢"])
def test_anything_else_is_no_prefix(text: str) -> None:
    """The message gives an example of each."""
    with pytest.raises(UsageError, match="neither a number of entries nor a time") as caught:
        parse_as_of(text)
    assert caught.value.next_step

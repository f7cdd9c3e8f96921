"""What capture asks of a Dagster storage, on every kind of storage it supports."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster._serdes import serialize_value
from history import shard
from stores import StorageConfig

from run_evidence.ledger import EnvironmentFault
from run_evidence.sensors.dagster_log import source
from run_evidence.sensors.dagster_log.own_tags import STAMP, VERDICT, format_stamp, read_stamp
from run_evidence.sensors.dagster_log.source import LogSize
from run_evidence.sensors.dagster_log.steps import execution_plan

POSTGRES = pytest.mark.postgres
KINDS = (
    *("sqlite", "sqlite-unified", "sqlite-sections", "sqlite-consolidated"),
    pytest.param("postgres", marks=POSTGRES),
    pytest.param("postgres-sections", marks=POSTGRES),
)


@dg.asset
def upstream(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    context.log.info("a line, not an event")
    return dg.MaterializeResult(metadata={"数": 1, "nan": float("nan")})


@dg.asset(deps=[upstream])
def downstream() -> None: ...


@pytest.fixture(params=KINDS, scope="module")
def stored(
    request: pytest.FixtureRequest, storage_config: StorageConfig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dg.DagsterInstance]:
    """Open an instance on each kind of storage, with two runs in it."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "dagster.yaml").write_text(storage_config(request.param, folder))
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        for _ in range(2):
            assert dg.materialize([upstream, downstream], instance=instance).success
        yield instance


def _run_ids(instance: dg.DagsterInstance) -> list[str]:
    return [run.run_id for run in instance.get_runs()]


@pytest.mark.soak
def test_a_record_is_the_text_that_dagster_stored(stored: dg.DagsterInstance) -> None:
    """Ids and texts are those of Dagster's own reading, record for record, log lines included."""
    for run_id in _run_ids(stored):
        expected = stored.get_records_for_run(run_id).records
        read = list(source.read_records(stored, run_id))
        assert [r.storage_id for r in read] == [r.storage_id for r in expected]
        assert [r.text for r in read] == [serialize_value(r.event_log_entry) for r in expected]
        assert any(r.event_log_entry.dagster_event is None for r in expected)


@pytest.mark.soak
@pytest.mark.parametrize("page", [1, 7, 1_000])
def test_pages_do_not_show(stored: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """A log read in pages of any size is the same log, also from the middle on."""
    run_id = _run_ids(stored)[0]
    whole = list(source.read_records(stored, run_id))
    monkeypatch.setattr(source, "PAGE_RECORDS", page)
    assert list(source.read_records(stored, run_id)) == whole
    middle = whole[len(whole) // 2].storage_id
    assert list(source.read_records(stored, run_id, middle)) == whole[len(whole) // 2 + 1 :]


def test_a_log_size_counts_what_reading_yields(stored: dg.DagsterInstance) -> None:
    """The cheap look at a log says how many records a reading would give, and the last id."""
    run_ids = [*_run_ids(stored), "00000000-0000-0000-0000-000000000000"]
    sizes = source.log_sizes(stored, run_ids)
    assert list(sizes) == run_ids
    for run_id in run_ids:
        ids = [r.storage_id for r in source.read_records(stored, run_id)]
        assert sizes[run_id] == LogSize(len(ids), max(ids, default=0))
    assert all(sizes[run_id].records > 10 for run_id in _run_ids(stored))


def test_a_log_size_counts_what_its_writer_has_not_put_in_its_place(instance: dg.DagsterInstance) -> None:
    """While a writer is there, part of a run's log is in its WAL: it counts, and the file is left alone."""
    run_id = dg.materialize([upstream], instance=instance).run_id
    path = shard(instance, run_id)
    with closing(sqlite3.connect(path)) as resting:
        resting.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = source.log_sizes(instance, [run_id])[run_id]
    with closing(sqlite3.connect(path)) as writer:
        with writer:
            columns = "run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition"
            writer.execute(f"INSERT INTO event_logs ({columns}) SELECT {columns} FROM event_logs WHERE id = 1")
        assert path.with_name(f"{path.name}-wal").stat().st_size > 0
        during = source.log_sizes(instance, [run_id])[run_id]
    assert (during.records, during.last_id) == (before.records + 1, before.last_id + 1)
    assert source.log_sizes(instance, [run_id])[run_id] == during


def test_a_run_without_records_reads_as_nothing_and_leaves_no_trace(stored: dg.DagsterInstance) -> None:
    """Looking at a run that is not there yields nothing and creates nothing in Dagster's folders."""
    folder = Path(stored.root_directory)
    before = sorted(folder.rglob("*.db"))
    for _ in range(2):
        assert list(source.read_records(stored, "11111111-1111-1111-1111-111111111111")) == []
        assert source.run_facts(stored, "11111111-1111-1111-1111-111111111111") is None
    assert sorted(folder.rglob("*.db")) == before


def test_runless_records_are_read_under_the_empty_run_id(stored: dg.DagsterInstance) -> None:
    """A materialization reported from outside and a wipe have run id "" and ids of their own."""
    assert list(source.read_records(stored, source.RUNLESS)) == []
    assert source.log_sizes(stored, [source.RUNLESS])[source.RUNLESS] == LogSize(0, 0)
    stored.report_runless_asset_event(dg.AssetMaterialization("reported"))
    stored.wipe_assets([dg.AssetKey("upstream")])
    expected = [r.storage_id for r in stored.get_records_for_run("").records]
    assert [r.storage_id for r in source.read_records(stored, source.RUNLESS)] == expected
    assert source.log_sizes(stored, [source.RUNLESS])[source.RUNLESS] == LogSize(2, expected[-1])


def test_the_store_id_outlives_the_process(stored: dg.DagsterInstance) -> None:
    """Another handle on the same storage has the same id."""
    with dg.DagsterInstance.from_config(stored.root_directory) as again:
        assert source.store_id(again) == source.store_id(stored)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=POSTGRES)])
def test_a_new_store_gets_one_id_however_many_ask(tmp_path: Path, storage_config: StorageConfig, kind: str) -> None:
    """Dagster makes an id for each of those who ask at once; all of them use the same one all the same."""
    (tmp_path / "dagster.yaml").write_text(storage_config(kind, tmp_path))
    dg.DagsterInstance.from_config(str(tmp_path)).dispose()
    together = threading.Barrier(6)
    found: list[str] = []

    def ask() -> None:
        with dg.DagsterInstance.from_config(str(tmp_path)) as mine:
            together.wait(30)
            found.append(source.store_id(mine))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


@pytest.mark.soak
def test_a_run_row_has_times_in_utc(
    stored: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The times of a run's row are those of its events, whatever the time zone of the process."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    request.addfinalizer(time.tzset)
    facts = source.run_facts(stored, _run_ids(stored)[0])
    assert facts is not None
    last = stored.get_records_for_run(facts.run_id).records[-1].event_log_entry.timestamp
    assert abs(facts.updated_at / 1e6 - last) < 5
    assert facts.status == "SUCCESS"
    assert facts.created_at <= facts.updated_at + 1_000_000
    monkeypatch.undo()


def test_the_execution_plan_says_who_waits_for_whom(stored: dg.DagsterInstance) -> None:
    """The plan names every step and the steps it waits for, also the second time (remembered)."""
    facts = source.run_facts(stored, _run_ids(stored)[0])
    assert facts is not None
    for _ in range(2):
        steps = execution_plan(stored, facts)
        assert steps is not None
        assert dict(steps.after) == {"upstream": (), "downstream": ("upstream",)}
        assert steps.observable == frozenset()


def test_two_stores_have_two_ids(home: Path, tmp_path: Path) -> None:
    """Records of two stores stay apart although their runs and ids may be the same."""
    other = tmp_path / "other"
    other.mkdir()
    with dg.DagsterInstance.from_config(str(home)) as one, dg.DagsterInstance.from_config(str(other)) as two:
        assert source.store_id(one) != source.store_id(two)


def test_an_ephemeral_instance_is_read_like_any_other() -> None:
    """`materialize()` without an instance has a store too, as long as it lives."""
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = dg.materialize([upstream], instance=instance).run_id
        expected = [r.storage_id for r in instance.get_records_for_run(run_id).records]
        assert [r.storage_id for r in source.read_records(instance, run_id)] == expected
        assert source.store_id(instance)


def test_a_log_that_cannot_be_read_is_named(instance: dg.DagsterInstance, home: Path) -> None:
    """A damaged file of a run gives an error that names the run and the file, not a bare database error."""
    run_id = dg.materialize([upstream], instance=instance).run_id
    path = home / "history" / "runs" / f"{run_id}.db"
    path.write_bytes(b"not a database, " * 100)
    with pytest.raises(EnvironmentFault, match=f"run {run_id} in .*{run_id}.db cannot be read"):
        list(source.read_records(instance, run_id))


def test_a_row_that_changed_by_own_tags_alone_is_unchanged(stored: dg.DagsterInstance) -> None:
    """Else the ledger would read again what it wrote itself; a tag of anybody else's is a change."""
    run_id = _run_ids(stored)[0]
    before = source.run_facts(stored, run_id)
    assert before
    stamp = format_stamp(run_id, before.status, before.tags, before.changed_at)
    stored.add_run_tags(run_id, {VERDICT: "passed", STAMP: stamp})
    tagged = source.run_facts(stored, run_id)
    assert tagged
    assert (tagged.changed_at, tagged.tags) == (before.changed_at, before.tags)
    assert tagged.updated_at > before.updated_at
    assert tagged.own_tags == {VERDICT: "passed", STAMP: stamp}
    stored.add_run_tags(run_id, {"of": "the user"})
    changed = source.run_facts(stored, run_id)
    assert changed
    assert changed.changed_at == changed.updated_at > tagged.updated_at


@pytest.mark.parametrize(
    "stamp", ["", "1", "-", "1-", "-1-0", "1e3-0", "٣-0", "9" * 40, "1-" + "0" * 32, "1764559694123456-" + "f" * 32]
)
def test_a_stamp_that_is_none_says_nothing(stamp: str) -> None:
    assert read_stamp("run", "SUCCESS", {STAMP: stamp}) is None


def test_a_stamp_is_of_one_run_in_one_state() -> None:
    """One that was inherited, or is of the row before it changed, is none."""
    tags = {"owner": "ada", "naïve": "\udcff"}
    stamped = {**tags, STAMP: format_stamp("run", "SUCCESS", tags, 17), VERDICT: "passed"}
    assert read_stamp("run", "SUCCESS", stamped) == 17
    assert read_stamp("another", "SUCCESS", stamped) is None
    assert read_stamp("run", "FAILURE", stamped) is None
    assert read_stamp("run", "SUCCESS", {**stamped, "owner": "bob"}) is None
    assert read_stamp("run", "SUCCESS", {**stamped, VERDICT: "failed"}) == 17, "own tags are no part of it"

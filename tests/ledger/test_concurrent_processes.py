"""Writers, sealers and readers work at once, in processes of their own, without a lock or an error."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from run_evidence.ledger import Ledger
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.storage.inbox import names
from run_evidence.ledger.verification.verify import verify
from tests.ledger.processes import Child, merge, read, seal, write
from tests.ledger.samples import RUN, record

WRITERS = 16
APPENDS = 100
PAUSE_SECONDS = 0.015


@pytest.mark.soak
def test_sixteen_writers_two_sealers_and_a_reader(tmp_path: Path) -> None:
    """Counts only grow, no snapshot has a gap or shows anything twice, and at the end all of it is sealed."""
    root, stop, reports = tmp_path / "ledger", tmp_path / "stop", tmp_path / "reports"
    Ledger(root).create()
    sealers = [Child(reports / f"sealer-{n}", seal, root, stop) for n in range(2)]
    reader = Child(reports / "reader", read, root, stop)
    writers = [
        Child(reports / f"{n}", write, root, f"run-{n:02d}", 0, APPENDS, PAUSE_SECONDS) for n in range(WRITERS)
    ]
    acknowledged = {line for writer in writers for line in writer.finish()}
    stop.touch()
    polls = [list(map(int, line.split())) for line in reader.finish()]
    sealed = [sum(map(int, sealer.finish())) for sealer in sealers]
    assert {child.exit_code for child in [*writers, *sealers, reader]} == {0}

    assert len(acknowledged) == WRITERS * APPENDS
    expected = WRITERS * (APPENDS + 1)
    assert polls
    for events, ids, records, with_index, indexes, end, damaged in polls:
        assert events == ids == records
        assert with_index == indexes == end
        assert damaged == 0
    assert all(before[0] <= after[0] and before[5] <= after[5] for before, after in pairwise(polls))
    assert polls[-1][0] == expected
    ledger = Ledger(root)
    assert sum(sealed) + ledger.seal().sealed == ledger.log().size == expected
    assert names(ledger.store) == []
    checked = verify(ledger)
    assert checked.ok, checked.findings


def test_what_was_acknowledged_is_in_every_later_snapshot(tmp_path: Path) -> None:
    """Opened after an append returned, a snapshot shows it, sealed or not, while others seal and compact."""
    root, stop, reports = tmp_path / "ledger", tmp_path / "stop", tmp_path / "reports"
    ledger = Ledger(root)
    ledger.create()
    others = [Child(reports / str(n), role, root, stop) for n, role in enumerate([seal, seal, merge])]
    for number in range(20):
        ledger.append([record(number)])
        with open_snapshot(ledger, views=("events",)) as snapshot:
            assert snapshot.rows("SELECT count(*), max(storage_id) FROM events") == [(number + 1, number)]
        assert len(ledger.known([RUN])[RUN].records) == number + 1
    stop.touch()
    for child in others:
        assert child.finish()
        assert child.exit_code == 0
    assert ledger.seal().size == 20
    assert verify(ledger).ok

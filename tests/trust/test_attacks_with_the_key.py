"""What the key's holder can write: segments where names, digests, footer, tree and signature all agree.

Only the entries themselves still tell. An entry that is no event is found whoever signed it; so is a segment that
another tool wrote, and rows in another order than their indexes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from run_evidence.ledger import Ledger
from run_evidence.ledger.storage.segment import STATED
from run_evidence.ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from run_evidence.ledger.tlog.merkle import Frontier, format_frontier, leaf_hash
from run_evidence.ledger.tlog.note import sign_note
from run_evidence.ledger.tlog.trust import read_trust
from run_evidence.ledger.verification.findings import Verification
from run_evidence.ledger.verification.verify import verify
from tests.paths import paths
from tests.trust.ledgers import LOG_KEY, VKEY, signed_ledger, told

TRUST = read_trust([VKEY], [])
AT = 3


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return signed_ledger(tmp_path / "ledger", [8])


def adopt(ledger: Ledger, forged: Path) -> None:
    """Put a file in the place of the one segment: named by its digest, and named so in Delta's log."""
    (segment,) = ledger.log().segments
    digest = hashlib.sha256(forged.read_bytes()).hexdigest()[:32]
    name = "-".join([*segment.path.name.split("-")[:2], digest, "00000000.parquet"])
    size = forged.stat().st_size
    shutil.move(forged, segment.path.with_name(name))
    segment.path.unlink()
    for commit in (paths(ledger).log / "_delta_log").glob("*.json"):
        text = commit.read_text().replace(segment.path.name, name)
        commit.write_text(text.replace(f'"size":{segment.size_bytes}', f'"size":{size}') if name in text else text)


def sign_over(ledger: Ledger, entries: list[bytes]) -> Frontier:
    """Sign the tree over these entries as the ledger's head, drop the tiles, and return its frontier."""
    tree = Frontier.empty().extend([leaf_hash(entry) for entry in entries])
    head = format_checkpoint(Checkpoint(LOG_KEY.name, tree.size, tree.root()))
    paths(ledger).checkpoint(tree.size).write_bytes(sign_note(head, [LOG_KEY]))
    shutil.rmtree(paths(ledger).tiles)
    return tree


def rewritten(ledger: Ledger, change: Callable[[bytes], bytes]) -> Verification:
    """Change one entry, make everything that is stored about it agree, sign it, and verify."""
    (segment,) = ledger.log().segments
    rows = pq.read_table(segment.path)
    entries: list[bytes] = rows.column("entry").to_pylist()
    entries[AT] = change(entries[AT])
    tree = sign_over(ledger, entries)
    column = rows.schema.get_field_index("entry")
    rows = rows.set_column(column, rows.schema.field("entry"), pa.array(entries, pa.binary()))
    metadata = {**(rows.schema.metadata or {}), b"ledger.frontier": format_frontier(tree).encode()}
    forged = segment.path.parent.parent / "forged.parquet"
    pq.write_table(rows.replace_schema_metadata(metadata), forged, write_statistics=STATED)
    adopt(ledger, forged)
    return verify(ledger, trust=TRUST)


def test_such_a_forgery_agrees_with_itself(ledger: Ledger) -> None:
    """Nothing else of it is found: what the next test finds is the entry, and the signature is good."""
    result = rewritten(ledger, lambda entry: entry)
    assert result.signed_by == (VKEY,)
    assert not [f for f in result.findings if f.index is not None or f.where.startswith("checkpoints")]


NO_EVENTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "too long": (lambda e: e.replace(b'"data":{', b'"data":{"a":"' + b"x" * 65_535 + b'",', 1), "at most 65535"),
    "not canonical: a space": (lambda e: e.replace(b'":', b'": ', 1), "not canonical"),
    "not canonical: another order": (
        lambda e: b'{"run_id":"x",' + e.replace(b'"run_id"', b'"zzz"').removeprefix(b"{"),
        "not canonical",
    ),
    "a key twice": (lambda e: e.replace(b'{"', b'{"data":{},"', 1), "not canonical"),
    "invalid UTF-8": (lambda e: e.replace(b"record", b"rec\xffrd", 1), "not JSON"),
    "a float": (lambda e: e.replace(b'"data":{', b'"data":{"a":1.5,', 1), "not canonical|float"),
    "no JSON at all": (lambda _: b"\x00\x01", "not JSON"),
    "nothing": (lambda _: b"", "not JSON"),
    "another event's id": (lambda e: e.replace(b'"storage_id":3', b'"storage_id":300'), "its content gives"),
    "a member that is none": (lambda e: e.removesuffix(b"}") + b',"zzz":1}', "unknown member"),
}


@pytest.mark.parametrize("kind", NO_EVENTS)
def test_an_entry_that_is_no_event_is_found_though_it_is_signed(ledger: Ledger, kind: str) -> None:
    """At its index, in its file, with what is wrong with it."""
    change, problem = NO_EVENTS[kind]
    result = rewritten(ledger, change)
    assert any(f.index == AT and f.where.startswith("log/") for f in result.findings), told(result.findings)
    assert any(word in told(result.findings) for word in problem.split("|")), told(result.findings)


def test_a_segment_another_tool_wrote_in_another_order_is_found(ledger: Ledger) -> None:
    """The same rows, each sound, with their own indexes; the tree is signed over the order they now have."""
    (segment,) = ledger.log().segments
    forged = segment.path.parent.parent / "forged.parquet"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        turned = f"SELECT * FROM read_parquet('{segment.path}') ORDER BY index DESC"
        connection.execute(f"COPY ({turned}) TO '{forged}' (FORMAT parquet)")
    entries: list[bytes] = pq.read_table(forged, columns=["entry"]).column("entry").to_pylist()
    assert entries != pq.read_table(segment.path).column("entry").to_pylist()
    sign_over(ledger, entries)
    adopt(ledger, forged)
    result = verify(ledger, trust=TRUST)
    assert not result.ok
    assert all(f.where.startswith("log/0000000000000000-8-") for f in result.findings), told(result.findings)


def test_rows_in_another_order_are_found_by_their_index(ledger: Ledger) -> None:
    """Written by a tool that keeps the ledger's own types and footer: the index is not the place."""
    (segment,) = ledger.log().segments
    rows = pq.read_table(segment.path)
    turned = rows.take(list(range(len(rows) - 1, -1, -1)))
    tree = sign_over(ledger, turned.column("entry").to_pylist())
    metadata = {**(rows.schema.metadata or {}), b"ledger.frontier": format_frontier(tree).encode()}
    forged = segment.path.parent.parent / "forged.parquet"
    pq.write_table(turned.replace_schema_metadata(metadata), forged, write_statistics=STATED)
    adopt(ledger, forged)
    said = told(verify(ledger, trust=TRUST).findings)
    assert "column index is not" in said
    assert " 0: " in said

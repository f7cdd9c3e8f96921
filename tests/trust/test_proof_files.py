"""A proof file convinces somebody with nothing but a key, and nothing else in its place does."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger import Event, IntegrityError, Ledger, LedgerError, UsageError
from run_evidence.ledger.model.canonical import Json
from run_evidence.ledger.model.document import RECORDED
from run_evidence.ledger.model.event import source_event_id
from run_evidence.ledger.proving.check import check_proof
from run_evidence.ledger.proving.prove import Prover, open_prover
from run_evidence.ledger.tlog.keys import format_vkey
from run_evidence.ledger.tlog.proof_file import (
    MULTI_PROOF,
    PROOF_BUNDLE,
    TLOG_PROOF,
    ConsistencyProof,
    format_proof,
    parse_proof,
)
from run_evidence.ledger.tlog.tiles import TILE_WIDTH
from run_evidence.ledger.tlog.trust import read_trust
from tests.ledger.samples import NOON, RUN, own, record, records
from tests.paths import paths
from tests.trust.ledgers import LOG_KEY, OTHER_KEY, VKEY, grow, head_of, key_file, signed_ledger
from tests.trust.test_signing import cli

TRUST = read_trust([VKEY], [])


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Return a signed ledger of 600 entries, sealed at 250 and 600."""
    return signed_ledger(tmp_path_factory.mktemp("proofs") / "ledger", [250, 600])


@pytest.fixture(scope="module")
def prover(ledger: Ledger) -> Iterator[Prover]:
    with open_prover(ledger) as opened:
        yield opened


def event_id(storage_id: int, run_id: str = RUN) -> str:
    """Return the id of `record(storage_id)`."""
    return source_event_id("store-1", run_id, storage_id, NOON + storage_id * 1_000)


def refused(data: bytes) -> bool:
    """Tell whether a proof file is refused with an error of ours."""
    try:
        check_proof(parse_proof(data), TRUST)
    except LedgerError:
        return True
    return False


# --- one entry --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage_id", [0, 1, 248, 250, 255, 256, 511, 598])
def test_an_event_s_proof_checks_with_the_key_alone(prover: Prover, storage_id: int) -> None:
    data = format_proof(prover.prove_event(event_id(storage_id)))
    proven = check_proof(parse_proof(data), TRUST)
    ((_, entry),) = proven.entries
    assert orjson.loads(entry)["storage_id"] == storage_id
    assert (proven.origin, proven.size, proven.vouched.signed_by) == (LOG_KEY.name, 600, (VKEY,))


def test_it_is_a_c2sp_tlog_proof(prover: Prover) -> None:
    """Line for line as the specification writes it: header, extra, index, hashes, blank line, checkpoint."""
    proof = prover.prove_event(event_id(7))
    lines = format_proof(proof).decode().split("\n")
    (inclusion,) = proof.inclusions
    assert lines[0] == TLOG_PROOF
    assert base64.b64decode(lines[1].removeprefix("extra ")) == inclusion.entry
    assert lines[2] == f"index {inclusion.index}"
    assert [base64.b64decode(line) for line in lines[3 : 3 + len(inclusion.path)]] == list(inclusion.path)
    assert lines[3 + len(inclusion.path)] == ""
    assert "\n".join(lines[4 + len(inclusion.path) :]).encode() == prover.head.message


def test_a_proof_without_the_entry_needs_the_entry(prover: Prover) -> None:
    """The form other logs write: the reader brings the entry."""
    proof = prover.prove_event(event_id(7))
    (inclusion,) = proof.inclusions
    bare = parse_proof(format_proof(replace(proof, inclusions=(replace(inclusion, entry=None),))))
    assert check_proof(bare, TRUST, inclusion.entry).entries == ((inclusion.index, inclusion.entry),)
    assert check_proof(bare, TRUST, (inclusion.entry or b"") + b"\n").size == 600
    with pytest.raises(UsageError, match="does not carry the entry"):
        check_proof(bare, TRUST)
    with pytest.raises(IntegrityError):
        check_proof(bare, TRUST, b"another entry")
    with pytest.raises(IntegrityError, match="the entry in the proof"):
        check_proof(proof, TRUST, b"another entry")


def test_an_older_head_can_be_named(ledger: Ledger) -> None:
    with open_prover(ledger, 250) as older:
        assert check_proof(older.prove_event(event_id(3)), TRUST).size == 250
        with pytest.raises(UsageError, match="first 250 entries"):
            older.prove_event(event_id(300))
    with pytest.raises(UsageError, match="no checkpoint of 251"), open_prover(ledger, 251):
        pass


def test_proofs_for_another_entry_another_tree_cut_or_extended_are_refused(
    prover: Prover, ledger: Ledger, tmp_path: Path
) -> None:
    proof = prover.prove_event(event_id(7))
    other = prover.prove_event(event_id(8))
    (ours,), (theirs,) = proof.inclusions, other.inclusions
    with open_prover(ledger, 250) as older:
        (small,) = older.prove_event(event_id(7)).inclusions
    foreign = signed_ledger(tmp_path / "foreign", [599])
    wrong = {
        "another entry": replace(ours, entry=theirs.entry),
        "another index": replace(ours, index=theirs.index),
        "another path": replace(ours, path=theirs.path),
        "another tree's path": small,
        "cut": replace(ours, path=ours.path[:-1]),
        "cut below": replace(ours, path=ours.path[1:]),
        "extended": replace(ours, path=(*ours.path, bytes(32))),
        "beyond the tree": replace(ours, index=600),
    }
    for name, inclusion in wrong.items():
        forged = format_proof(replace(proof, inclusions=(inclusion,)))
        assert refused(forged), name
    with pytest.raises(IntegrityError, match=r"leads to root|must have"):
        check_proof(replace(proof, head=head_of(foreign, 599)), TRUST)
    with pytest.raises(IntegrityError, match=r"is signed by|not over this text"):
        check_proof(proof, read_trust([format_vkey(OTHER_KEY.verifier())], []))


def test_every_changed_character_of_a_proof_is_refused(prover: Prover) -> None:
    """Flip one bit of every byte in turn: nothing that verifies says something else than the original."""
    proof = prover.prove_event(event_id(7))
    data = format_proof(proof)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        assert refused(bytes(changed)), f"byte {position}"


@given(st.data())
def test_the_parser_refuses_or_reads_exactly(data: st.DataObject) -> None:
    """Whatever the bytes, the outcome is our error or a proof whose only form these bytes are."""
    line = st.sampled_from(
        [
            TLOG_PROOF,
            PROOF_BUNDLE,
            MULTI_PROOF,
            "hashes",
            "entry 3 00000000 {}",
            "entry 4 0 ü",
            "index 0",
            "index 7",
            "extra YQ==",
            f"run {RUN}",
            "entry 3 YQ==",
            "",
            "old 1 ",
        ]
    )
    hashes = st.binary(min_size=31, max_size=33).map(lambda b: base64.b64encode(b).decode())
    head = "log\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    lines = data.draw(st.lists(line | hashes | st.text(max_size=8), max_size=9))
    raw = "\n".join([*lines, "", data.draw(st.sampled_from([head, "", "\n"]))]).encode("utf-8", "surrogatepass")
    with suppress(LedgerError):
        assert format_proof(parse_proof(raw)) == raw


def test_a_large_and_a_binary_file_are_errors_of_ours() -> None:
    for raw in (b"", b"\n\n", b"\xff\n\n", TLOG_PROOF.encode(), bytes(5000), f"{TLOG_PROOF}\n\n\n".encode()):
        with pytest.raises(LedgerError):
            parse_proof(raw)


# --- a run ------------------------------------------------------------------------------------------------


def closed_run(ledger: Ledger, run_id: str, held: int) -> None:
    ledger.append([*records(range(3), run_id), own("run.closed.v1", run_id, data={"ledger_records": held})])
    ledger.seal()


def test_a_run_is_proved_whole(tmp_path: Path) -> None:
    """All its entries and the closing, whose count shows that none was left out."""
    ledger = signed_ledger(tmp_path / "ledger", [40])
    closed_run(ledger, "run/1 ü", 3)
    with open_prover(ledger) as prover:
        proof = prover.prove_run("run/1 ü")
        with pytest.raises(UsageError, match="no entry of run 'nobody'"):
            prover.prove_run("nobody")
        fewer = [(each.index, each.entry or b"") for each in proof.inclusions[1:]]
        shortened = prover._together(fewer, ("run", "run/1 ü"))
    parsed = parse_proof(format_proof(proof))
    assert parsed == proof
    proven = check_proof(parsed, TRUST)
    assert (len(proven.entries), proven.notes, proven.subject) == (4, (), ("run", "run/1 ü"))
    with pytest.raises(IntegrityError, match=r"has 2 records of run .*, its closing states 3"):
        check_proof(shortened, TRUST)
    with pytest.raises(IntegrityError, match="is of run"):
        check_proof(replace(proof, subject=("run", "run/2")), TRUST)


@pytest.mark.parametrize("subject", [("run", RUN), ("run", "no such run"), ("document", "0" * 64)])
def test_a_proof_of_no_entry_proves_nothing(prover: Prover, subject: tuple[str, str]) -> None:
    """A signed checkpoint below the name of a run says nothing of that run."""
    with pytest.raises(IntegrityError, match="no entry in the proof"):
        check_proof(replace(prover.prove_event(event_id(7)), subject=subject, inclusions=()), TRUST, b"{}")


def test_a_proof_of_a_run_with_a_path_for_each_entry_is_read(tmp_path: Path) -> None:
    """The form that hand-overs have, and that proofs of runs had before multi-proofs."""
    ledger = signed_ledger(tmp_path / "ledger", [40])
    closed_run(ledger, "run/1 ü", 3)
    with open_prover(ledger) as prover:
        proof = prover.prove_run("run/1 ü")
        single = [prover.prove_event(orjson.loads(i.entry or b"")["event_id"]) for i in proof.inclusions]
    bundle = replace(proof, inclusions=tuple(each.inclusions[0] for each in single), shared=None)
    data = format_proof(bundle)
    assert data.startswith(f"{PROOF_BUNDLE}\n".encode())
    assert parse_proof(data) == bundle
    assert check_proof(bundle, TRUST) == check_proof(proof, TRUST)


def test_of_a_multi_proof_every_changed_character_is_refused_and_a_changed_entry_named(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [40])
    closed_run(ledger, "run-7", 3)
    with open_prover(ledger) as prover:
        proof = prover.prove_run("run-7")
    data = format_proof(proof)
    assert data.startswith(f"{MULTI_PROOF}\n".encode())
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        assert refused(bytes(changed)), f"byte {position}"
    index, entry = proof.inclusions[1].index, proof.inclusions[1].entry or b""
    with pytest.raises(IntegrityError, match=f"entry {index} is not the one that was proved"):
        check_proof(parse_proof(data.replace(entry, entry.replace(b"step_1", b"step_9"))), TRUST)


def test_a_run_that_is_not_closed_says_so(prover: Prover) -> None:
    assert "not closed" in check_proof(prover.prove_run(RUN), TRUST).notes[0]


# --- a document -------------------------------------------------------------------------------------------


def document(ledger: Ledger, size: int, **changes: object) -> bytes:
    head = head_of(ledger, size).checkpoint
    body = {
        "kind": "final",
        "run": {"run_id": RUN},
        "items": [
            {
                "asset_key": "a",
                "outcome": "materialized",
                "verdict": "passed",
                "basis": [{"event_id": event_id(1), "index": 1}],
            }
        ],
        "products": [{"event_id": event_id(2), "index": 2, "step_key": "step_2", "occurred_at": _time(2)}],
        "provenance": {
            "checkpoint": {"origin": head.origin, "size": head.size, "root_sha256": head.root.hex()},
        },
    }
    return json.dumps({**body, **changes}).encode()


def _time(storage_id: int) -> str:
    return f"2026-04-17T12:00:00.{storage_id * 1000:06d}Z"


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Return a ledger with a closed run: two records, a derivation, the closing; grown since."""
    ledger = signed_ledger(tmp_path_factory.mktemp("documents") / "ledger", [5])
    derived = {
        "revision": 1,
        "outcomes": [{"asset_key": "a", "outcome": "materialized", "verdict": "passed", "kind": "materialize"}],
    }
    ledger.append([own("outcomes.derived.v1", data=derived), own("run.closed.v1", data={"revision": 1})])
    ledger.seal()
    recorded(ledger, document(ledger, 7), OF_A_RUN)
    grow(ledger, [300])
    return ledger


OF_A_RUN = json.dumps({"run_id": RUN, "status": "success"}).encode()


def recorded(ledger: Ledger, *documents: bytes) -> None:
    """Append that these documents were derived from the ledger."""
    told: list[Json] = [{"sha256": hashlib.sha256(text).hexdigest()} for text in documents]
    ledger.append([Event(event_type=RECORDED, occurred_at=1, data={"documents": told})])
    ledger.seal()


def test_a_document_is_proved_by_what_it_rests_on(reported: Ledger) -> None:
    """Derived at the checkpoint of 7, proved under that of 300: the file proves that one extends the other."""
    text = document(reported, 7)
    with open_prover(reported) as prover:
        proof = prover.prove_document(text)
    assert proof.growth is not None
    assert proof.growth.size == 7
    parsed = parse_proof(format_proof(proof))
    assert parsed == proof
    proven = check_proof(parsed, TRUST, text)
    assert (proven.notes, proven.compared) == ((), 5)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"products": [{"event_id": event_id(2), "index": 2, "step_key": "step_9"}]}, r"products\[0\].step_key"),
        ({"products": [{"event_id": event_id(2), "index": 3}]}, r"products\[0\].index"),
        ({"products": [{"event_id": event_id(2), "occurred_at": _time(3)}]}, r"occurred_at"),
        ({"products": [{"event_id": event_id(4)}]}, "not in the proof"),
        ({"items": [{"asset_key": "a", "outcome": "failed", "verdict": "failed", "basis": []}]}, "no derivation"),
        ({"items": [{"asset_key": "b", "outcome": "materialized", "basis": [event_id(1)]}]}, "no derivation"),
        ({"provenance": {"checkpoint": {"origin": "x", "size": 7, "root_sha256": "00" * 32}}}, "does not lead"),
        ({"provenance": {"checkpoint": {"size": 7}}}, "is no checkpoint"),
    ],
)
def test_a_document_that_says_something_else_is_refused(
    reported: Ledger, changes: dict[str, object], complaint: str
) -> None:
    """Someone changes the report and writes its new digest into the proof file."""
    with open_prover(reported) as prover:
        proof = prover.prove_document(document(reported, 7))
    changed = document(reported, 7, **changes)
    with pytest.raises(IntegrityError, match="SHA-256"):
        check_proof(proof, TRUST, changed)
    forged = replace(proof, subject=("document", hashlib.sha256(changed).hexdigest()))
    with pytest.raises(IntegrityError, match=complaint):
        check_proof(forged, TRUST, changed)


def test_a_document_of_another_history_is_not_proved(reported: Ledger) -> None:
    with open_prover(reported) as prover:
        head = head_of(reported, 7).checkpoint
        stated = {"origin": head.origin, "size": 7, "root_sha256": "11" * 32}
        with pytest.raises(IntegrityError, match="not an extension"):
            prover.prove_document(document(reported, 7, provenance={"checkpoint": stated}))
        with pytest.raises(UsageError, match="was derived from"):
            prover.prove_document(document(reported, 7, provenance={"checkpoint": {**stated, "size": 301}}))


def test_growth_in_a_proof_is_checked(reported: Ledger) -> None:
    text = document(reported, 7)
    with open_prover(reported) as prover:
        proof = prover.prove_document(text)
    assert proof.growth is not None
    for growth in (
        ConsistencyProof(7, proof.growth.root, proof.growth.path[:-1]),
        ConsistencyProof(6, proof.growth.root, proof.growth.path),
        ConsistencyProof(7, bytes(32), proof.growth.path),
    ):
        with pytest.raises(IntegrityError):
            check_proof(replace(proof, growth=growth), TRUST, text)


def test_a_document_that_names_a_run_only_gets_all_of_the_run(reported: Ledger) -> None:
    with open_prover(reported) as prover:
        proof = prover.prove_document(OF_A_RUN)
        assert len(proof.inclusions) == 300
        assert check_proof(proof, TRUST, OF_A_RUN).notes == ("the document names no checkpoint",)
        with pytest.raises(UsageError, match="has not recorded a document"):
            prover.prove_document(b"{}")
        with pytest.raises(IntegrityError, match="not JSON"):
            prover.prove_document(b"# Markdown")


# --- the cache --------------------------------------------------------------------------------------------


def test_without_tiles_or_with_wrong_ones_the_proofs_are_the_same(tmp_path: Path) -> None:
    """Deleting the cache, cutting it short or filling it with nonsense changes nothing but the time."""
    ledger = signed_ledger(tmp_path / "ledger", [250, 600])
    with open_prover(ledger) as prover:
        expected = format_proof(prover.prove_event(event_id(300)))
    tiles = [p for p in paths(ledger).tiles.rglob("*") if p.is_file()]
    assert len(tiles) == 5
    for damage in (Path.unlink, lambda p: p.write_bytes(b""), lambda p: p.write_bytes(bytes(TILE_WIDTH * 32))):
        for path in tiles:
            damage(path)
        with open_prover(ledger) as prover:
            assert format_proof(prover.prove_event(event_id(300))) == expected


def test_a_changed_entry_is_not_proved(tmp_path: Path) -> None:
    """The log itself was altered: the cache is made again from it, and it is the log that is blamed."""
    from run_evidence.ledger.storage.log import load
    from run_evidence.ledger.storage.rows import table
    from run_evidence.ledger.storage.segment import read_batches, write

    ledger = signed_ledger(tmp_path / "ledger", [20])
    (segment,) = load(ledger.store).segments
    assert sum(len(batch) for batch in read_batches(segment)) == 20
    from run_evidence.ledger.model.event import decode_entry, encode
    from run_evidence.ledger.tlog.merkle import Frontier, leaf_hash

    rows = [decode_entry(encode(record(i, step_key="forged"), NOON).entry) for i in range(20)]
    tree = Frontier.empty().extend(leaf_hash(row.entry) for row in rows)
    write(ledger.store, [table(rows, 0)], lambda: tree).path.replace(segment.path)
    with open_prover(ledger) as prover, pytest.raises(IntegrityError, match="nothing was proved"):
        prover.prove_event(event_id(3))


# --- the command line -------------------------------------------------------------------------------------


def test_prove_and_check_on_the_command_line(tmp_path: Path) -> None:
    """Exit codes: 0 proved, 2 nothing trusted or nothing named, 3 it does not hold, 4 no such file."""
    signed_ledger(tmp_path / "ledger", [30])
    target = tmp_path / "one.tlog-proof"
    made = cli(tmp_path, "prove", event_id(3), "-o", str(target))
    assert (made.returncode, made.stdout) == (0, f"{target}\n"), made.stderr
    away = tmp_path / "away"
    away.mkdir()
    assert cli(away, "check", str(target), "--key", VKEY).returncode == 0
    vkey_file = tmp_path / "log.vkey"
    vkey_file.write_text(f"{VKEY}\n")
    checked = cli(away, "check", str(target), "--key", str(vkey_file), "--json")
    assert json.loads(checked.stdout)["entries"][0]["index"] == 3
    assert cli(away, "check", str(target)).returncode == 2
    assert cli(away, "check", str(target), "--key", format_vkey(OTHER_KEY.verifier())).returncode == 3
    assert cli(away, "check", str(tmp_path / "none"), "--key", VKEY).returncode == 4
    assert cli(tmp_path, "prove").returncode == 2
    assert cli(tmp_path, "prove", event_id(3), "--run", RUN).returncode == 2
    run = tmp_path / "run.proof"
    assert cli(tmp_path, "prove", "--run", RUN, "-o", str(run)).returncode == 0
    assert "ok: 30 entries" in cli(away, "check", str(run), "--key", VKEY).stdout
    assert cli(away, "check", str(run), "--key", VKEY, "--origin", "another").returncode == 3


def test_an_unsigned_proof_needs_a_copy_of_the_checkpoint(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [30], signer=None)
    target = tmp_path / "one.tlog-proof"
    assert cli(tmp_path, "prove", event_id(3), "-o", str(target)).returncode == 0
    copy = paths(ledger).checkpoint(30)
    assert cli(tmp_path, "check", str(target), "--checkpoint", str(copy)).returncode == 0
    assert cli(tmp_path, "check", str(target), "--key", VKEY).returncode == 3
    key_file(tmp_path)
    other = signed_ledger(tmp_path / "other", [29])
    assert cli(tmp_path, "check", str(target), "--checkpoint", str(paths(other).checkpoint(29))).returncode == 3

"""A witness cosigns only what extends the head it remembers, so that not even the key holder can rewrite."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger import EnvironmentFault, Ledger, LedgerError, UsageError
from run_evidence.ledger.settings import signing_setup as notary_of
from run_evidence.ledger.storage.keyring import SigningSetup
from run_evidence.ledger.tlog.add_checkpoint import MAX_REQUEST_BYTES, format_request, parse_request
from run_evidence.ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from run_evidence.ledger.tlog.keys import Signer, cosigned_at, format_vkey
from run_evidence.ledger.tlog.merkle import leaf_hash, tree_root
from run_evidence.ledger.tlog.note import add_signatures, open_note, parse_signatures, sign_note
from run_evidence.ledger.tlog.proof import NodeId, prove_consistency
from run_evidence.ledger.tlog.trust import read_trust
from run_evidence.ledger.verification.verify import verify
from run_evidence.ledger.witness.server import WitnessServer
from run_evidence.ledger.witness.witness import Witness, open_witness
from tests.ledger.samples import record
from tests.trust.ledgers import (
    LOG_KEY,
    OTHER_KEY,
    VKEY,
    WITNESS_KEY,
    grow,
    head_of,
    key_file,
    own_signing_setup,
    signed_ledger,
    told,
)

WITNESS_VKEY = format_vkey(WITNESS_KEY.verifier())
LOGS = {LOG_KEY.name: (LOG_KEY.verifier(),)}
LEAVES = [leaf_hash(b"%d" % i) for i in range(64)]
FORKED = [*LEAVES[:5], *(leaf_hash(b"fork %d" % i) for i in range(59))]


def reader(leaves: list[bytes]):  # type: ignore[no-untyped-def]
    def read(nodes: list[NodeId]) -> list[bytes]:
        return [tree_root(leaves[n.index << n.level : (n.index + 1) << n.level]) for n in nodes]

    return read


def request(old: int, new: int, leaves: list[bytes] = LEAVES, signer: Signer = LOG_KEY) -> bytes:
    """Return a request to go from `old` entries to `new`, with an honest proof over these leaves."""
    text = format_checkpoint(Checkpoint(LOG_KEY.name, new, tree_root(leaves[:new])))
    proof = prove_consistency(old, new, reader(leaves[:new])) if old <= new else ()
    return format_request(old, proof, sign_note(text, [signer]))


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(WITNESS_KEY, LOGS, _folder(tmp_path), clock_s=lambda: 1_776_427_200)


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "memory"
    folder.mkdir(exist_ok=True)
    return folder


# --- the protocol -----------------------------------------------------------------------------------------


def test_it_cosigns_what_grows_and_remembers_it(witness: Witness, tmp_path: Path) -> None:
    """The answer is a cosignature over the checkpoint's text, with the time, by the witness's key."""
    last = 0
    for size in (3, 3, 8, 40, 64):
        answer = witness.add_checkpoint(request(last, size))
        assert answer.status == 200, answer.body
        text = format_checkpoint(Checkpoint(LOG_KEY.name, size, tree_root(LEAVES[:size])))
        (line,) = parse_signatures(answer.body.decode())
        note = add_signatures(sign_note(text, [LOG_KEY]), [line])
        assert len(open_note(note, [WITNESS_KEY.verifier(), LOG_KEY.verifier()]).verified) == 2
        assert cosigned_at(line) == 1_776_427_200
        reopened = Witness(WITNESS_KEY, LOGS, _folder(tmp_path))
        assert reopened.last(LOG_KEY.name).size == size
        last = size


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"old 0\n", 400),
        (b"old 00\n\n", 400),
        (b"new 0\n\n" + request(0, 8).partition(b"\n\n")[2], 400),
        (request(0, 8).replace(b"old 0", b"old -1"), 400),
        (request(0, 8).replace(b"old 0\n", b"old 0\nAAAA\n"), 400),
        (request(9, 8), 400),
        (b"old 0\n" + b"A" * 43 + b"=\n" * 64 + b"\n", 400),
        (request(0, 8).replace(LOG_KEY.name.encode(), b"example.com/unknown"), 404),
        (request(0, 8, signer=OTHER_KEY), 403),
        (request(0, 8).replace("— ".encode() + LOG_KEY.name.encode(), "— nobody".encode()), 403),
        (request(5, 8), 200),
        (request(4, 8), 409),
        (request(0, 8), 409),
        (request(5, 8, [*LEAVES[:4], *FORKED[5:]]), 422),
        (request(5, 5, [*LEAVES[:4], *FORKED[5:]]), 409),
    ],
)
def test_each_request_gets_the_status_the_specification_has_for_it(
    witness: Witness, body: bytes, status: int
) -> None:
    """After 5 entries were cosigned; a refused request changes nothing in the memory."""
    assert witness.add_checkpoint(request(0, 5)).status == 200
    answer = witness.add_checkpoint(body)
    assert answer.status == status, answer.body
    assert witness.last(LOG_KEY.name).size == (8 if status == 200 else 5)
    if status == 409:
        assert (answer.body, answer.content_type) == (b"5\n", "text/x.tlog.size")


def test_two_histories_of_one_key_get_one_cosignature(witness: Witness) -> None:
    """A fork: both are signed, both start alike; the second to come is refused with any proof."""
    assert witness.add_checkpoint(request(0, 5)).status == 200
    assert witness.add_checkpoint(request(5, 20)).status == 200
    assert witness.add_checkpoint(request(20, 30, FORKED)).status == 422
    assert witness.add_checkpoint(request(20, 20, FORKED)).status == 409
    assert witness.add_checkpoint(request(5, 30, FORKED)).status == 409
    assert witness.add_checkpoint(request(20, 30)).status == 200


def test_requests_at_once_never_roll_the_memory_back(witness: Witness) -> None:
    """The race of the specification: of many requests from one old size exactly one is cosigned."""
    assert witness.add_checkpoint(request(0, 5)).status == 200
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(witness.add_checkpoint(request(5, n)).status))
        for n in range(10, 40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, *[409] * 29]


def test_a_damaged_memory_stops_the_witness_instead_of_letting_it_start_over(
    witness: Witness, tmp_path: Path
) -> None:
    assert witness.add_checkpoint(request(0, 5)).status == 200
    (path,) = _folder(tmp_path).glob("*.checkpoint")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\n5\n", b"\n4\n"))
    with pytest.raises(LedgerError):
        witness.add_checkpoint(request(5, 8))
    with pytest.raises(LedgerError):
        open_witness(WITNESS_KEY, LOGS, _folder(tmp_path))


def test_one_process_has_the_memory(tmp_path: Path) -> None:
    opened = open_witness(WITNESS_KEY, LOGS, tmp_path / "memory")
    assert opened.last(LOG_KEY.name).size == 0
    with pytest.raises(EnvironmentFault, match="Another witness"):
        open_witness(WITNESS_KEY, LOGS, tmp_path / "memory")
    with pytest.raises(UsageError, match="is a log's"):
        open_witness(LOG_KEY, LOGS, tmp_path / "elsewhere")


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: b"old 5\n" + b + b"\n\n" + b))
def test_the_parser_refuses_or_reads_exactly(body: bytes) -> None:
    try:
        parsed = parse_request(body)
    except LedgerError:
        return
    assert format_request(parsed.old_size, parsed.proof, parsed.head.message) == body


# --- over HTTP --------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WitnessServer]:
    with WitnessServer(Witness(WITNESS_KEY, LOGS, _folder(tmp_path)), "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()


def post(server: WitnessServer, path: str, body: bytes, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=600)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers["Content-Type"]


def test_the_server_reads_one_kind_of_request_of_bounded_size(server: WitnessServer) -> None:
    assert post(server, "/add-checkpoint", request(0, 5)) == (200, "text/plain; charset=utf-8")
    assert post(server, "/add-checkpoint", request(0, 5)) == (409, "text/x.tlog.size")
    assert post(server, "/other", b"")[0] == 404
    assert post(server, "/add-checkpoint", bytes(MAX_REQUEST_BYTES + 1))[0] == 413
    with socket.create_connection(server.server_address[:2], timeout=600) as raw:
        raw.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b" 411 " in raw.recv(100)
    with socket.create_connection(server.server_address[:2], timeout=600) as raw:
        raw.sendall(b"GET /checkpoint HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 405 " in raw.recv(100)


# --- with a ledger ----------------------------------------------------------------------------------------


def witnessed(ledger: Ledger, url: str, tmp_path: Path) -> Ledger:
    """Return the ledger with this witness asked at every seal."""
    keys = read_trust([], [WITNESS_VKEY]).witnesses
    return Ledger(
        ledger.root,
        clock=ledger.clock,
        signing_setup=replace(own_signing_setup(ledger.root), witnesses=(url,), witness_keys=keys),
    )


def test_a_seal_collects_cosignatures_and_verify_wants_them(server: WitnessServer, tmp_path: Path) -> None:
    ledger = witnessed(signed_ledger(tmp_path / "ledger", [5]), server.url, tmp_path)
    trust = read_trust([VKEY], [WITNESS_VKEY])
    assert "has not cosigned" in told(verify(ledger, trust=trust).findings)
    grow(ledger, [9, 300])
    assert ledger.seal().unwitnessed == ()
    result = verify(ledger, trust=trust)
    assert result.ok, told(result.findings)
    assert [key for key, _ in result.cosigned_by] == [WITNESS_VKEY]


def contradiction(ledger: Ledger, size: int) -> str:
    """Grow the ledger to this size, and return what the witness says about its history."""
    if size > ledger.log().size:
        ledger.append([record(1_000 + n) for n in range(ledger.log().size, size)])
    (said,) = ledger.seal().contradicted
    return said


def test_a_rewritten_ledger_is_refused_by_the_witness(server: WitnessServer, tmp_path: Path) -> None:
    """The key holder cuts the last entries off, seals others in their place and signs: the witness remembers."""
    ledger = witnessed(signed_ledger(tmp_path / "ledger", [5]), server.url, tmp_path)
    before = tmp_path / "before"
    shutil.copytree(ledger.root, before)
    shutil.copytree(tmp_path / "ledger.memory", tmp_path / "before.memory")  # the holder's own memory obeys him
    grow(ledger, [20])
    rewritten = witnessed(Ledger(before, clock=ledger.clock), server.url, tmp_path)
    assert "refuses the checkpoint of 5 entries" in contradiction(rewritten, 5)
    assert "it has cosigned 20 entries, this log has 5" in contradiction(rewritten, 5)
    assert "another root over 20 entries" in contradiction(rewritten, 20)
    assert "refuses the checkpoint of 31 entries" in contradiction(rewritten, 31)
    assert not any(s.name == WITNESS_KEY.name for s in head_of(rewritten, 31).signatures)
    assert verify(rewritten, trust=read_trust([VKEY], [])).ok, "which is why a witness is needed"
    assert "has not cosigned" in told(verify(rewritten, trust=read_trust([VKEY], [WITNESS_VKEY])).findings)
    grow(ledger, [25])
    assert verify(ledger, trust=read_trust([VKEY], [WITNESS_VKEY])).ok


def test_a_witness_that_does_not_answer_is_asked_again_later(server: WitnessServer, tmp_path: Path) -> None:
    """Sealing goes on without it, and says so."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    away = witnessed(ledger, "http://127.0.0.1:9", tmp_path)
    done = away.seal()
    assert (done.size, len(done.unwitnessed)) == (5, 1)
    assert "did not answer" in done.unwitnessed[0]
    assert witnessed(ledger, server.url, tmp_path).seal().unwitnessed == ()
    assert verify(ledger, trust=read_trust([VKEY], [WITNESS_VKEY])).ok


def test_what_cannot_be_cosigned_is_said(server: WitnessServer, tmp_path: Path) -> None:
    unsigned = signed_ledger(tmp_path / "unsigned", [5], signer=None)
    asked = Ledger(unsigned.root, signing_setup=SigningSetup(witnesses=(server.url,)))
    assert "not signed" in asked.seal().unwitnessed[0]
    ledger = signed_ledger(tmp_path / "ledger", [5])
    other = read_trust([], [format_vkey(Signer("w", 0x04, bytes(32)).verifier())]).witnesses
    wrong = Ledger(
        ledger.root,
        signing_setup=replace(own_signing_setup(ledger.root), witnesses=(server.url,), witness_keys=other),
    )
    assert "another key than was given" in wrong.seal().unwitnessed[0]
    with pytest.raises(UsageError, match="no address"):
        Ledger(ledger.root, signing_setup=replace(own_signing_setup(ledger.root), witnesses=("ftp://x",))).seal()


def test_the_command_serves_and_remembers_across_restarts(tmp_path: Path) -> None:
    """`ledger witness serve` in a process of its own, killed and started again with the same memory."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    command = [sys.executable, "-c", "from run_evidence.ledger.cli import main; main()", "witness", "serve"]
    command += ["--key", str(key_file(tmp_path, WITNESS_KEY)), "--log", VKEY, "--port", "0"]
    command += ["--state", str(tmp_path / "memory")]
    for size in (5, 9):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            grow(ledger, [size] if size > 5 else [])
            done = witnessed(ledger, url, tmp_path).seal()
            assert done.unwitnessed == ()
        finally:
            process.kill()
            _, told_about = process.communicate()
        assert f"{0 if size == 5 else 5} entries cosigned so far" in told_about
    assert verify(ledger, trust=read_trust([VKEY], [WITNESS_VKEY])).ok


def test_settings_name_witnesses_and_key() -> None:
    found = notary_of(environment={"LEDGER_KEY": "/k", "LEDGER_WITNESSES": "http://a http://b", "HOME": "/h"})
    assert (found.key_file, found.witnesses) == (Path("/k"), ("http://a", "http://b"))
    assert notary_of(Path("/other"), ["http://c"], environment={"LEDGER_KEY": "/k"}).key_file == Path("/other")
    assert notary_of(environment={"XDG_CONFIG_HOME": "/c"}).folder == Path("/c/run-evidence-ledger")

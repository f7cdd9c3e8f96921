"""A witness that is none, or a bad one, is a fault of the environment: it stops no seal, spoils no cosignature."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import pytest

from run_evidence.ledger import Ledger
from run_evidence.ledger.sealing import cosign
from run_evidence.ledger.tlog.keys import format_vkey
from run_evidence.ledger.tlog.trust import read_trust
from run_evidence.ledger.verification.verify import verify
from run_evidence.ledger.witness import server as witness_server
from run_evidence.ledger.witness.server import WitnessServer
from run_evidence.ledger.witness.witness import open_witness
from tests.ledger.samples import record
from tests.trust.ledgers import LOG_KEY, VKEY, WITNESS_KEY, head_of, own_signing_setup, signed_ledger
from tests.trust.test_signing import cli

WITNESS_VKEY = format_vkey(WITNESS_KEY.verifier())
PAGE = b"<html><body>Please sign in to the network</body></html>"

ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "a login page": (200, "text/html", PAGE),
    "a page that calls itself text": (200, "text/plain", PAGE),
    "nothing": (200, "text/plain", b""),
    "bytes": (200, "application/octet-stream", b"\xff\x00" * 40),
    "a line that is no signature": (200, "text/plain", "\u2014 w AAAA\n".encode()),
    "somebody else's cosignature": (
        200,
        "text/plain",
        b"\xe2\x80\x94 other.example/w AAAAAQ" + b"A" * 98 + b"=\n",
    ),
    "a page with 422": (422, "text/html; charset=utf-8", PAGE),
    "a conflict without a size": (409, "text/x.tlog.size", b"many\n"),
    "a conflict with a negative size": (409, "text/x.tlog.size", b"-1\n"),
    "a redirect": (302, "text/html", b""),
    "an error": (503, "text/plain", b"busy\x1b[2J\n"),
    "not known": (404, "text/plain", b"this witness does not know the log\n"),
}


S = TypeVar("S", bound=ThreadingHTTPServer)


class Answering(ThreadingHTTPServer):
    """Answers every request in one way."""

    daemon_threads = True

    def __init__(self, answer: tuple[int, str, bytes]) -> None:
        self.answer = answer
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Answering

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, kind, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a witness take its time on a busy machine, but for the tests that shorten it."""
    monkeypatch.setattr(cosign, "_SECONDS", 600.0)
    monkeypatch.setattr(witness_server, "_SECONDS", 600.0)


@pytest.fixture
def good(tmp_path: Path) -> Iterator[WitnessServer]:
    witness = open_witness(WITNESS_KEY, {LOG_KEY.name: (LOG_KEY.verifier(),)}, tmp_path / "memory")
    yield from served(WitnessServer(witness, "127.0.0.1", 0))


def served(server: S) -> Iterator[S]:
    """Serve until the test is over."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asking(ledger: Ledger, *urls: str, keys: tuple[str, ...] = ()) -> Ledger:
    """Return the ledger with these witnesses asked at every seal."""
    known = read_trust([], keys).witnesses
    signing_setup = replace(own_signing_setup(ledger.root), witnesses=urls, witness_keys=known)
    return Ledger(ledger.root, clock=ledger.clock, signing_setup=signing_setup)


@pytest.mark.soak
@pytest.mark.parametrize("named", [True, False], ids=["with its key", "without"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_no_cosignature_is_a_fault_and_the_good_one_is_kept(
    good: WitnessServer, tmp_path: Path, answer: str, named: bool
) -> None:
    """Before or after the good witness in the list: its line is stored, the seal is done, nothing contradicts."""
    ledger = signed_ledger(tmp_path / "ledger", [5])
    keys = (WITNESS_VKEY,) if named else ()
    for bad in served(Answering(ANSWERS[answer])):
        for size, urls in ((6, (bad.url, good.url)), (7, (good.url, bad.url))):
            ledger.append([record(100 + size)])
            done = asking(ledger, *urls, keys=keys).seal()
            assert (done.size, done.contradicted) == (size, ())
            if named or answer != "somebody else's cosignature":
                assert len(done.unwitnessed) == 1
                assert bad.url in done.unwitnessed[0]
            assert head_of(ledger, size).names(WITNESS_KEY.verifier())
    assert verify(ledger, trust=read_trust([VKEY], [WITNESS_VKEY])).ok


def test_the_command_says_so_with_exit_code_4(tmp_path: Path) -> None:
    """And what was received reaches the terminal as text."""
    Ledger(tmp_path / "ledger").append([record(1)])
    cli(tmp_path, "key", "new", "--name", LOG_KEY.name)
    for bad in served(Answering(ANSWERS["an error"])):
        done = cli(tmp_path, "seal", "--witness", bad.url)
    assert done.returncode == 4
    assert "\x1b" not in done.stdout + done.stderr
    assert "not cosigned" in done.stderr


def test_a_witness_that_does_not_know_the_log_says_how_it_is_made_known(tmp_path: Path) -> None:
    ledger = signed_ledger(tmp_path / "ledger", [5])
    witness = open_witness(WITNESS_KEY, {"example.com/other": (LOG_KEY.verifier(),)}, tmp_path / "memory")
    for server in served(WitnessServer(witness, "127.0.0.1", 0)):
        (fault,) = asking(ledger, server.url).seal().unwitnessed
    assert f"--log {LOG_KEY.name}=VKEY" in fault


def trickling(send: Callable[[socket.socket], None]) -> tuple[str, socket.socket]:
    """Listen, and send to whoever connects by dribs and drabs."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            peer, _ = listening.accept()
            with peer:
                peer.recv(1 << 16)
                send(peer)
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}", listening


def slow_headers(peer: socket.socket) -> None:
    while True:  # until the other end is closed
        peer.sendall(b"H")
        time.sleep(0.05)


def slow_body(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    slow_headers(peer)


@pytest.mark.parametrize("send", [slow_headers, slow_body])
def test_a_witness_that_trickles_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, send: Callable[[socket.socket], None]
) -> None:
    """It sends a byte before every time limit of a single read, and would never end."""
    monkeypatch.setattr(cosign, "_SECONDS", 0.5)
    ledger = signed_ledger(tmp_path / "ledger", [5])
    url, listening = trickling(send)
    with listening:
        (fault,) = asking(ledger, url).seal().unwitnessed
    assert "longer than" in fault


def test_a_client_that_trickles_is_cut_off(good: WitnessServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would send for ever: that the connection is closed is what ends the test."""
    monkeypatch.setattr(witness_server, "_SECONDS", 0.5)
    with (
        socket.create_connection(good.server_address[:2]) as peer,
        pytest.raises((BrokenPipeError, ConnectionError)),
    ):
        slow_headers(peer)

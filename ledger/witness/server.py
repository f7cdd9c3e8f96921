"""The witness over HTTP: one POST, bounded in size and time, nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from run_evidence.ledger.errors import EnvironmentFault, LedgerError
from run_evidence.ledger.tlog.add_checkpoint import MAX_REQUEST_BYTES
from run_evidence.ledger.witness.witness import Response, Witness

_PATH: Final = "/add-checkpoint"
_SECONDS: Final = 10.0


class WitnessServer(ThreadingHTTPServer):
    """Serves one witness; port 0 takes a free one. Raises: EnvironmentFault when the address is taken."""

    daemon_threads = True

    def __init__(self, witness: Witness, host: str, port: int) -> None:
        self.witness = witness
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise EnvironmentFault(
                f"The witness cannot listen on {host}:{port}: {error.strerror}.",
                next_step="name another port with --port",
            ) from None

    @property
    def url(self) -> str:
        """The submission prefix."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS  # of each read; `setup` limits them all together
    server_version = "run-evidence-ledger-witness"
    sys_version = ""

    def setup(self) -> None:
        """Cut the connection off after `_SECONDS` in all: a read's own limit starts anew with every byte."""
        super().setup()
        self._cut = threading.Timer(_SECONDS, self._hang_up)
        self._cut.daemon = True
        self._cut.start()

    def finish(self) -> None:
        """Forget the limit; a client that was cut off takes no answer."""
        self._cut.cancel()
        with contextlib.suppress(OSError):
            super().finish()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_POST(self) -> None:
        """Answer add-checkpoint."""
        self._say(self._answer())

    def do_GET(self) -> None:
        """Say that there is nothing to read here."""
        self._say(Response(405, b"POST a checkpoint to /add-checkpoint\n"))

    def _answer(self) -> Response:
        if self.path != _PATH:
            return Response(404, b"POST a checkpoint to /add-checkpoint\n")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            return Response(411, b"the request must state its length\n")
        if int(length) > MAX_REQUEST_BYTES:
            return Response(413, f"at most {MAX_REQUEST_BYTES} bytes are read\n".encode())
        body = self.rfile.read(int(length))
        try:
            return self.server.witness.add_checkpoint(body)
        except (LedgerError, OSError) as error:  # its memory is damaged or full: nothing was cosigned
            return Response(500, f"{error}\n".encode())

    def _say(self, answer: Response) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.status in {404, 405, 411, 413}:  # the body was not read: what follows is no request
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Log nothing: requests are no secret, and a log that fills a disk would stop the witness."""

"""A witness: it remembers the last checkpoint of each log it knows, and cosigns only what extends it.

So that even the holder of a log's key cannot rewrite history unseen: the rewritten log is no extension of the
checkpoint the witness remembers, and gets no cosignature. Its memory is its own, in its own folder, with its own
key.

Source: C2SP tlog-witness, add-checkpoint; C2SP tlog-cosignature.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from run_evidence.ledger.errors import EnvironmentFault, IntegrityError, UsageError
from run_evidence.ledger.storage.checkpoints import read_checkpoint_file
from run_evidence.ledger.storage.files import lock_for_life, make_folder, replace_atomic
from run_evidence.ledger.tlog.add_checkpoint import SIZE_TYPE, Request, parse_request
from run_evidence.ledger.tlog.checkpoint import Checkpoint
from run_evidence.ledger.tlog.keys import COSIGNATURE, Signer, Verifier
from run_evidence.ledger.tlog.merkle import EMPTY_ROOT
from run_evidence.ledger.tlog.note import UnknownSignerError, format_note, format_signature, open_note
from run_evidence.ledger.tlog.proof import check_consistency

_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Response:
    """What the witness says to a request: an HTTP status, a content type and a body."""

    status: int
    body: bytes
    content_type: str = _TEXT


@dataclass(slots=True)
class Witness:
    """A witness with its key, the logs it knows by origin, and its memory in `folder`.

    Safe to call from many threads; one process at a time holds the folder (`open_witness`).
    """

    signer: Signer
    logs: Mapping[str, tuple[Verifier, ...]]
    folder: Path
    clock_s: Callable[[], int] = lambda: int(time.time())
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_checkpoint(self, body: bytes) -> Response:
        """Answer one request. What it answers 200 to is in its memory, durably, before it answers."""
        try:
            request = parse_request(body)
        except (IntegrityError, UsageError) as error:
            return _refusal(400, str(error))
        new = request.head.checkpoint
        keys = self.logs.get(new.origin)
        if keys is None:
            return _refusal(404, f"this witness does not know the log {new.origin}")
        try:
            open_note(request.head.message, keys)
        except (UnknownSignerError, IntegrityError) as error:
            return _refusal(403, str(error))
        if request.old_size > new.size:
            return _refusal(400, f"old size {request.old_size} is above the checkpoint's {new.size}")
        with self._lock:  # looking at the last size and remembering the new one must be one step
            return self._extend(request)

    def _extend(self, request: Request) -> Response:
        new = request.head.checkpoint
        last = self.last(new.origin)
        if request.old_size != last.size:
            return Response(409, f"{last.size}\n".encode(), SIZE_TYPE)
        if new.size == last.size and new.root != last.root:
            return Response(409, f"{last.size}\n".encode(), SIZE_TYPE)
        try:
            check_consistency(
                request.proof,
                old_size=last.size,
                new_size=new.size,
                old_root=last.root,
                new_root=new.root,
            )
        except IntegrityError as error:
            return _refusal(422, str(error))
        signature = self.signer.cosign(request.head.text, self.clock_s())
        replace_atomic(self._path(new.origin), format_note(request.head.text, [signature]))
        return Response(200, format_signature(signature).encode())

    def last(self, origin: str) -> Checkpoint:
        """Return the last checkpoint cosigned for a log; the empty tree where there was none.

        Raises: IntegrityError when the memory is damaged; a witness that forgot must not start over.
        """
        try:
            head = read_checkpoint_file(self._path(origin))
        except FileNotFoundError:
            return Checkpoint(origin, 0, EMPTY_ROOT)
        open_note(head.message, [self.signer.verifier()])
        if head.checkpoint.origin != origin:
            raise IntegrityError(f"{self._path(origin)} is of {head.checkpoint.origin}, expected {origin}")
        return head.checkpoint

    def _path(self, origin: str) -> Path:
        return self.folder / (quote(origin, safe="") + ".checkpoint")


def open_witness(signer: Signer, logs: Mapping[str, tuple[Verifier, ...]], folder: Path) -> Witness:
    """Open a witness's memory for this process alone, and read all of it once.

    Raises: UsageError with a log's key; EnvironmentFault when another process has the folder; IntegrityError
    when the memory is damaged.
    """
    if signer.algorithm != COSIGNATURE:
        raise UsageError(
            f"the key {signer.name} is a log's; a witness has one of its own",
            next_step="ledger key new --witness --name NAME",
        )
    make_folder(folder)
    try:
        lock_for_life(folder / ".lock")
    except BlockingIOError:
        raise EnvironmentFault(
            f"Another witness is at work in {folder}.", next_step="stop it, or name another folder with --state"
        ) from None
    witness = Witness(signer, logs, folder)
    for origin in logs:
        witness.last(origin)
    return witness


def _refusal(status: int, why: str) -> Response:
    return Response(status, f"{why}\n".encode())

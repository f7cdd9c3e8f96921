"""Asking witnesses to cosign a ledger's newest checkpoint. Source: C2SP tlog-witness, add-checkpoint."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from run_evidence.ledger.errors import EnvironmentFault, IntegrityError, UsageError
from run_evidence.ledger.sealing.signing import add_lines
from run_evidence.ledger.storage.checkpoints import read_checkpoint
from run_evidence.ledger.storage.consistency import calculate_checkpoint, prove_extension
from run_evidence.ledger.storage.keyring import SigningSetup
from run_evidence.ledger.storage.log import load
from run_evidence.ledger.storage.store import Store
from run_evidence.ledger.tlog.add_checkpoint import SIZE_TYPE, format_request
from run_evidence.ledger.tlog.checkpoint import Checkpoint, StoredCheckpoint
from run_evidence.ledger.tlog.keys import COSIGNATURE, Signature, Verifier, cosigned_at
from run_evidence.ledger.tlog.merkle import parse_size
from run_evidence.ledger.tlog.note import add_signatures, open_note, parse_signatures

_SECONDS: Final = 10.0
_MAX_ANSWER_BYTES: Final = 1 << 16
_MAX_COSIGNATURES: Final = 8


@dataclass(frozen=True, slots=True)
class CosignResult:
    """What witnesses did not do.

    `faults` are of those that could not be asked or answered nonsense, for a later seal to ask again;
    `contradictions` of those that remember another history than this log's.
    """

    faults: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    content_type: str
    body: bytes


def cosign_checkpoint(store: Store, size: int, signing_setup: SigningSetup) -> CosignResult:
    """Ask the witnesses to cosign the checkpoint of `size`, and store what comes; returns what went wrong.

    With witness keys, only their cosignatures are stored. What one witness answers says nothing about another:
    a good cosignature is stored whatever the others say.
    """
    head = read_checkpoint(store, size)
    if head is None:
        return CosignResult()
    if not head.signatures:
        return CosignResult(("The newest checkpoint is not signed, and a witness cosigns only signed ones.",))
    faults: list[str] = []
    contradictions: list[str] = []
    cosignatures: list[Signature] = []
    for url in signing_setup.witnesses:
        try:
            cosignatures.extend(_kept(head, _ask(store, url, head), signing_setup.witness_keys, url))
        except EnvironmentFault as fault:
            faults.append(str(fault))
        except IntegrityError as error:
            contradictions.append(str(error))
    if cosignatures:
        add_lines(store, head, cosignatures)
    return CosignResult(tuple(faults), tuple(contradictions))


def _kept(head: StoredCheckpoint, answer: bytes, keys: Sequence[Verifier], url: str) -> list[Signature]:
    """Return the cosignatures that are worth storing: by `keys` and right, or of the right form without keys."""
    wanted = [key for key in keys if key.algorithm == COSIGNATURE]
    named = {(key.name, key.key_id) for key in wanted}
    try:
        lines = list(parse_signatures(answer.decode("utf-8", "replace"))[:_MAX_COSIGNATURES])
        if not keys:
            for signature in lines:
                cosigned_at(signature)
            return lines
        by_known = [s for s in lines if (s.name, s.key_id) in named]
        if by_known:
            open_note(add_signatures(head.message, by_known), wanted)
            return by_known
    except IntegrityError as error:  # a proxy's page, or a broken witness; whatever it is, the log is not altered
        raise EnvironmentFault(
            f"The witness at {url} answered no cosignature of this checkpoint: {error}."
        ) from None
    raise EnvironmentFault(f"The witness at {url} signed with another key than was given.")


def _ask(store: Store, url: str, head: StoredCheckpoint) -> bytes:
    """Submit the checkpoint from where the witness says it is; it says so when asked from nothing."""
    new = head.checkpoint
    answer = _post(url, format_request(0, (), head.message))
    if answer.status == 409 and answer.content_type == SIZE_TYPE:
        old_size = _stated_size(answer, url)
        if old_size > new.size:
            raise _contradiction(url, new, f"it has cosigned {old_size} entries, this log has {new.size}")
        answer = _post(url, format_request(old_size, _proof(store, old_size, new), head.message))
        if answer.status == 409 and old_size == new.size:
            raise _contradiction(url, new, f"it has cosigned another root over {new.size} entries")
    if answer.status == 422 and not _is_page(answer):
        raise _contradiction(url, new, _text(answer))
    if answer.status == 404:
        raise EnvironmentFault(
            f"The witness at {url} does not know this log: {_text(answer)}. Start it with --log {new.origin}=VKEY."
        )
    if answer.status != 200:
        raise EnvironmentFault(f"The witness at {url} answered {answer.status}: {_text(answer)}")
    return answer.body


def _stated_size(answer: _Response, url: str) -> int:
    try:
        return parse_size(answer.body.decode("ascii", "replace").removesuffix("\n"), "its size")
    except IntegrityError as error:
        raise EnvironmentFault(f"The witness at {url} answered 409 without a size: {error}.") from None


def _is_page(answer: _Response) -> bool:
    """Return whether the answer is a web page, which no witness sends: a proxy answered in its place."""
    return "html" in answer.content_type.lower()


def _proof(store: Store, old_size: int, new: Checkpoint) -> tuple[bytes, ...]:
    """Prove that our own tree of `old_size` is a prefix of the checkpoint; the witness compares it with its own."""
    log = load(store)
    return prove_extension(store, lambda: log, calculate_checkpoint(store, log, new.origin, old_size), new)


def _contradiction(url: str, head: Checkpoint, why: str) -> IntegrityError:
    return IntegrityError(
        f"The witness at {url} refuses the checkpoint of {head.size} entries of {head.origin}: {why}.",
        next_step="the log was cut or rewritten: compare it with a copy, and keep this state as evidence",
    )


def _post(url: str, body: bytes) -> _Response:
    """Send one request and read its answer, in `_SECONDS` in all however slowly the other side speaks."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{url!r} is no address of a witness.", next_step="for example http://127.0.0.1:8464")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_SECONDS)
    late = threading.Event()
    # A socket's own time limit starts anew with every byte that comes.
    cut = threading.Timer(_SECONDS, _hang_up, (connection, late))
    cut.daemon = True
    cut.start()
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/add-checkpoint", body)
        response = connection.getresponse()
        content = response.read(_MAX_ANSWER_BYTES)
        if late.is_set():
            raise TimeoutError("it was cut off")
        return _Response(response.status, response.headers.get("Content-Type", ""), content)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = f"it took longer than {_SECONDS:.0f} s" if late.is_set() else str(error) or repr(error)
        raise EnvironmentFault(f"The witness at {url} did not answer: {why}.") from None
    finally:
        cut.cancel()
        connection.close()


def _hang_up(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _text(answer: _Response) -> str:
    return answer.body.decode("utf-8", "replace").strip()[:500]

"""Asking witnesses to cosign a ledger's newest tree head. Source: C2SP tlog-witness, add-checkpoint."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ledger.checkpoint import Checkpoint
from ledger.errors import EnvironmentFault, IntegrityError, UsageError
from ledger.growth import prove_growth
from ledger.heads import Head, read_head, read_head_file
from ledger.keys import COSIGNATURE, Signature, Verifier, cosigned_at
from ledger.layout import Layout
from ledger.log import load
from ledger.merkle import parse_size
from ledger.notary import Notary
from ledger.note import add_signatures, open_note, parse_signatures
from ledger.proof import read_frontier
from ledger.store import replace_atomic
from ledger.tile_cache import TileCache
from ledger.witness import SIZE_TYPE, format_request

_SECONDS: Final = 10.0
_MAX_ANSWER_BYTES: Final = 1 << 16
_MAX_COSIGNATURES: Final = 8


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content_type: str
    body: bytes


def cosign_head(layout: Layout, size: int, notary: Notary) -> list[str]:
    """Ask the notary's witnesses to cosign the head of `size`, and store what comes; returns what went wrong.

    With witness keys, only their cosignatures are stored. A witness that does not answer is a fault for later:
    the next seal asks again.

    Raises: IntegrityError when a witness remembers another history than this log's.
    """
    head = read_head(layout, size)
    if head is None:
        return []
    if not head.signatures:
        return ["The newest tree head is not signed, and a witness cosigns only signed ones."]
    faults = []
    cosignatures: list[Signature] = []
    for url in notary.witnesses:
        try:
            cosignatures.extend(_kept(head, _ask(layout, url, head), notary.witness_keys, url))
        except EnvironmentFault as fault:
            faults.append(str(fault))
    if cosignatures:
        _store(layout, head, cosignatures)
    return faults


def _store(layout: Layout, head: Head, cosignatures: Sequence[Signature]) -> None:
    path = layout.checkpoint(head.checkpoint.size)
    stored = read_head_file(path)  # a rival may have added a signature meanwhile
    if stored.text == head.text:
        replace_atomic(path, add_signatures(stored.message, cosignatures))


def _kept(head: Head, answer: bytes, keys: Sequence[Verifier], url: str) -> list[Signature]:
    """Return the cosignatures that are worth storing: by `keys` and right, or of the right form without keys."""
    lines = parse_signatures(answer.decode("utf-8", "replace"))[:_MAX_COSIGNATURES]
    if not keys:
        for signature in lines:
            cosigned_at(signature)
        return list(lines)
    wanted = [key for key in keys if key.algorithm == COSIGNATURE]
    named = {(key.name, key.key_id) for key in wanted}
    by_known = [s for s in lines if (s.name, s.key_id) in named]
    if not by_known:
        raise EnvironmentFault(f"The witness at {url} signed with another key than was given.")
    open_note(add_signatures(head.message, by_known), wanted)
    return by_known


def _ask(layout: Layout, url: str, head: Head) -> bytes:
    """Submit the head from where the witness says it is; it says so when asked from nothing."""
    new = head.checkpoint
    answer = _post(url, format_request(0, (), head.message))
    if answer.status == 409 and answer.content_type == SIZE_TYPE:
        old_size = parse_size(answer.body.decode("ascii", "replace").removesuffix("\n"), f"the answer of {url}")
        if old_size > new.size:
            raise _contradiction(url, new, f"it has cosigned {old_size} entries, this log has {new.size}")
        answer = _post(url, format_request(old_size, _proof(layout, old_size, new), head.message))
        if answer.status == 409 and old_size == new.size:
            raise _contradiction(url, new, f"it has cosigned another root over {new.size} entries")
    if answer.status == 422:
        raise _contradiction(url, new, _text(answer))
    if answer.status != 200:
        raise EnvironmentFault(f"The witness at {url} answered {answer.status}: {_text(answer)}")
    return answer.body


def _proof(layout: Layout, old_size: int, new: Checkpoint) -> tuple[bytes, ...]:
    """Prove that our own tree of `old_size` is a prefix of the head; the witness compares it with its own."""
    cache = TileCache(layout)
    cache.catch_up(load(layout.log))
    old = Checkpoint(new.origin, old_size, read_frontier(old_size, cache.reader(new.size)).root())
    return prove_growth(layout, lambda: load(layout.log), old, new)


def _contradiction(url: str, head: Checkpoint, why: str) -> IntegrityError:
    return IntegrityError(
        f"The witness at {url} refuses the head of {head.size} entries of {head.origin}: {why}.",
        next_step="the log was cut or rewritten: compare it with a copy, and keep this state as evidence",
    )


def _post(url: str, body: bytes) -> _Answer:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{url!r} is no address of a witness.", next_step="for example http://127.0.0.1:8464")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_SECONDS)
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/add-checkpoint", body)
        response = connection.getresponse()
        content = response.read(_MAX_ANSWER_BYTES)
        return _Answer(response.status, response.headers.get("Content-Type", ""), content)
    except (TimeoutError, OSError, http.client.HTTPException) as error:
        raise EnvironmentFault(f"The witness at {url} did not answer: {error}.") from None
    finally:
        connection.close()


def _text(answer: _Answer) -> str:
    return answer.body.decode("utf-8", "replace").strip()[:500]

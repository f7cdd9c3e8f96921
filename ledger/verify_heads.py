"""Verifying tree heads: their form, who signed them, and the copies that others kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ledger.errors import IntegrityError
from ledger.findings import Finding, Verification
from ledger.heads import Head, read_head_file
from ledger.keys import Verifier, cosigned_at, format_vkey
from ledger.layout import Layout, is_checkpoint_name
from ledger.notary import KeyRecord, read_records
from ledger.note import open_note
from ledger.trust import Trust


def read_heads(layout: Layout, result: Verification) -> dict[int, Head]:
    """Return the stored heads by size; what is wrong with one is a finding, and it is left out."""
    heads = {}
    for path in sorted(layout.checkpoints.iterdir()) if layout.checkpoints.is_dir() else ():
        if not is_checkpoint_name(path.name):
            continue
        where = f"checkpoints/{path.name}"
        result.checkpoints += 1
        try:
            head = read_head_file(path)
        except (IntegrityError, OSError) as error:
            result.add(Finding(where, str(error).removeprefix(f"{path}: ")))
            continue
        stated = head.checkpoint
        if stated.size != int(path.name):
            result.add(Finding(where, "it is of another size than its name", None, path.name, str(stated.size)))
        elif stated.origin != result.origin:
            result.add(Finding(where, "it is of another log", None, result.origin, stated.origin))
        else:
            heads[stated.size] = head
    return heads


def read_copies(paths: Sequence[Path], trust: Trust, result: Verification) -> dict[str, Head]:
    """Return the older heads a verifier kept, by file name, after checking whose they are and who signed them.

    Raises: EnvironmentFault-like OSError when a file cannot be read.
    """
    copies = {}
    for path in paths:
        try:
            head = read_head_file(path)
        except IntegrityError as error:
            result.add(Finding(str(path), str(error).removeprefix(f"{path}: ")))
            continue
        if head.checkpoint.origin != result.origin:
            problem = "the copy is of another log"
            result.add(Finding(str(path), problem, None, result.origin, head.checkpoint.origin))
            continue
        _check_lines(str(path), head, [*trust.logs, *trust.witnesses], result)
        copies[str(path)] = head
    return copies


def verify_signatures(layout: Layout, heads: Mapping[int, Head], trust: Trust, result: Verification) -> None:
    """Check every signature by a key that is known, and that none is missing where one has to be.

    A key is known because the verifier brought it, or else because the ledger names it as its own. From the
    first head a key of the ledger signed, every head is signed by one; the newest by the key that was brought.
    """
    try:
        records = read_records(layout)
    except IntegrityError as error:
        result.add(Finding("keys", str(error)))
        records = []
    own = [record.verifier for record in records]
    known = list(dict.fromkeys([*trust.logs, *own]))
    result.key_given = bool(trust.logs)
    result.unchecked = _unchecked(heads.values(), [*known, *trust.witnesses])
    sound = {
        size
        for size, head in sorted(heads.items())
        if _check_lines(f"checkpoints/{size:016d}", head, [*known, *trust.witnesses], result)
    }
    for size in sorted(sound):
        _require_signature(size, heads, _wanted(size, heads, trust, records), known, result)
    _verify_records(records, heads, result)
    newest = max(heads, default=None)
    if newest in sound and newest is not None:
        _describe_newest(heads[newest], trust, known, result)


def _unchecked(heads: Iterable[Head], keys: Sequence[Verifier]) -> tuple[str, ...]:
    """Name the signers of lines that none of the keys can check."""
    checked = {(key.name, key.key_id) for key in keys}
    lines = (line for head in heads for line in head.signatures)
    return tuple(sorted({f"{s.name}+{s.key_id.hex()}" for s in lines if (s.name, s.key_id) not in checked}))


def _verify_records(records: Sequence[KeyRecord], heads: Mapping[int, Head], result: Verification) -> None:
    """See that each key signed from where on its note says it did.

    A key may have signed smaller heads that an earlier one had left unsigned.
    """
    for record in records:
        signed = [size for size, head in heads.items() if head.names(record.verifier)]
        first = min(signed, default=None)
        if first is None or first == record.signed_from:
            continue
        earlier = [r.signed_from for r in records if r.signed_from is not None and r != record]
        if record.signed_from is None or first > record.signed_from or first < min(earlier, default=first + 1):
            where = f"keys/{record.verifier.key_id.hex()}.json"
            problem = "the first head this key signed is not the one its note says"
            result.add(Finding(where, problem, None, str(first), str(record.signed_from)))


def _check_lines(where: str, head: Head, keys: Sequence[Verifier], result: Verification) -> bool:
    """Check the signatures that claim to be by one of the keys; False, and a finding, if one is wrong."""
    if not any(map(head.names, keys)):
        return True
    try:
        open_note(head.message, keys)
    except IntegrityError as error:
        result.add(Finding(where, str(error)))
        return False
    return True


def _wanted(size: int, heads: Mapping[int, Head], trust: Trust, records: Sequence[KeyRecord]) -> Sequence[Verifier]:
    """Return the keys of which one has to have signed the head of this size; empty where none has to."""
    if trust.logs:
        started = [r.signed_from for r in records if r.verifier in trust.logs and r.signed_from is not None]
        # A ledger that does not name the key, or no longer does, still shows from where on it was used.
        started += [s for s, head in heads.items() if any(map(head.names, trust.logs))]
        if size >= min([*started, max(heads)]):
            return trust.logs
    begun = [record for record in records if record.signed_from is not None]
    return [r.verifier for r in begun] if any(size >= (r.signed_from or 0) for r in begun) else []


def _require_signature(
    size: int,
    heads: Mapping[int, Head],
    wanted: Sequence[Verifier],
    known: Sequence[Verifier],
    result: Verification,
) -> None:
    head, where = heads[size], f"checkpoints/{size:016d}"
    expected = " or ".join(map(format_vkey, wanted))
    found = ", ".join(f"{s.name}+{s.key_id.hex()}" for s in head.signatures)
    if wanted and not head.signatures:
        problem = (
            "its signature is missing: it was taken away, or it was sealed without the key (ledger seal signs it)"
        )
        result.add(Finding(where, problem, None, expected, "no signature"))
    elif wanted and not any(map(head.names, wanted)):
        result.add(Finding(where, "it is signed by another key", None, expected, found))
    elif head.signatures and not any(map(head.names, known)):
        problem = "it is signed, and by no key this ledger names as its own (bring the log's key with --key)"
        result.add(Finding(where, problem, None, expected or None, found))


def _describe_newest(head: Head, trust: Trust, known: Sequence[Verifier], result: Verification) -> None:
    result.signed_by = tuple(format_vkey(key) for key in known if head.names(key))
    cosigned = {(s.name, s.key_id): s for s in head.signatures}
    times = []
    for key in trust.witnesses:
        signature = cosigned.get((key.name, key.key_id))
        if signature is None:
            problem = "the witness has not cosigned it (ledger seal --witness asks again)"
            result.add(Finding(f"checkpoints/{head.checkpoint.size:016d}", problem, None, format_vkey(key)))
        else:
            times.append((format_vkey(key), cosigned_at(signature)))
    result.cosigned_by = tuple(times)

"""What a verifier trusts, held against a checkpoint: the log's key, witnesses, or a checkpoint they kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.tlog.checkpoint import Checkpoint, StoredCheckpoint
from run_evidence.ledger.tlog.keys import COSIGNATURE, ED25519, Verifier, cosigned_at, format_vkey, parse_vkey
from run_evidence.ledger.tlog.note import UnknownSignerError, open_note


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys a verifier brought along. One of `logs` has to have signed, each of `witnesses` cosigned.

    `copy` is a checkpoint that was kept: the proof's has to be the same. `origin` names the log.
    """

    logs: tuple[Verifier, ...] = ()
    witnesses: tuple[Verifier, ...] = ()
    copy: Checkpoint | None = None
    origin: str | None = None


NOTHING_BROUGHT = Trust()


@dataclass(frozen=True, slots=True)
class TrustedBy:
    """Who vouches for a checkpoint: verifier keys of the log, and (witness key, time of cosigning in seconds)."""

    signed_by: tuple[str, ...] = ()
    cosigned_by: tuple[tuple[str, int], ...] = ()


def read_trust(
    log_keys: Sequence[str],
    witness_keys: Sequence[str],
    copy: Checkpoint | None = None,
    origin: str | None = None,
) -> Trust:
    """Read verifier keys as a user gives them.

    Raises: UsageError for a text that is no verifier key, or a key in the wrong role.
    """
    logs, witnesses = tuple(map(parse_vkey, log_keys)), tuple(map(parse_vkey, witness_keys))
    for keys, role, option in ((logs, ED25519, "--key"), (witnesses, COSIGNATURE, "--witness-key")):
        for key in keys:
            if key.algorithm != role:
                other = "--witness-key" if option == "--key" else "--key"
                raise UsageError(
                    f"{format_vkey(key)} is not a key for {option}.", next_step=f"give it with {other}"
                )
    return Trust(logs, witnesses, copy, origin)


def require_trusted(head: StoredCheckpoint, trust: Trust) -> TrustedBy:
    """Pass if everything that is trusted vouches for this checkpoint, and return who does.

    A signature by a key that is not trusted says nothing and is passed over; a wrong one by a trusted key is
    not. With nothing trusted it passes, and the result is empty.

    Raises: IntegrityError saying which signature is missing or wrong, or what differs.
    """
    where = f"the checkpoint of {head.checkpoint.size} entries of {head.checkpoint.origin}"
    if trust.origin is not None and head.checkpoint.origin != trust.origin:
        raise IntegrityError(f"{where} is of another log, expected {trust.origin}")
    if trust.copy is not None and trust.copy != head.checkpoint:
        raise IntegrityError(
            f"{where} has root {head.checkpoint.root.hex()}; the copy is of {trust.copy.size} entries of "
            f"{trust.copy.origin}, root {trust.copy.root.hex()}"
        )
    wanted = [*trust.logs, *trust.witnesses]
    if not wanted:
        return TrustedBy()
    if not head.signatures:
        raise IntegrityError(f"{where} is not signed, expected a signature by {_names(trust.logs or wanted)}")
    try:
        note = open_note(head.message, wanted)
    except UnknownSignerError:
        found = ", ".join(f"{s.name}+{s.key_id.hex()}" for s in head.signatures)
        raise IntegrityError(f"{where} is signed by {found}, expected {_names(trust.logs or wanted)}") from None
    except IntegrityError as error:
        raise IntegrityError(f"{where}: {error}") from None
    signed = {(s.name, s.key_id): s for s in note.verified}
    by_log = [key for key in trust.logs if (key.name, key.key_id) in signed]
    if trust.logs and not by_log:
        raise IntegrityError(f"{where} has no signature by the log's key {_names(trust.logs)}")
    for key in trust.witnesses:
        if (key.name, key.key_id) not in signed:
            raise IntegrityError(f"{where} has no cosignature by the witness {_names([key])}")
    times = [(format_vkey(key), cosigned_at(signed[key.name, key.key_id])) for key in trust.witnesses]
    return TrustedBy(tuple(map(format_vkey, by_log)), tuple(times))


def _names(keys: Sequence[Verifier]) -> str:
    return ", ".join(map(format_vkey, keys))

"""What a verifier remembers: of each log the last checkpoint it found good, and which log was at which address.

Whoever verified once cannot be shown a shorter or another history any more: what does not extend the remembered
checkpoint is a finding. The memory belongs to the verifier and lies outside every ledger. Nothing is remembered of
a verification that found something.

Source: golang.org/x/mod/sumdb, Client (the same rule, for Go's module database).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.storage.checkpoint_memory import CheckpointMemory
from run_evidence.ledger.storage.files import read_regular, replace_atomic
from run_evidence.ledger.tlog.checkpoint import StoredCheckpoint
from run_evidence.ledger.tlog.keys import Verifier, format_vkey
from run_evidence.ledger.tlog.note import format_note
from run_evidence.ledger.verification.findings import Finding, Verification


@dataclass(frozen=True, slots=True)
class VerifierMemory:
    """A verifier's memory in `folder`, made when something is remembered first."""

    folder: Path

    def last(self, result: Verification) -> dict[str, StoredCheckpoint]:
        """Return the checkpoint remembered of this log by the name of its file; a damaged memory is a finding."""
        memory = CheckpointMemory(self.folder)
        path = memory.path(result.origin)
        try:
            head = memory.last(result.origin)
        except NotADirectoryError:  # nothing can be remembered there, which `remember` says
            return {}
        except IntegrityError as error:
            result.add(_unreadable(path, error))
            return {}
        if head is None:
            return {}
        result.remembered = head.checkpoint.size
        return {str(path): head}

    def compare_signatures(
        self,
        remembered: Mapping[str, StoredCheckpoint],
        heads: Mapping[int, StoredCheckpoint],
        result: Verification,
    ) -> None:
        """Add a finding where the remembered checkpoint, or a signature on it that was verified, is gone."""
        for where, before in remembered.items():
            size = before.checkpoint.size
            now = heads.get(size)
            if now is None:
                if size <= result.size:
                    problem = "the checkpoint that was verified here before is not in the ledger any more"
                    result.add(Finding(where, problem, None, f"checkpoints/{size:016d}"))
                continue
            held = {(line.name, line.key_id) for line in now.signatures}
            for line in before.signatures:
                if (line.name, line.key_id) not in held:
                    problem = "a signature that was verified here before is gone"
                    result.add(
                        Finding(f"checkpoints/{size:016d}", problem, None, f"{line.name}+{line.key_id.hex()}")
                    )

    def compare_address(self, address: Path, brought: Sequence[Verifier], result: Verification) -> None:
        """See whether another log was verified at this address before.

        A new log in the place of an unsigned one is reported and is no finding: a ledger may be made anew. In the
        place of a signed one it is a finding, unless the same key signed it. A key that signs the log now, and did
        not then, is named, unless the verifier `brought` it: the ledger may have got another key, or whoever can
        write it has added his own.
        """
        try:
            origin, signed_by = self._before(address)
        except (FileNotFoundError, NotADirectoryError):
            return
        except (IntegrityError, orjson.JSONDecodeError, KeyError, TypeError) as error:
            result.add(_unreadable(self._address_file(address), error))
            return
        if origin == result.origin:
            known = {*signed_by, *map(format_vkey, brought)}
            result.new_keys = tuple(key for key in result.signed_by if signed_by and key not in known)
            return
        if signed_by and signed_by.isdisjoint(result.signed_by):
            keys = ", ".join(sorted(signed_by))
            problem = f"at this address the log {origin}, signed by {keys}, was verified before"
            result.add(Finding("ledger.json", problem, None, origin, result.origin))
        else:
            result.stranger = f"at this address the log {origin} was verified before; this is {result.origin}"

    def remember(
        self, address: Path, heads: Mapping[int, StoredCheckpoint], keys: Sequence[Verifier], result: Verification
    ) -> None:
        """Keep the newest checkpoint of a verification that found nothing, with its signatures by these keys.

        New keys stay new until the verifier brings them. Where the folder cannot be written the result says so.
        """
        newest = heads.get(max((size for size in heads if size <= result.size), default=0))
        if not result.ok or newest is None:
            return
        names = {(key.name, key.key_id) for key in keys}
        verified = [line for line in newest.signatures if (line.name, line.key_id) in names]
        message = format_note(newest.text, verified) if verified else newest.text.encode()
        about = {"address": str(address), "origin": result.origin, "signed_by": self._trusted(address, result)}
        try:
            CheckpointMemory(self.folder).remember(result.origin, message)
            replace_atomic(self._address_file(address), orjson.dumps(about))
        except OSError as error:
            result.not_remembered = f"{self.folder} cannot be written: {error.strerror}"

    def _trusted(self, address: Path, result: Verification) -> list[str]:
        kept = [key for key in result.signed_by if key not in result.new_keys]
        return kept or sorted(self._before(address)[1] if result.new_keys else ())

    def _before(self, address: Path) -> tuple[str, set[str]]:
        before = orjson.loads(read_regular(self._address_file(address)))
        return str(before["origin"]), set(map(str, before["signed_by"]))

    def _address_file(self, address: Path) -> Path:
        return (
            self.folder
            / f"{hashlib.sha256(str(address).encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.address"
        )


def _unreadable(path: Path, error: Exception) -> Finding:
    problem = f"what was verified before cannot be read: {error}"
    step = "restore the file from a copy, or remove it: this verification is then the first"
    return Finding(str(path), problem, kind="not compared", next_step=step)

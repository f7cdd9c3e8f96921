"""What a recipient remembers: of each log, product and partition the hand-over it accepted last.

An older hand-over is genuine in every byte. Only who remembers a newer one can tell that it was put back.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from run_evidence.evidence.refusal import Refused
from run_evidence.ledger import (
    EnvironmentFault,
    IntegrityError,
    locked,
    make_private_folder,
    read_regular,
    replace_atomic,
)

_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Remembered:
    """A hand-over: the entry that records it, the digest of its evidence, the checkpoint its proof leads to.

    `sign_off` is the entry in which somebody signed it off, where there was one.
    """

    recorded_at: int
    evidence_sha256: str
    size: int
    root_sha256: str
    sign_off: int | None = None

    @property
    def says(self) -> tuple[str, int | None]:
        """What a recipient decides by."""
        return self.evidence_sha256, self.sign_off


@dataclass(frozen=True, slots=True)
class AcceptedMemory:
    """A recipient's memory in `folder`, made when something is remembered first."""

    folder: Path

    def advance(self, subject: tuple[str, str, str], now: Remembered) -> None:
        """Remember a hand-over of a (log, product, partition), in the place of an older one.

        One that is older than what is remembered, with the same evidence and sign-off, is fine: it says nothing
        else.

        Raises: Refused for an older one that says something else, or one of a log that contradicts what is
        remembered; EnvironmentFault when the memory cannot be read or written: what is not remembered is not
        accepted.
        """
        path = self.folder / f"{hashlib.sha256(chr(0).join(subject).encode()).hexdigest()[:32]}.json"
        try:
            make_private_folder(self.folder)
            with locked(self.folder / ".lock"):
                last = self._last(path, subject)
                if last is not None:
                    _require_newer(now, last)
                if last is None or now.recorded_at > last.recorded_at:
                    body = {"subject": subject, **asdict(now)}
                    replace_atomic(path, json.dumps(body, indent=2).encode() + b"\n")
        except OSError as error:
            raise EnvironmentFault(
                f"{self.folder} cannot remember what is accepted: {error.strerror or error}.",
                next_step="name a folder that can be written with --memory DIR, or accept with --no-memory",
            ) from None

    @staticmethod
    def _last(path: Path, subject: tuple[str, str, str]) -> Remembered | None:
        try:
            body = json.loads(read_regular(path, max_bytes=_MAX_BYTES))
            if tuple(body.pop("subject")) != subject:
                raise ValueError("it is of something else")  # noqa: TRY301 - one message for every way to be wrong
            last = Remembered(**body)
            if {type(last.recorded_at), type(last.size)} != {int}:
                raise TypeError("a number is none")  # noqa: TRY301
        except FileNotFoundError:
            return None
        except (IntegrityError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise EnvironmentFault(
                f"{path}, what was accepted before, cannot be read: {error}",
                next_step="restore the file from a copy, or remove it: this hand-over is then the first",
            ) from None
        return last


def _require_newer(now: Remembered, last: Remembered) -> None:
    if now.size == last.size and now.root_sha256 != last.root_sha256:
        problem = f"another history was accepted before: two roots for {now.size} entries"
        raise Refused("log_contradicts", problem, "checkpoint", None, last.root_sha256, now.root_sha256)
    older = now.recorded_at < last.recorded_at
    if now.says != last.says and (older or now.recorded_at == last.recorded_at):
        code = "older_than_accepted" if older else "log_contradicts"
        problem = "a newer hand-over of this partition was accepted before"
        raise Refused(code, problem, "index.json", None, f"entry {last.recorded_at}, or later", now.recorded_at)

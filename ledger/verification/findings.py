"""What a verification checked and what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

MAX_FINDINGS: Final = 100
"""Findings kept; a ledger that is wrong in more places is wrong enough."""

Progress = Callable[[int, int], None]
"""Called with (entries done, entries in all)."""


Kind = Literal[
    "altered", "not covered", "not erased", "rewritten", "not compared", "not read", "nothing there", "newer"
]
"""What a finding says. Only the first says that something is not as it was recorded."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `index` is the entry's, where it is about one.

    `altered`: something is not as it was recorded. `not covered`: sealed entries lie under no signature or
    cosignature that was asked for; a seal that died leaves that, and so does whoever deletes checkpoints. `not
    erased`: a payload is there that is erased on record. `rewritten`: another tool wrote files of the log, and it
    cannot be verified before they are taken back. `not compared`: a checkpoint that the verifier kept or remembers
    cannot be read, which is no fault of the ledger; nothing is known of what it would have shown.
    `not read`: something else than a file, or a folder, has the name of a tile; the tiles are a cache.
    `newer`: it is of a schema version that this program does not know.
    `nothing there`: there was nothing to verify.
    """

    where: str
    problem: str
    index: int | None = None
    expected: str | None = None
    got: str | None = None
    kind: Kind = "altered"
    next_step: str | None = None


@dataclass(slots=True)
class Verification:
    """What was checked and what was found. `root` is the one calculated from the entries, hex.

    `beyond_checkpoint` entries are sealed and in no checkpoint yet: a seal died between its commit and its
    checkpoint, and the next one writes it. `signed_by` are the keys that signed the newest checkpoint,
    `cosigned_by` (witness key, seconds since 1970); `key_given` says whether the verifier brought the key or took
    the one the ledger names itself. `unchecked` are the signers of lines in checkpoints that there is no key for:
    nothing is known of these lines, not even whether they were changed. `since` are sizes of older checkpoints the
    log was proved to extend, `remembered` the one this verifier had found good before; `stranger` says in what way
    this is not the log that was verified at this address before, `new_keys` sign it and did not then: nothing but
    the ledger's own word says that they are its keys. `not_remembered` says why this one will not be known.
    `erased` payloads are gone on record. `sampled` is how many entries were verified, `None` where all were.
    """

    origin: str
    size: int = 0
    root: str = ""
    segments: int = 0
    entries: int = 0
    entry_bytes: int = 0
    checkpoints: int = 0
    unsealed: int = 0
    beyond_checkpoint: int = 0
    blobs: int = 0
    erased: int = 0
    tiles: int = 0
    signed_by: tuple[str, ...] = ()
    cosigned_by: tuple[tuple[str, int], ...] = ()
    key_given: bool = False
    unchecked: tuple[str, ...] = ()
    since: list[int] = field(default_factory=list)
    remembered: int | None = None
    stranger: str | None = None
    new_keys: tuple[str, ...] = ()
    not_remembered: str | None = None
    sampled: int | None = None
    findings: list[Finding] = field(default_factory=list)
    more_findings: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def altered(self) -> bool:
        """Whether anything is not as it was recorded."""
        return bool(self.more_findings) or any(finding.kind == "altered" for finding in self.findings)

    @property
    def only_newer(self) -> bool:
        """Whether all that was found is that a newer program has to look."""
        return bool(self.findings) and all(finding.kind == "newer" for finding in self.findings)

    def add(self, finding: Finding) -> None:
        """Note a finding; past `MAX_FINDINGS` they are only counted."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.more_findings += 1

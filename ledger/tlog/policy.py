"""Whom somebody trusts, as text: logs, witnesses, and how many of the witnesses are enough.

    log example.com/ledger+c157ed69+AZ…
    witness w1 witness.example/w1+5f2c9a11+BA…
    witness w2 witness.example/w2+90ab0f3c+BN…
    group enough 1 w1 w2
    quorum enough

A checkpoint is valid when one of the logs signed it and the quorum of witnesses cosigned it. A ledger's origin need
not be the name of its key, so which log it is has to be held against the ledger by whoever asks.

Source: C2SP tlog-policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.tlog.checkpoint import StoredCheckpoint
from run_evidence.ledger.tlog.keys import COSIGNATURE, ED25519, Verifier, format_vkey, is_unknown_type, parse_vkey
from run_evidence.ledger.tlog.note import UnknownSignerError, open_note

NONE: Final = "none"
_MAX_LINES: Final = 1_000
_BLANKS: Final = " \t"
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,3}")
_FORMS: Final = {
    "log": "log VKEY [URL]",
    "witness": "witness NAME VKEY [URL]",
    "group": "group NAME all|any|COUNT MEMBER…",
    "quorum": "quorum NAME",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses and groups by name, and how many of them make the group a witness."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What a policy says. A witness whose key is of an unknown type is `None`: it is never seen to have cosigned.

    `quorum` names a witness or a group; `none` asks for no witness.
    """

    logs: tuple[Verifier, ...]
    witnesses: Mapping[str, Verifier | None]
    groups: Mapping[str, Group]
    quorum: str

    @property
    def wants_witness(self) -> bool:
        """Whether a checkpoint has to be cosigned."""
        return self.quorum != NONE

    @property
    def quorum_words(self) -> str:
        """Say the quorum to a person: "w1", or "2 of w1, w2, w3"."""
        group = self.groups.get(self.quorum)
        return f"{group.threshold} of {', '.join(group.members)}" if group else self.quorum


@dataclass(frozen=True, slots=True)
class PolicySigners:
    """Who of those that a policy trusts vouches for a checkpoint.

    `signed_by` are verifier keys of logs, `cosigned_by` names of witnesses; each signature was checked.
    """

    signed_by: tuple[str, ...] = ()
    cosigned_by: tuple[str, ...] = ()
    witnessed: bool = False


def vouched(head: StoredCheckpoint, policy: TrustPolicy) -> PolicySigners:
    """Hold the signatures of a checkpoint against a policy. One by a key that is not trusted says nothing.

    Raises: IntegrityError when a signature by a trusted key is not over this checkpoint.
    """
    keys = [*policy.logs, *filter(None, policy.witnesses.values())]
    signers: set[Verifier] = set()
    if head.signatures and keys:
        try:
            note = open_note(head.message, keys)
        except UnknownSignerError:
            return PolicySigners(witnessed=not policy.wants_witness)
        by = {(line.name, line.key_id) for line in note.verified}
        signers = {key for key in keys if (key.name, key.key_id) in by}
    cosigned = tuple(name for name, key in policy.witnesses.items() if key in signers)
    return PolicySigners(
        tuple(format_vkey(key) for key in policy.logs if key in signers),
        cosigned,
        not policy.wants_witness or _witnessed(policy, policy.quorum, frozenset(cosigned)),
    )


def _witnessed(policy: TrustPolicy, name: str, cosigned: frozenset[str]) -> bool:
    """Tell whether a witness cosigned, or enough of a group did. Groups name only what stands before them."""
    group = policy.groups.get(name)
    if group is None:
        return name in cosigned
    return sum(_witnessed(policy, member, cosigned) for member in group.members) >= group.threshold


def is_trust_policy(text: str) -> bool:
    """Tell whether a text begins as a policy does, so that a file need not say of which form it is."""
    lines = (line.strip(_BLANKS) for line in text.split("\n"))
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return any(re.match(rf"{word}[ \t]+[^ \t=]", first) for word in _FORMS)


def parse_trust_policy(text: str) -> TrustPolicy:
    """Read a policy. Raises: UsageError naming the line for anything that is not one."""
    if found := _FORBIDDEN.search(text):
        raise _wrong(text.count("\n", 0, found.start()) + 1, "it has a control character")
    lines = text.split("\n")
    if len(lines) > _MAX_LINES:
        raise _wrong(_MAX_LINES + 1, f"at most {_MAX_LINES} lines are read")
    reader = _Reader()
    for number, line in enumerate(lines, start=1):
        words = [word for word in re.split(r"[ \t]+", line) if word]
        if words and not words[0].startswith("#"):
            reader.take(number, words)
    if reader.quorum is None:
        raise UsageError(
            "A policy has one quorum line; this has none.", next_step="quorum none, to ask for no witness"
        )
    return TrustPolicy(tuple(reader.logs), reader.witnesses, reader.groups, reader.quorum)


@dataclass(slots=True)
class _Reader:
    logs: list[Verifier] = field(default_factory=list)
    witnesses: dict[str, Verifier | None] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None
    _keys: set[str | bytes] = field(default_factory=set)
    _members: set[str] = field(default_factory=set)

    def take(self, number: int, words: Sequence[str]) -> None:
        """Read one line."""
        kinds: Mapping[str, Callable[[int, Sequence[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }
        if words[0] not in kinds:
            raise _wrong(number, f"it begins with {words[0]!r:.100}, which is none of {', '.join(kinds)}")
        kinds[words[0]](number, words[1:])

    def _log(self, number: int, words: Sequence[str]) -> None:
        if len(words) not in {1, 2}:
            raise _wrong(number, f"it is not {_FORMS['log']}")
        if (key := self._key(number, words[0], ED25519)) is not None:
            self.logs.append(key)

    def _witness(self, number: int, words: Sequence[str]) -> None:
        if len(words) not in {2, 3}:
            raise _wrong(number, f"it is not {_FORMS['witness']}")
        self._require_new(number, words[0])
        self.witnesses[words[0]] = self._key(number, words[1], COSIGNATURE)

    def _group(self, number: int, words: Sequence[str]) -> None:
        if len(words) < 3:
            raise _wrong(number, f"it is not {_FORMS['group']}")
        name, count, *members = words
        self._require_new(number, name)
        for member in members:
            self._require_defined(number, member)
            if member in self._members:
                raise _wrong(number, f"{member} is the member of a group already, so it would count twice")
            self._members.add(member)
        threshold = {"all": str(len(members)), "any": "1"}.get(count, count)
        if not _NUMBER.fullmatch(threshold) or int(threshold) > len(members):
            raise _wrong(number, f"{count!r} is not all, any or a number from 1 to {len(members)}")
        self.groups[name] = Group(int(threshold), tuple(members))

    def _quorum(self, number: int, words: Sequence[str]) -> None:
        if len(words) != 1:
            raise _wrong(number, f"it is not {_FORMS['quorum']}")
        if self.quorum is not None:
            raise _wrong(number, "there is a quorum line before it")
        if words[0] != NONE:
            self._require_defined(number, words[0])
        self.quorum = words[0]

    def _key(self, number: int, text: str, role: int) -> Verifier | None:
        """Return a key, `None` where its type is one that this program does not know."""
        if is_unknown_type(text):
            return None
        try:
            key = parse_vkey(text)
        except UsageError as error:
            raise _wrong(number, str(error)) from None
        if key.algorithm != role:
            other = "a witness" if role == ED25519 else "a log"
            raise _wrong(number, f"the key {key.name} is that of {other}")
        if key.public_key in self._keys:
            raise _wrong(number, f"the key {key.name} stands in another line too")
        self._keys.add(key.public_key)
        return key

    def _require_new(self, number: int, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise _wrong(number, f"{name} is defined already")

    def _require_defined(self, number: int, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise _wrong(number, f"no line before it defines {name!r:.100}")


def _wrong(number: int, what: str) -> UsageError:
    return UsageError(
        f"Line {number} of the trust policy is wrong: {what}.",
        next_step="the form is C2SP tlog-policy; docs/gate.md",
    )

"""What a hand-over is made of: the names of its files, and what it states of itself. Source: docs/handover.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Protocol

from run_evidence.evidence.profile import HELD

SCHEMA: Final = "run_evidence_handover_v1"
PREDICATE: Final = "urn:run-evidence-ledger:handover:v1"

README: Final = "README.md"
INDEX: Final = "index.json"
EVIDENCE: Final = "evidence.json"
STATEMENT: Final = "statement.intoto.json"
POLICY: Final = "policy"
CHECKPOINT: Final = "checkpoint"
PROOF: Final = "handover.proof"
REPORTS: Final = "run_report"
SUPERSEDED: Final = "superseded"

SIGNED_OFF: Final = "delivery.signed_off.v1"
"""The event in which a person lets a delivery proceed, or holds it."""

PROVED_OTHERWISE: Final = (CHECKPOINT, INDEX, PROOF)
"""Files that the index cannot list: the proof is behind the index, under the checkpoint."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What a hand-over states. The log records it with the digest of the index, which states it too.

    `to` is the recipient, where one was named. `as_of_size` is how many entries the evidence was derived from.
    """

    product: str
    partition: str
    contract: str
    run_id: str
    final: bool
    status: str
    decision: str
    evidence_sha256: str
    as_of_size: int
    to: str | None = None

    def members(self) -> dict[str, Any]:
        """Return it as members of a JSON object; a recipient that was not named is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class MayHold(Protocol):
    """A person's decision on a delivery."""

    @property
    def holds(self) -> bool:
        """Whether it holds the delivery back."""


def decision_in_force(decision: str, sign_off: MayHold | None) -> str:
    """Return the decision that counts: `hold` where a person holds the delivery, else that of the evidence."""
    return HELD if sign_off is not None and sign_off.holds else decision


STATED: Final = tuple(field.name for field in fields(Stated))


def read_stated(members: Mapping[str, Any]) -> Stated:
    """Read what `Stated.members` wrote, among others. Raises: ValueError naming the member that is not so."""
    values = {name: members.get(name) for name in STATED}
    kinds: dict[str, type] = {"final": bool, "as_of_size": int}
    for name, value in values.items():
        if type(value) is not kinds.get(name, str) and not (name == "to" and value is None):
            raise ValueError(name)
    return Stated(**values)  # type: ignore[arg-type] # each was just seen to be of its kind


@dataclass(frozen=True, slots=True)
class SignedOff:
    """Who decided what on the delivery, when (RFC 3339) and why, and which entry of the log says so."""

    entry: int
    decision: str
    actor: str
    reason: str
    signed_at: str

    @property
    def holds(self) -> bool:
        """Whether a person holds the delivery back, whatever the evidence says."""
        return self.decision == HELD

    @property
    def sentence(self) -> str:
        """Say who decided what, when and why, in the words of the gate."""
        return f"{self.decision} by {self.actor} at {self.signed_at} (at index {self.entry}): {self.reason}"


def statement_of(stated: Stated, evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Return the in-toto statement: of which run and partition the evidence file is, and every value in it.

    Source: in-toto Attestation Framework, Statement v1.
    """
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": EVIDENCE, "digest": {"sha256": stated.evidence_sha256}}],
        "predicateType": PREDICATE,
        "predicate": {**stated.members(), "evidence": dict(evidence)},
    }

"""The gate's answer: to a person on a terminal, and to a program as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from run_evidence.evidence.document import Document, timestamp
from run_evidence.evidence.terminal import wrapped_table
from run_evidence.ledger.terminal import printable, styled

if TYPE_CHECKING:
    from run_evidence.evidence.gate import Gate, Mark, Rule

_MARKS: Final[Mapping[Mark, str]] = {
    "met": "✓ met",
    "not_met": "✗ not met",
    "not_asked": "– not asked",
    "overridden": "! overridden",
}
_STYLES: Final[Mapping[Mark, str]] = {"met": "green", "not_met": "red", "not_asked": "dim", "overridden": "yellow"}


def format_gate(gate: Gate, width: int | None) -> list[str]:
    """Return the lines of the answer: the rules in a table, the verdict last; a mark says it without colour."""
    rows = [[_MARKS[rule.mark], rule.name, rule.wanted, _got(rule.got, rule.failing)] for rule in gate.rules]
    styles = [_STYLES[rule.mark] for rule in gate.rules]
    body = wrapped_table(["", "rule", "wanted", "got"], rows, styles, width)
    return [*body, "", styled(printable(gate.sentence), "green" if gate.met else "red")]


def _got(got: str, failing: tuple[str, ...]) -> str:
    """Return what there is, and how many cases more there are than it names."""
    return f"{got} (and {len(failing) - 1} more)" if len(failing) > 1 and got == failing[0] else got


def rules_json(rules: Sequence[Rule]) -> list[Document]:
    """Return each rule for a program, the fulfilled ones too."""
    return [
        {"rule": r.name, "mark": r.mark, "wanted": r.wanted, "got": r.got, "failing": list(r.failing)}
        for r in rules
    ]


def gate_json(gate: Gate) -> Document:
    """Return the answer for a program: the verdict, each rule, and what was judged under which checkpoint."""
    subject, head = gate.subject, gate.head
    asked = subject.asked
    return {
        "met": gate.met,
        "sentence": gate.sentence,
        "asked": {
            "product": asked.product,
            "partition": asked.partition,
            "run_id": asked.run_id,
            "release_id": asked.release_id,
            "require": gate.required,
        },
        "rules": rules_json(gate.rules),
        "parts": [
            {
                "run_id": part.facts.row.run_id,
                "product": part.delivery.asset_key if part.delivery else None,
                "partition": (part.delivery.partition or None) if part.delivery else None,
                "verdict": part.verdict.verdict,
                "denominators": part.verdict.denominators.sentence,
                "decision": part.decision,
            }
            for part in subject.parts
        ],
        "sign_offs": [
            {
                "event_id": found.event_id,
                "index": found.index,
                "product": found.said["product"],
                "partition": found.said.get("partition") or None,
                "run_id": found.said["run_id"],
                "decision": found.decision,
                "actor": found.actor,
                "reason": found.said["reason"],
                "signed_at": timestamp(found.signed_at),
                "evidence_decision": found.said["evidence_decision"],
                "basis_sha256": found.said["basis_sha256"],
                "lapsed": found.lapsed,
            }
            for _, found in gate.signed_off
            if found is not None
        ],
        "replaced_runs": dict(subject.replaced),
        "checkpoint": None
        if head is None
        else {
            "origin": head.checkpoint.origin,
            "size": head.checkpoint.size,
            "root_sha256": head.checkpoint.root.hex(),
        },
    }

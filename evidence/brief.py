"""A run's verdict in the few words that another program's screen has room for: a tag, a badge, a note.

Nothing here is new: verdict, decision and reasons are those of the documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from run_evidence.evidence.delivery import Delivery, by_profile, deliveries
from run_evidence.evidence.facts import read_sound_runs
from run_evidence.evidence.files import WrittenDocuments
from run_evidence.evidence.gate import declared_for, gate_within, judge_gate
from run_evidence.evidence.gate_policy import GatePolicy
from run_evidence.evidence.gate_policy_file import read_gate_policy
from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.page.making import make_page, write_page
from run_evidence.evidence.prefix import open_prefix
from run_evidence.evidence.profile import DRY_RUN_ONLY, HELD, HOLD
from run_evidence.evidence.profile_history import Profiles, read_profiles
from run_evidence.evidence.sign_off import Decided, read_decided
from run_evidence.evidence.verdict import LEFT_OUT

if TYPE_CHECKING:
    from run_evidence.evidence.facts import JudgedRun
    from run_evidence.ledger import Ledger, Outcome


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An asset that a run planned and left out, and why."""

    asset_key: str
    partition: str | None
    outcome: str
    reason_code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """A run's verdict, and its decision where it delivers something by a profile.

    Of several decisions it is the one that holds back most, `hold` where a person holds one. `left_out` is empty
    for a run that delivers nothing. `ended_at` in microseconds, `None` while the run is open.
    """

    run_id: str
    final: bool
    ended_at: int | None
    verdict: str
    decision: str | None
    left_out: tuple[LeftOut, ...]


def read_briefs(ledger: Ledger, run_ids: Sequence[str]) -> tuple[dict[str, Brief], dict[str, str]]:
    """Return these runs' verdicts as of now, by the ledger's profiles; for others the reason why there is none.

    A run that the ledger does not know is in neither. Raises: what `open_prefix` raises.
    """
    with open_prefix(ledger) as prefix:
        profiles = read_profiles(ledger, prefix.snapshot)
        found, damaged = read_sound_runs(prefix, run_ids)
        decided = read_decided(prefix, found, profiles)
        return {run_id: _brief(facts, profiles, decided[run_id]) for run_id, facts in found.items()}, damaged


def _brief(facts: JudgedRun, profiles: Profiles, decided: Sequence[Decided]) -> Brief:
    holding = profiles.of_run(facts.row)
    held = any(each.in_force == HELD for each in decided)
    return Brief(
        run_id=facts.row.run_id,
        final=facts.final,
        ended_at=facts.row.ended_at,
        verdict=facts.verdict.verdict,
        decision=HELD if held else _worst(deliveries(facts, *holding)),
        left_out=tuple(_left_out(by_profile(facts, *holding))) if decided and facts.final else (),
    )


def _worst(delivered: Iterable[Delivery]) -> str | None:
    """Return the decision that holds back most, `None` where nothing is delivered."""
    ranked = ((each.profile.decisions.index(each.decision), each.decision) for each in delivered)
    return max(ranked, default=(0, None))[1]


def _left_out(outcomes: Iterable[Outcome]) -> Iterator[LeftOut]:
    for outcome in outcomes:
        item = outcome.item
        if outcome.planned and item.kind not in {"check", "dependency"} and outcome.verdict in LEFT_OUT:
            code = outcome.reason_code or outcome.outcome
            yield LeftOut(item.asset_key, item.partition, outcome.outcome, code, outcome.reason or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """Whether a run's delivery is fit, for a light that is green or not. `sentence` is the gate's.

    `fit`: the gate is met, and every verdict is passed. `grave`: it would not be met either if a person's review
    were enough. `partitions` are those delivered; `ended_at` in microseconds, `None` while the run goes on.
    """

    fit: bool
    grave: bool
    sentence: str
    verdict: str
    reason_code: str | None
    decision: str
    partitions: tuple[str, ...]
    ended_at: int | None


def read_badge(ledger: Ledger, run_id: str, profiles: Profiles, policy: str | Path | None = None) -> Badge | None:
    """Ask the gate about a run, by a policy file as for `ledger gate`; `None` where it has no part in a delivery.

    Raises: UsageError when the ledger does not know the run; what `ask_gate` raises.
    """
    rules = read_gate_policy(Path(policy)) if policy else GatePolicy()
    declared = declared_for(rules, profiles)
    with open_prefix(ledger, also=declared.views) as prefix:
        gate = gate_within(prefix, Asked(run_id=run_id), rules, rules.require, profiles, declared)
        delivered = [part.delivery for part in gate.subject.parts if part.delivery]
        if not delivered:
            return None
        lenient = gate.met or judge_gate(prefix, gate.subject, rules, DRY_RUN_ONLY, declared).met
    facts = gate.subject.runs[0]
    return Badge(
        fit=gate.met and all(part.verdict.verdict == "passed" for part in gate.subject.parts),
        grave=not lenient,
        sentence=gate.sentence,
        verdict=facts.verdict.verdict,
        reason_code=facts.verdict.reason_code,
        decision=_worst(delivered) or HOLD,
        partitions=tuple(dict.fromkeys(each.partition for each in delivered)),
        ended_at=facts.row.ended_at,
    )


def write_run_page(ledger: Ledger, written: WrittenDocuments, profiles: Profiles) -> Path:
    """Write the page of a run beside its final documents, once: the same documents have the same page.

    Raises: what `make_page` and `write_page` raise.
    """
    target = written.report.parents[1] / "pages" / f"{written.report.stem}.html"
    if not target.exists():
        write_page(ledger, make_page(ledger, Asked(run_id=written.run_id), profiles), target)
    return target

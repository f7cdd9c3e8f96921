"""The gate: whether anybody may build on a partition, a run or a release, rule by rule.

A pure function of what the ledger holds and of a policy. Every rule is shown with what it wants and what there is,
the fulfilled ones too; what compared nothing is not met.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

from run_evidence.evidence.contradictions import (
    NOTHING_DECLARED,
    Contradiction,
    Declared,
    declared_by,
    find_contradictions,
)
from run_evidence.evidence.corrections import Correction, corrections_of
from run_evidence.evidence.data_changes import DataChange, read_changes
from run_evidence.evidence.gate_policy import RULES, GatePolicy, required_decision
from run_evidence.evidence.gate_subject import SHORT_ID, Asked, Part, Subject, read_subject
from run_evidence.evidence.prefix import open_prefix, resolve_run
from run_evidence.evidence.profile import HOLDING_BACK, PROCEED
from run_evidence.evidence.profile_history import NO_PROFILES, Profiles
from run_evidence.evidence.sign_off import SignOff, sign_offs_of
from run_evidence.evidence.signing import read_signing
from run_evidence.evidence.words import counted, listed
from run_evidence.ledger import (
    IntegrityError,
    PolicySigners,
    checkpoint_sizes,
    read_checkpoint,
    read_records,
    require_included,
    vouched,
)

if TYPE_CHECKING:
    from run_evidence.evidence.facts import JudgedRun
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.ledger import Ledger, StoredCheckpoint

Mark = Literal["met", "not_met", "not_asked", "overridden"]
NOTHING: Final = "nothing to judge: 0 of 0"
_NAMED: Final = 3
_SENTENCE_CHARS: Final = 200
_HEADS_LOOKED_AT: Final = 16
_ACCEPTED: Final[Mapping[bool, tuple[str, ...]]] = {
    True: ("passed",),
    False: ("passed", "warned", "skipped", "not_available"),
}
"""The verdicts that do, by whether the strictest decision is required."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it wants, what there is, and how that compares. `failing` has every case that fails."""

    name: str
    mark: Mark
    wanted: str
    got: str
    failing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """The answer: every rule, and the checkpoint under which the evidence lies (`None` where none covers it)."""

    subject: Subject
    required: str
    rules: tuple[Rule, ...]
    head: StoredCheckpoint | None
    signed_off: tuple[tuple[Part, SignOff | None], ...] = ()

    @property
    def met(self) -> bool:
        """Whether every rule that is asked is met."""
        return bool(self.subject.parts) and all(rule.mark != "not_met" for rule in self.rules)

    @property
    def sentence(self) -> str:
        """Say it in one line."""
        named = self.subject.asked.named
        if self.met:
            words = "; ".join(dict.fromkeys(part.verdict.denominators.sentence for part in self.subject.parts))
            short = words if len(words) <= _SENTENCE_CHARS else counted(len(self.subject.parts), "part")
            if set_aside := [rule.name for rule in self.rules if rule.mark == "overridden"]:
                by = listed(sorted({each.actor for _, each in self.signed_off if each is not None}))
                return f"MET: {named}, {listed(set_aside)} overridden by {by} ({short})"
            return f"MET: {named} ({short})"
        failing = [rule for rule in self.rules if rule.mark == "not_met"]
        asked = sum(rule.mark != "not_asked" for rule in self.rules)
        first = failing[0]
        got = first.got if len(first.got) <= _SENTENCE_CHARS else f"{first.got[:_SENTENCE_CHARS]}…"
        return f"NOT MET: {named}, {len(failing)} of {counted(asked, 'rule')}; {first.name}: {got}"


def ask_gate(
    ledger: Ledger,
    asked: Asked,
    policy: GatePolicy,
    profiles: Profiles = NO_PROFILES,
    require: str | None = None,
) -> Gate:
    """Ask whether to build on what `asked` names. A run may be named by the start of its id. Nothing is written.

    It is judged by the `profiles` that hold for its runs. `require` goes before what the policy requires.

    Raises: UsageError for a question that is none; what `judge_gate` raises.
    """
    asked.require_one()
    with open_prefix(ledger) as prefix:
        return ask_within(prefix, asked, policy, profiles, require)


def ask_within(
    prefix: Prefix, asked: Asked, policy: GatePolicy, profiles: Profiles, require: str | None = None
) -> Gate:
    """Answer what `ask_gate` is asked within a prefix that is open. Raises: as `ask_gate`."""
    required = required_decision(require, policy, profiles.every)
    declared = declared_for(policy, profiles)
    prefix.snapshot.add_views(declared.views)
    return gate_within(prefix, asked, policy, required, profiles, declared)


def declared_for(policy: GatePolicy, profiles: Profiles) -> Declared:
    """Return the names of metadata that are counts, by a policy and, where it says nothing, by the profiles."""
    return declared_by(*profiles.latest, read=policy.rows_read, written=policy.rows_written)


def gate_within(
    prefix: Prefix, asked: Asked, policy: GatePolicy, required: str, profiles: Profiles, declared: Declared
) -> Gate:
    """Answer what `ask_gate` is asked, within a prefix that is open with the views that `declared` names.

    Raises: UsageError for a run or a product that there is not; what `judge_gate` raises.
    """
    if asked.run_id is not None:
        asked = Asked(run_id=resolve_run(prefix, asked.run_id))
    return judge_gate(prefix, read_subject(prefix, asked, profiles), policy, required, declared)


def judge_gate(
    prefix: Prefix, subject: Subject, policy: GatePolicy, required: str, declared: Declared = NOTHING_DECLARED
) -> Gate:
    """Hold a subject against a policy; `declared` are the names of metadata that are counts.

    Raises: IntegrityError when a signature by a trusted key is wrong, or an entry that it rests on does not lie
    under the checkpoint: what was altered is no verdict.
    """
    reading = _Reading(prefix, subject, policy, required, declared)
    rules = reading.overridden([reading.rule(name) for name in RULES])
    return Gate(subject, required, rules, reading.head, reading.signed_off)


@dataclass(slots=True)
class _Reading:
    prefix: Prefix
    subject: Subject
    policy: GatePolicy
    required: str
    declared: Declared
    head: StoredCheckpoint | None = field(default=None, init=False)
    vouched: PolicySigners = field(default_factory=PolicySigners, init=False)
    signed_off: tuple[tuple[Part, SignOff | None], ...] = field(init=False)

    def __post_init__(self) -> None:
        self.signed_off = tuple(sign_offs_of(self.prefix, self.subject))

    def rule(self, name: str) -> Rule:
        """Return the rule of this name as it stands; one that is off as not asked."""
        found: Rule = getattr(self, f"_{name}")()
        return Rule(name, "not_asked", found.wanted, found.got) if name in self.policy.off else found

    def overridden(self, rules: Sequence[Rule]) -> tuple[Rule, ...]:
        """Return the rules, those marked as overridden that the policy lets a person override and somebody did."""
        by = [found for part, found in self.signed_off if found is not None and not self._refused(part, found)]
        if not by or len(by) < len(self.signed_off):
            return tuple(rules)
        words = listed(sorted({found.actor for found in by}))
        return tuple(
            replace(rule, mark="overridden", got=f"{rule.got}; overridden by {words}")
            if rule.mark == "not_met" and rule.name in self.policy.override
            else rule
            for rule in rules
        )

    def _refused(self, part: Part, found: SignOff | None) -> str | None:
        """Say why no sign-off lets a delivery proceed, if none does."""
        if found is None:
            return f"{part.name}: nobody signed it off"
        if found.lapsed or found.decision != PROCEED:
            return f"{part.name}: {found.sentence}"
        if self.policy.actors and found.actor not in self.policy.actors:
            return f"{part.name}: {found.sentence}, and {found.actor} is none of {listed(self.policy.actors)}"
        return None

    def _sign_off(self) -> Rule:
        refused = [why for part, found in self.signed_off if (why := self._refused(part, found))]
        holding = [
            f"{part.name}: {found.sentence}"
            for part, found in self.signed_off
            if found is not None and not found.lapsed and found.decision != PROCEED
        ]
        there = [found.sentence for _, found in self.signed_off if found is not None]
        got = "; ".join(there[:_NAMED]) or "nobody signed it off"
        if self.policy.sign_off:
            by = f" by {' or '.join(self.policy.actors)}" if self.policy.actors else ""
            got = _of_findings(refused) if refused else got
            failing = refused or self._nothing(self.signed_off)
            got = got if self.signed_off else NOTHING
            return _stands("sign_off", f"each delivery signed off to proceed{by}", got, failing)
        if holding or (there and not refused):
            return _stands("sign_off", "nobody holds it", holding[0] if holding else got, holding)
        return Rule("sign_off", "not_asked", "nobody holds it", got)

    def _runs(self) -> Rule:
        count = len(self.subject.runs)
        replaced = len(self.subject.replaced)
        beside = f"; {counted(replaced, 'earlier run')} in whose place a later one counts" if replaced else ""
        wanted = "at least one that set out to make it" if self.subject.asked.product else "at least one"
        got = f"{counted(count, 'run')}{beside}" if count else "none: 0 of 0 is nothing"
        return _stands("runs", wanted, got, [] if count else [got])

    def _closed(self) -> Rule:
        unclosed = [f"run {run_id[:SHORT_ID]} is open" for run_id in self.subject.unclosed]
        number = len(self.subject.runs) + len(self.subject.replaced)
        got = _of(number, unclosed, "closed")
        return _stands(
            "closed", "every run read whole after its end", got, unclosed or self._nothing(range(number))
        )

    def _capture(self) -> Rule:
        conflicts = dict(self.prefix.select("conflicts", run_ids=[facts.row.run_id for facts in self.subject.runs]))
        wrong = [f"the inbox: {problem}" for problem in self.prefix.snapshot.damaged]
        for facts in self.subject.runs:
            problem = _capture_problem(facts, conflicts.get(facts.row.run_id, 0))
            wrong += [f"run {facts.row.run_id[:SHORT_ID]}: {problem}"] if problem else []
        records = sum(int(f.closing.data.get("ledger_records") or 0) for f in self.subject.runs if f.closing)
        got = wrong[0] if wrong else f"{counted(records, 'record')} on both sides"
        return _stands("capture", "every record of Dagster's log, once", got, wrong or self._nothing())

    def _verdict(self) -> Rule:
        accepted = _ACCEPTED[self.required == PROCEED]
        wrong = [
            (part.name, _verdict_words(part))
            for part in self.subject.parts
            if part.verdict.verdict not in accepted or not part.verdict.denominators.counts["passed"]
        ]
        return self._of_parts("verdict", " or ".join(accepted), wrong, _verdict_words)

    def _decision(self) -> Rule:
        order = (PROCEED, *HOLDING_BACK)
        allowed = order[: order.index(self.required) + 1]
        wrong = [
            (part.name, part.decision)
            for part in self.subject.parts
            if part.decision != part.proceed and part.decision not in allowed
        ]
        if self.subject.wants_delivery and not self.subject.deliveries:
            wrong.append((self.subject.asked.named, "no part in the delivery: 0 of 0 partitions"))
        words = list(dict.fromkeys(p.proceed for p in self.subject.deliveries or self.subject.parts)) or [PROCEED]
        wanted = " or ".join([*words, *allowed[1:]])
        return self._of_parts("decision", wanted, wrong, lambda part: part.decision)

    def _newest(self) -> Rule:
        made = {(o.item.asset_key, o.item.partition) for part in self.subject.parts for o in part.made()}
        older = list(dict.fromkeys(self._older()))
        got = older[0] if older else f"{counted(len(made), 'asset')}, none changed since"
        if made or self.required == PROCEED:
            return _stands("newest", "no newer data, no wipe", got, older or self._nothing(made))
        return Rule("newest", "not_asked", "no newer data, no wipe", "nothing was made, and that is allowed")

    def _older(self) -> Iterator[str]:
        """Yield what others did to an asset since a part made it; the same moment counts.

        What another run that is judged too made is no other's.
        """
        judged = {facts.row.run_id for facts in self.subject.runs}
        made = [(part, (o.item.asset_key, o.item.partition)) for part in self.subject.parts for o in part.made()]
        changes: dict[str, list[DataChange]] = defaultdict(list)
        for change in read_changes(self.prefix, [item for _, item in made]):
            changes[change.asset_key].append(change)
        basis = {id(part): part.basis for part in self.subject.parts}
        for part, item in made:
            about = [change for change in changes[item[0]] if change.touches(*item)]
            own = [c for c in about if c.run_id == part.facts.row.run_id or c.event_id in basis[id(part)]]
            made_at = max((change.occurred_at for change in own), default=None)
            on = f"{item[0]} [{item[1]}]" if item[1] else item[0]
            for change in about:
                others = change not in own and change.run_id not in judged
                if made_at is not None and others and change.occurred_at >= made_at:
                    yield f"{on} was {change.sentence}"

    def _amended(self) -> Rule:
        basis = sorted({event_id for part in self.subject.parts for event_id in part.basis})
        wrong = [_corrected(correction) for correction in corrections_of(self.prefix, basis)]
        got = wrong[0] if wrong else f"none of {counted(len(basis), 'event')} it rests on"
        return _stands("amended", "no event it rests on was corrected", got, wrong or self._nothing(basis))

    def _contradictions(self) -> Rule:
        found = {
            contradiction.sentence: None
            for part in self.subject.parts
            for contradiction in find_contradictions(self.prefix, part.facts, part.outcomes, self.declared)
            if not self._is_allowed(contradiction)
        }
        wrong = list(found)
        compared = "" if self.declared.read and self.declared.written else "; nobody declares which counts are rows"
        got = _of_findings(wrong) if wrong else f"none{compared}"
        return _stands("contradictions", "nothing that says otherwise", got, wrong or self._nothing())

    def _is_allowed(self, found: Contradiction) -> bool:
        """Tell what was not made on purpose, where a decision is enough that allows for it."""
        allowed = self.required != PROCEED and found.outcome.verdict in _ACCEPTED[False]
        return allowed and found.kind == "never_made"

    def _sealed(self) -> Rule:
        """Choose the checkpoint, and lead every event that the verdicts rest on to its root."""
        ids = {event.event_id for facts in self.subject.runs for event in facts.events}
        basis = {event_id for part in self.subject.parts for event_id in part.basis}
        basis |= {found.event_id for _, found in self.signed_off if found is not None and not found.lapsed}
        wanted = "under a checkpoint, each entry led to its root"
        last, unsealed, found = self.prefix.select("places", event_ids=sorted(ids | basis))[0]
        missing = len(ids | basis) - found
        if last is None or unsealed or missing:
            got = f"{counted(unsealed, 'event')} not sealed; next: ledger seal" if unsealed else "nothing is sealed"
            got = f"{counted(missing, 'event')} it rests on not in the ledger" if missing else got
            return _stands("sealed", wanted, got, [got])
        self._choose_head(int(last))
        if self.head is None:
            got = f"no checkpoint covers entry {last}; next: ledger seal"
            return _stands("sealed", wanted, got, [got])
        count = require_included(self.prefix.ledger, self.prefix.snapshot, self.head.checkpoint, basis)
        got = f"{counted(count, 'entry', 'entries')} under checkpoint {self.head.checkpoint.size}"
        return _stands("sealed", wanted, got, self._nothing(basis))

    def _signed(self) -> Rule:
        trust = self.policy.trust
        if trust is not None and trust.logs:
            keys = listed([f"{key.name}+{key.key_id.hex()}" for key in trust.logs])
            by = [vkey.rsplit("+", 1)[0] for vkey in self.vouched.signed_by]
            got = f"signed by {listed(by)}" if by else f"no signature by {keys}"
            return _stands("signed", f"by {keys}", got, [] if by else [got])
        if self.head is None:
            return Rule("signed", "not_asked", "nobody's key", "no checkpoint")
        signing = read_signing(self.prefix.ledger, self.head)
        if signing.problem:
            raise IntegrityError(f"Nothing is concluded from {signing.problem}.", next_step="ledger verify")
        begun = self._signs_from()
        if begun is not None and self.head.checkpoint.size >= begun and not signing.signed_by:
            got = f"not signed, and the ledger signs since {begun} entries"
            return _stands("signed", "as the ledger signs", got, [got])
        return Rule("signed", "not_asked", "nobody's key", f"{signing.sentence}, by the ledger's own word")

    def _signs_from(self) -> int | None:
        records = read_records(self.prefix.ledger.store)
        return min((r.signed_from for r in records if r.signed_from is not None), default=None)

    def _witnessed(self) -> Rule:
        trust = self.policy.trust
        if trust is None or not trust.wants_witness:
            return Rule("witnessed", "not_asked", "no witness", "not looked at")
        by = self.vouched.cosigned_by
        got = f"cosigned by {listed(by)}" if by else "cosigned by none of them"
        return _stands("witnessed", f"by {trust.quorum_words}", got, [] if self.vouched.witnessed else [got])

    def _choose_head(self, last: int) -> None:
        """Take the newest checkpoint that covers an index and is vouched for; else the newest that covers it."""
        sealed, origin = self.prefix.snapshot.sealed, self.prefix.ledger.require()
        sizes = [s for s in checkpoint_sizes(self.prefix.ledger.store) if last < s <= sealed]
        for size in islice(sizes, _HEADS_LOOKED_AT):
            head = read_checkpoint(self.prefix.ledger.store, size)
            if head is None:
                continue
            if head.checkpoint.origin != origin:
                raise IntegrityError(
                    f"The checkpoint of {size} entries is of {head.checkpoint.origin}, and the ledger is {origin}.",
                    next_step="ledger verify",
                )
            by = vouched(head, self.policy.trust) if self.policy.trust else PolicySigners(witnessed=True)
            if self.head is None:
                self.head, self.vouched = head, by
            trust = self.policy.trust
            if trust is None or (by.witnessed and (by.signed_by or not trust.logs)):
                self.head, self.vouched = head, by
                return

    def _of_parts(
        self, name: str, wanted: str, wrong: Sequence[tuple[str, str]], words: Callable[[Part], str]
    ) -> Rule:
        """Return a rule that each part has to fulfil; `wrong` are those that do not, by name, and what they are."""
        parts = self.subject.parts
        failing = [f"{of}: {what}" for of, what in wrong] or self._nothing()
        if not parts:
            return _stands(name, wanted, NOTHING, failing)
        if len(parts) == 1 and len(wrong) < 2:
            return _stands(name, wanted, wrong[0][1] if wrong else words(parts[0]), failing)
        short = [f"{of}: {what.partition(' (')[0]}" for of, what in wrong]
        return _stands(name, wanted, _of(len(parts), short, "so"), failing)

    def _nothing(self, found: Collection[object] | None = None) -> list[str]:
        """Return why a comparison of nothing is not met; none where there is something."""
        there = self.subject.parts if found is None else found
        return [] if there else [NOTHING]


def _stands(name: str, wanted: str, got: str, failing: Iterable[str]) -> Rule:
    found = tuple(failing)
    return Rule(name, "not_met" if found else "met", wanted, got, found)


def _of(number: int, wrong: Sequence[str], word: str) -> str:
    """Say how many of a number are as they should be, and name the first that are not."""
    more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
    named = f"; {'; '.join(wrong[:_NAMED])}{more}" if wrong else ""
    return f"{max(number - len(wrong), 0)} of {number} {word}{named}"


def _of_findings(found: Sequence[str]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{'; '.join(found[:_NAMED])}{more}"


def _verdict_words(part: Part) -> str:
    verdict = part.verdict
    because = f" ({verdict.reason_code}: {verdict.reason})" if verdict.reason else ""
    return f"{verdict.verdict}: {verdict.denominators.sentence}{because}"


def _corrected(correction: Correction) -> str:
    return f"event {correction.target_event_id} {correction.sentence}"


def _capture_problem(facts: JudgedRun, conflicts: int) -> str | None:
    """Say why it is not sure that all of a run's log was captured as it stands there."""
    if facts.closing is None:
        return "it was never read whole"
    if conflicts:
        return f"{counted(conflicts, 'record')} changed at their source since"
    said = facts.closing.data
    theirs, ours, unread = (said.get(f"{which}_records") for which in ("dagster", "ledger", "unreadable"))
    if not isinstance(theirs, int) or theirs != ours:
        return f"Dagster's log had {theirs} records, the ledger {ours}"
    return f"{unread} records could not be read" if unread != 0 else None

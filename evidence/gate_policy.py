"""The policy of a gate: what has to hold before anybody builds on a run, and whom one trusts to say so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from run_evidence.evidence.profile import DRY_RUN_ONLY, HOLD, PROCEED, REVIEW, DeliveryProfile
from run_evidence.ledger import TrustPolicy, UsageError

REQUIRABLE: Final = (PROCEED, REVIEW, DRY_RUN_ONLY)
"""What can be required, the strictest first: this decision, or a freer one."""

RULES: Final = (
    *("runs", "closed", "capture", "verdict", "decision", "newest", "amended"),
    *("contradictions",),
    *("sealed", "signed", "witnessed", "sign_off"),
)
"""Every rule, in the order in which they are shown."""

MAY_BE_OFF: Final = ("capture", "newest", "amended", "contradictions")
"""The rules that a policy may leave out. The others decide what an answer is worth at all."""

MAY_BE_OVERRIDDEN: Final = ("verdict", "decision", "amended", "contradictions")
"""The rules that a policy may let a person override. What is not closed, captured, newest or proved stays so."""

NEXT: Final = "correct the policy; docs/gate.md says what each member means"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """What a gate asks.

    `require`: the decision that has to be reached, or a freer one: `proceed`, `manual_review_required` or
    `dry_run_only`.

    `off`: rules that are not asked, of `MAY_BE_OFF`.

    `rows_read`, `rows_written`: the names under which assets state how many rows they read and wrote, where no
    profile says it.

    `trust`: the logs whose key has to have signed the checkpoint, and the witnesses that have to have cosigned it.
    Without it nobody is asked for.

    `sign_off`: whether somebody has to have signed each delivery off, one of `actors` where there are any. Who
    holds a delivery holds it without this.

    `override`: rules that such a sign-off sets aside, of `MAY_BE_OVERRIDDEN`.
    """

    require: str = PROCEED
    off: tuple[str, ...] = ()
    rows_read: str | None = None
    rows_written: str | None = None
    trust: TrustPolicy | None = None
    sign_off: bool = False
    actors: tuple[str, ...] = ()
    override: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise UsageError(f"The gate's policy {problem}.", next_step=NEXT)

    def _problems(self) -> Iterator[str]:
        if self.require not in REQUIRABLE:
            yield f"requires {self.require!r:.100}, which is none of {', '.join(REQUIRABLE)}"
        yield from _not_among("off", self.off, MAY_BE_OFF)
        yield from _not_among("override", self.override, MAY_BE_OVERRIDDEN)
        for actor in self.actors:
            if not actor.strip():
                yield f"has {actor!r:.100} in `actors`, which names nobody"
        if self.actors and not (self.sign_off or self.override):
            yield "has `actors`, and neither `sign_off` nor `override`, so nobody would be asked who they are"


def _not_among(member: str, names: tuple[str, ...], known: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if name in RULES and name not in known:
            yield f"has {name} in `{member}`, where only {', '.join(known)} can stand"
        elif name not in known:
            yield f"has {name!r:.100} in `{member}`, which is no rule: {', '.join(known)}"


def required_decision(asked: str | None, policy: GatePolicy, profiles: Sequence[DeliveryProfile]) -> str:
    """Return what is required: what somebody asks for, else what the policy does. A profile's word will do too.

    Raises: UsageError for any other word.
    """
    if asked is None:
        return policy.require
    if asked in REQUIRABLE:
        return asked
    proceeding = dict.fromkeys(profile.proceed for profile in profiles)
    if asked in proceeding:
        return PROCEED
    words = ", ".join((*REQUIRABLE, *proceeding))
    why = f"{HOLD} holds everything back" if asked == HOLD else f"it is none of {words}"
    raise UsageError(f"--require {asked!r:.100} cannot be required: {why}.", next_step=f"--require {PROCEED}")

"""Sign-off: who decided to proceed with a delivery or to hold it, when, why, and on what evidence.

It is an event of the ledger's own about one delivery: this run's part in this partition of this product, with the
digest of all that its decision rests on. What changes that (a newer run, a correction, late records, newer data)
changes the digest, and the sign-off lapses: it was made on something else. Where the evidence says hold, that
stands, unless the policy of a gate lets a person override a rule, and then it is shown as that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from run_evidence.evidence.corrections import corrections_of
from run_evidence.evidence.data_changes import read_changes
from run_evidence.evidence.delivery import Delivery, deliveries
from run_evidence.evidence.document import timestamp
from run_evidence.evidence.facts import read_events_by_id
from run_evidence.evidence.gate_subject import Asked, Part, Subject, read_subject
from run_evidence.evidence.handover_form import SIGNED_OFF, decision_in_force
from run_evidence.evidence.prefix import sealed_prefix
from run_evidence.evidence.profile import HELD, PROCEED
from run_evidence.evidence.profile_history import NO_PROFILES, Profiles
from run_evidence.ledger import (
    Event,
    IntegrityError,
    Json,
    UsageError,
    calculated_checkpoint,
    canonical,
    encode,
    read_checkpoint,
)

if TYPE_CHECKING:
    from run_evidence.evidence.facts import JudgedRun
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.ledger import Ledger

DECISIONS: Final = (PROCEED, HELD)
SIGN_OFF_QUERIES: Final = ("amendments_of", "data_changes", "events_by_id", "sign_offs")
"""The queries a sign-off is read with (`sql/`)."""

_MAX_CHARS: Final = 2_000
_TEXTS: Final = ("product", "run_id", "decision", "actor", "reason", "basis_sha256", "evidence_decision")


@dataclass(frozen=True, slots=True)
class SignOff:
    """A sign-off as recorded, and what became of it: `lapsed` says why it does not hold any more.

    `index` is `None` while it is unsealed; `signed_at` in microseconds. `said` are the event's data.
    """

    index: int | None
    event_id: str
    signed_at: int
    said: Mapping[str, Any]
    lapsed: str | None = None

    @property
    def decision(self) -> str:
        """What was decided: proceed or hold."""
        return str(self.said["decision"])

    @property
    def actor(self) -> str:
        """Who decided it, as they said."""
        return str(self.said["actor"])

    @property
    def holds(self) -> bool:
        """Whether it holds the delivery back now, whatever the evidence says."""
        return self.decision == HELD and self.lapsed is None

    @property
    def sentence(self) -> str:
        """Say who decided what, when and why, and whether it holds."""
        where = "not sealed" if self.index is None else f"at index {self.index}"
        told = f"{self.decision} by {self.actor} at {timestamp(self.signed_at)} ({where}): {self.said['reason']}"
        return f"{told}; lapsed: {self.lapsed}" if self.lapsed else told


def decision_basis(prefix: Prefix, delivery: Delivery) -> dict[str, Json]:
    """Return all that the decision on a delivery rests on; the digest of its canonical form stands for it."""
    facts, outcomes = delivery.facts, delivery.outcomes
    basis = sorted({event_id for o in outcomes for event_id in o.basis} | facts.derived_in)
    made = {(o.item.asset_key, o.item.partition) for o in outcomes if o.item.kind != "check"}
    of_partition = {each for each in made if each[1] is not None} or made
    changes = read_changes(prefix, of_partition)
    newest = sorted({c.event_id for c in changes if any(c.touches(*item) for item in of_partition)})
    return {
        "profile": delivery.profile.name,
        "product": delivery.asset_key,
        "partition": delivery.partition,
        "run_id": facts.row.run_id,
        "decision": delivery.decision,
        "revision": facts.row.closing,
        "reopened": facts.row.reopening,
        "outcomes": [
            [o.item.asset_key, o.item.partition, o.item.check_name, o.outcome, o.item.required, list(o.basis)]
            for o in outcomes
        ],
        "corrections": [c.event_id for c in corrections_of(prefix, basis)],
        "data_changes": list[Json](newest),
    }


def sign_off(
    ledger: Ledger,
    asked: Asked,
    *,
    actor: str,
    decision: str,
    reason: str,
    profiles: Profiles = NO_PROFILES,
) -> tuple[str, Part]:
    """Record a sign-off of a delivery as it stands, sealed now; return its event id, and what was signed.

    Raises: UsageError when there is no such delivery, its run is not closed, or decision, actor or reason is none.
    """
    if decision not in DECISIONS:
        raise UsageError(f"{decision!r:.100} is no decision.", next_step=f"--decision {' or '.join(DECISIONS)}")
    for name, text in (("actor", actor), ("reason", reason)):
        if not text.strip() or len(text) > _MAX_CHARS:
            raise UsageError(
                f"A sign-off names who makes it and why, each in at most {_MAX_CHARS} characters.",
                next_step=f"--{name} TEXT",
            )
    with sealed_prefix(ledger) as prefix:
        part = _one_delivery(prefix, asked, profiles)
        head = prefix.head
        if head is None or part.delivery is None:
            raise UsageError("No checkpoint covers the delivery.", next_step="ledger seal")
        basis = decision_basis(prefix, part.delivery)
    data: dict[str, Json] = {
        **_about(basis),
        "decision": decision,
        "actor": actor,
        "reason": reason,
        "checkpoint": {"origin": head.origin, "size": head.size, "root_sha256": head.root.hex()},
    }
    event = ledger.redacted(
        Event(
            event_type=SIGNED_OFF,
            occurred_at=ledger.clock(),
            asset_key=asked.product,
            partition=asked.partition,
            data=data,
        )
    )
    ledger.append([event])
    return encode(event, event.occurred_at).event_id, part


def _one_delivery(prefix: Prefix, asked: Asked, profiles: Profiles) -> Part:
    subject = read_subject(prefix, asked, profiles)
    for run_id in subject.unclosed:
        raise UsageError(
            f"Run {run_id} is open, so {asked.named} has no verdict yet.",
            next_step="ledger sync, when it has ended",
        )
    if not subject.parts:
        raise UsageError(f"No run set out to make {asked.named}.", next_step="ledger runs lists the runs")
    return subject.parts[0]


def _about(basis: Mapping[str, Json]) -> dict[str, Json]:
    """Return what a sign-off says of the delivery it was made on."""
    return {
        "profile": basis["profile"],
        "product": basis["product"],
        "partition": basis["partition"],
        "run_id": basis["run_id"],
        "revision": basis["revision"],
        "evidence_decision": basis["decision"],
        "basis_sha256": _digest(basis),
        "corrections_sha256": _digest({"corrections": basis["corrections"]}),
        "data_sha256": _digest({"data_changes": basis["data_changes"]}),
    }


def _digest(value: Mapping[str, Json]) -> str:
    return hashlib.sha256(canonical(dict(value))).hexdigest()


def read_sign_offs(prefix: Prefix, deliveries: Sequence[Delivery]) -> list[SignOff | None]:
    """Return for each delivery the sign-off that was made last of its product and partition; `None` without any.

    One that is malformed, or refers to a checkpoint that is none of this log's, is passed over. The last one counts
    also where it lapsed: an older one does not hold again.
    """
    keys = sorted({delivery.asset_key for delivery in deliveries})
    rows = prefix.select("sign_offs", asset_keys=keys) if keys else []
    if not rows:
        return [None] * len(deliveries)
    events = read_events_by_id(prefix, [event_id for _, event_id, *_ in rows])
    every = [SignOff(index, event_id, at, events[event_id].data) for index, event_id, at, _ in rows]
    sound = [each for each in every if _is_sound(prefix, each)]
    return [_last_of(prefix, delivery, sound) for delivery in deliveries]


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision of the evidence on a partition, and the one in force: `hold` where a person holds it."""

    partition: str
    decision: str
    in_force: str


def read_decided(
    prefix: Prefix, runs: Mapping[str, JudgedRun], profiles: Profiles
) -> dict[str, tuple[Decided, ...]]:
    """Return what is decided on the partitions that each run delivers by the profiles that hold for it."""
    of_run = {run_id: deliveries(facts, *profiles.of_run(facts.row)) for run_id, facts in runs.items()}
    every = [delivery for found in of_run.values() for delivery in found]
    signed_off = iter(read_sign_offs(prefix, every))
    return {
        run_id: tuple(
            Decided(each.partition, each.decision, decision_in_force(each.decision, next(signed_off)))
            for each in found
        )
        for run_id, found in of_run.items()
    }


def _is_sound(prefix: Prefix, found: SignOff) -> bool:
    """Tell whether a sign-off says what one says, of a checkpoint of this log that was there before it."""
    said, head = found.said, found.said.get("checkpoint")
    texts = all(isinstance(said.get(name), str) and said[name] for name in _TEXTS)
    if not texts or said["decision"] not in DECISIONS or not isinstance(head, Mapping):
        return False
    size = head.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= prefix.snapshot.log.size:
        return False
    if found.index is not None and found.index < size:
        return False
    stored = read_checkpoint(prefix.ledger.store, size)
    try:
        of_log = stored.checkpoint if stored else calculated_checkpoint(prefix.ledger, prefix.snapshot.log, size)
    except IntegrityError:
        return False
    return (head.get("origin"), head.get("root_sha256")) == (of_log.origin, of_log.root.hex())


def _last_of(prefix: Prefix, delivery: Delivery, every: Sequence[SignOff]) -> SignOff | None:
    about = (delivery.asset_key, delivery.partition)
    of_delivery = [each for each in every if (each.said["product"], each.said.get("partition")) == about]
    if not of_delivery:
        return None
    last = of_delivery[-1]
    now = _about(decision_basis(prefix, delivery))
    return SignOff(last.index, last.event_id, last.signed_at, last.said, _why_lapsed(last.said, now))


def _why_lapsed(then: Mapping[str, Any], now: Mapping[str, Json]) -> str | None:
    """Say why a sign-off does not hold: the delivery is another one, or rests on something else."""
    if all(then.get(name) == value for name, value in now.items()):
        return None
    for name, why in (
        ("profile", f"it was made by the profile {then.get('profile')}, this is {now['profile']}"),
        ("run_id", f"run {now['run_id']} delivers it since"),
        ("corrections_sha256", "its evidence was corrected since"),
        ("data_sha256", "its data changed since"),
        ("revision", "late records came since"),
    ):
        if then.get(name) != now[name]:
            return why
    return "what its decision rests on changed since"


def sign_offs_of(prefix: Prefix, subject: Subject) -> list[tuple[Part, SignOff | None]]:
    """Return each delivery of a subject with the sign-off that was made of it last."""
    parts = subject.deliveries
    found = read_sign_offs(prefix, [part.delivery for part in parts if part.delivery is not None])
    return list(zip(parts, found, strict=True))

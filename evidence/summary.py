"""The delivery summary: what a person reads at hand-over, derived from the ledger over a set of runs.

For each partition the latest run counts. Every number stands with its denominator, what was left out is
named with its reason, and the last lines say what it was derived from and how to verify that.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from run_evidence.evidence.delivery import Delivery, deliveries, measured
from run_evidence.evidence.document import timestamp
from run_evidence.evidence.facts import QUERIES, JudgedRun, RunRow, read_plans_beside, read_rows, read_sound_runs
from run_evidence.evidence.handover_form import decision_in_force
from run_evidence.evidence.markdown import code, table, text
from run_evidence.evidence.prefix import query_digests
from run_evidence.evidence.profile import DRY_RUN_ONLY, HELD, HOLD, REVIEW, DeliveryProfile, Field
from run_evidence.evidence.profile_data import profile_digest
from run_evidence.evidence.profile_history import ProfileHistory, history_of
from run_evidence.evidence.provenance import read_from
from run_evidence.evidence.report import made_when
from run_evidence.evidence.sign_off import SIGN_OFF_QUERIES, read_sign_offs
from run_evidence.evidence.verdict import RunVerdict, item_name
from run_evidence.evidence.words import counted, listed

if TYPE_CHECKING:
    from run_evidence.evidence.corrections import Correction
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.ledger import Outcome

_PROCEED: Final = ("may proceed", "may proceed")
_HELD_BACK: Final[Mapping[str, tuple[str, str]]] = {
    REVIEW: ("needs a person's review", "need a person's review"),
    DRY_RUN_ONLY: ("was a dry run", "were dry runs"),
    HOLD: ("is held back", "are held back"),
    HELD: ("is held by a person", "are held by a person"),
}
"""The decisions in the order in which they are counted, and what they say of one partition and of several."""


@dataclass(frozen=True, slots=True)
class LatestDelivery:
    """A partition's latest delivery, and the runs that planned the partition, the one that counts last."""

    delivery: Delivery
    run_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DamagedRun:
    """A run that cannot be read, why, and the partitions that it is the latest run of: none where nobody knows."""

    run_id: str
    problem: str
    partitions: tuple[str, ...]


def derive_delivery_summary(
    prefix: Prefix, profile: DeliveryProfile | ProfileHistory, run_ids: Sequence[str] | None = None
) -> str:
    """Summarise a delivery's partitions as Markdown: over all runs of the prefix, or over those named.

    Of a history of profiles each run has the one that holds for it, and the summary the words of the last. A run
    that cannot be read is named, and no earlier one takes its place.
    """
    by = history_of(profile)
    profile = by.profiles[-1]
    partitions, damaged = latest_deliveries(prefix, by, run_ids)
    signed_off = read_sign_offs(prefix, [partition.delivery for partition in partitions])
    in_force = [decision_in_force(p.delivery.decision, o) for p, o in zip(partitions, signed_off, strict=True)]
    lines = [heading(profile), "", *_opening(prefix, profile, partitions, in_force, damaged), ""]
    if partitions:
        lines += [*_overview(partitions, in_force), ""]
    for partition, found, decision in zip(partitions, signed_off, in_force, strict=True):
        delivery = partition.delivery
        lines += [f"## {code(delivery.partition)}: {code(decision)}", "", _product(delivery)]
        lines += [f"- Sign-off: {text(found.sentence)}"] if found else []
        lines += [f"- The evidence says {code(delivery.decision)}"] if decision != delivery.decision else []
        within = delivery.facts.row.partition
        lines += [*_run_section(delivery.facts, delivery.verdict, delivery.outcomes, within), ""]
    of_sign_offs = SIGN_OFF_QUERIES if any(signed_off) else ()
    queries = (*QUERIES, "planned_partitions", *(["plans_beside"] if damaged else []), *of_sign_offs)
    return "\n".join([*lines, *_closing(prefix, queries, by.profiles)])


def heading(profile: DeliveryProfile) -> str:
    """Return the line that a delivery summary begins with."""
    return f"# {text(profile.title)}"


def derive_run_summary(prefix: Prefix, facts: JudgedRun, delivered: Sequence[Delivery] = ()) -> str:
    """Summarise one run of any project as Markdown, with what it delivers."""
    row = facts.row
    lines = [f"# Run {code(row.run_id)}: {code(facts.verdict.verdict)}", ""]
    lines += [f"{_as_of(prefix)} {'Final, ' if facts.final else 'Interim: '}{made_when(facts)}.", ""]
    for delivery in delivered:
        lines += [f"Partition {code(delivery.partition)}: {code(delivery.decision)}", "", _product(delivery)]
    lines += [*_run_section(facts, facts.verdict, facts.outcomes, row.partition), ""]
    return "\n".join([*lines, *_closing(prefix, QUERIES, dict.fromkeys(d.profile for d in delivered))])


def latest_deliveries(
    prefix: Prefix, by: ProfileHistory, run_ids: Sequence[str] | None
) -> tuple[list[LatestDelivery], list[DamagedRun]]:
    """Choose each partition's latest run; one that planned the product goes before one that did not.

    Returns what they deliver, and the runs that cannot be read.
    """
    runs_of, damaged = runs_by_partition(prefix, by, run_ids)
    chosen = {partition: runs[-1] for partition, runs in runs_of.items()}
    facts, problems = read_sound_runs(prefix, sorted(set(chosen.values())))
    damaged |= problems | _without_outcomes(chosen, facts)
    of_run = {run_id: by.of_run(run.row) for run_id, run in facts.items()}
    delivered = (d for run_id, run in facts.items() if (one := of_run[run_id]) for d in deliveries(run, one))
    found = {(d.facts.row.run_id, d.partition): d for d in delivered}
    latest = [
        LatestDelivery(found[run_id, partition], tuple(runs_of[partition]))
        for partition, run_id in sorted(chosen.items())
        if (run_id, partition) in found
    ]
    days = {run_id: tuple(sorted(day for day, of in chosen.items() if of == run_id)) for run_id in damaged}
    return latest, [DamagedRun(run_id, problem, days[run_id]) for run_id, problem in sorted(damaged.items())]


def runs_by_partition(
    prefix: Prefix, by: ProfileHistory, run_ids: Sequence[str] | None = None
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return each partition's runs, the one that counts last, and the runs whose plan cannot be read, with why."""
    rows = {row.run_id: row for row in read_rows(prefix, run_ids)}
    planned: set[tuple[str, str, bool]] = set()
    damaged: dict[str, str] = {}
    for profile in by.profiles:
        found, damaged = _planned(prefix, profile)
        planned |= {each for each in found if each[0] in rows and by.of_run(rows[each[0]]) == profile}
    ranked: dict[str, list[tuple[bool, int, str]]] = defaultdict(list)
    for run_id, partition, has_product in planned:
        if run_id in rows:
            ranked[partition].append((has_product, rows[run_id].started_at, run_id))
    runs_of = {partition: [run_id for _, _, run_id in sorted(runs)] for partition, runs in ranked.items()}
    return runs_of, {run_id: problem for run_id, problem in damaged.items() if run_id in rows}


def _without_outcomes(chosen: Mapping[str, str], facts: Mapping[str, JudgedRun]) -> dict[str, str]:
    """Return the chosen runs whose recorded outcomes have none of the partition that they planned, and say so."""
    return {
        run_id: f"Its outcomes have nothing of {partition}, which it planned."
        for partition, run_id in chosen.items()
        if run_id in facts and not any(o.item.partition == partition for o in facts[run_id].outcomes)
    }


def _planned(prefix: Prefix, profile: DeliveryProfile) -> tuple[set[tuple[str, str, bool]], dict[str, str]]:
    """Return (run, partition, whether it planned the product), and the runs whose plan cannot be read, with why."""
    planned = set(prefix.select("planned_partitions", prefix=profile.key_prefix, product=profile.product))
    plans, damaged = read_plans_beside(prefix)
    for run_id, plan in plans.items():
        made = [i for i in plan.items if i.kind == "materialize" and i.asset_key.startswith(profile.key_prefix)]
        product = {item.partition for item in made if item.asset_key == profile.product}
        partitions = {item.partition for item in made if item.partition is not None}
        planned = {each for each in planned if each[0] != run_id} | {(run_id, p, p in product) for p in partitions}
    return planned, damaged


def _opening(
    prefix: Prefix,
    profile: DeliveryProfile,
    partitions: Sequence[LatestDelivery],
    in_force: Sequence[str],
    damaged: Sequence[DamagedRun],
) -> Iterator[str]:
    yield _as_of(prefix)
    yield ""
    if damaged:
        yield f"{counted(len(damaged), 'run')} cannot be read, so nothing is known of what it delivered:"
        yield ""
        yield from map(_not_read, damaged)
        yield ""
    if not partitions:
        yield "No run planned a partition of this delivery, so there is nothing to hand over."
        return
    freeing = {p.delivery.profile.proceed for p in partitions}  # one word where its profile changed
    yield f"{decided([profile.proceed if d in freeing else d for d in in_force], profile.proceed)}."
    yield "The latest run of each partition counts, of those that planned the product; documents of earlier"
    yield "runs stay, and count no more. A program reads `run_evidence/`: of the run named here the file that says"
    yield "`final` and has the largest number (the size of the log it was derived from), of two the signed one."


def _not_read(run: DamagedRun) -> str:
    partitions = listed(list(map(code, run.partitions))) if run.partitions else "of any partition"
    return f"- Run {code(run.run_id)}, {partitions}: {text(run.problem)} Next: `ledger verify`"


def decided(decisions: Sequence[str], proceed: str) -> str:
    """Count partitions by decision in a sentence: those that proceed always, others where there are any."""
    count = Counter(decisions)
    said = [
        f"{count[name] or 'none'} {one if count[name] == 1 else many} ({code(name)})"
        for name, (one, many) in {proceed: _PROCEED, **_HELD_BACK}.items()
        if count[name] or name == proceed
    ]
    return f"Of {counted(len(decisions), 'partition')}, {listed(said)}"


def _product(delivery: Delivery) -> str:
    """Tell what became of the product, with what the run measured of it."""
    known = measured(delivery)
    told = [
        _measured(field, known[field.name])
        for field in delivery.profile.fields
        if field.told and known.get(field.name) is not None
    ]
    outcome = delivery.product.outcome
    return f"- Product {code(delivery.asset_key)}, {code(outcome)}" + (f": {', '.join(told)}" if told else "")


def _measured(field: Field, value: str | int) -> str:
    if field.kind != "count":
        return f"{text(field.told)} {code(value)}"
    noun, _, done = field.told.partition(" ")
    return text(f"{counted(int(value), noun)} {done}".rstrip())


def _as_of(prefix: Prefix) -> str:
    where = f"{read_from(prefix, code)}."
    if prefix.head is None:
        return where
    words = _signing(prefix)
    return f"{where} {words[0].upper()}{words[1:]}."


def _overview(partitions: Sequence[LatestDelivery], in_force: Sequence[str]) -> list[str]:
    rows = [
        [
            code(p.delivery.partition),
            code(decision),
            code(p.delivery.verdict.verdict),
            text(p.delivery.verdict.denominators.sentence),
            code(p.delivery.facts.row.run_id),
            str(len(p.run_ids)),
        ]
        for p, decision in zip(partitions, in_force, strict=True)
    ]
    return table(["partition", "decision", "verdict", "planned items", "latest run", "runs"], rows)


def _run_section(
    facts: JudgedRun, verdict: RunVerdict, outcomes: Sequence[Outcome], partition: str | None
) -> Iterator[str]:
    job = f" of {code(facts.row.job_name)}" if facts.row.job_name else ""
    yield f"- Run {code(facts.row.run_id)}{job}, {_times(facts.row)}"
    yield f"- Verdict {code(verdict.verdict)}: {text(verdict.denominators.sentence)}"
    if verdict.reason:
        yield f"- Why: {code(verdict.reason_code)}, {text(verdict.reason)}"
    yield from _corrections(facts, verdict)
    checks = [o for o in outcomes if o.item.kind == "check"]
    assets = [o for o in outcomes if o.item.kind != "check"]
    for heading, verdicts, among, pending in (
        ("Left out", {"skipped", "not_available"}, assets, False),
        ("Never produced", {"failed", "not_evaluated", "unknown"}, assets, False),
        ("Not produced yet", {"unknown"}, assets, True),
        ("Produced with a warning", {"warned"}, assets, False),
        ("Checks that did not pass", {"warned", "failed"}, checks, False),
        ("Checks left out", {"skipped", "not_available"}, checks, False),
        ("Checks never evaluated", {"not_evaluated", "unknown"}, checks, False),
        ("Checks not evaluated yet", {"unknown"}, checks, True),
    ):
        found = [o for o in among if o.verdict in verdicts and (o.outcome == "pending") is pending]
        if found:
            yield f"- {heading}, {len(found)} of {len(among)}:"
        for outcome in found:
            optional = ", optional" if not outcome.item.required else ""
            optional += "" if outcome.planned else ", not planned"
            name = text(item_name(outcome, partition))
            yield f"  - {name} ({code(outcome.outcome)}{optional}): {text(facts.why(outcome))}"
    if missing := facts.without_payload:
        yield f"- Payloads that are not there any more, {len(missing)}:"
    yield from (f"  - {text(event.name)}: payload {text(event.payload_state)}" for event in missing)
    if facts.row.late_events:
        yield f"- Late records reopened the run {counted(facts.row.late_events, 'time')}"


def _corrections(facts: JudgedRun, verdict: RunVerdict) -> Iterator[str]:
    """Tell what was corrected since, apart from corrections the verdict does not rest on."""
    rests = [c for c in facts.corrections if c in verdict.corrections]
    others = [c for c in facts.corrections if c not in verdict.corrections]
    if rests:
        yield f"- Corrections of what the verdict rests on, {len(rests)} (it was derived without them):"
        yield from (_correction(facts, correction) for correction in rests)
    if others:
        yield f"- Other corrections, {len(others)}:"
        yield from (_correction(facts, correction) for correction in others)


def _correction(facts: JudgedRun, correction: Correction) -> str:
    return f"  - {text(facts.target_of(correction))}: {text(correction.sentence)}"


def _times(row: RunRow) -> str:
    end = "not ended" if row.ended_at is None else f"ended {timestamp(row.ended_at)}"
    return f"{text(row.status)} in Dagster, started {timestamp(row.started_at)}, {end}"


def _closing(prefix: Prefix, queries: Sequence[str], by: Iterable[DeliveryProfile]) -> Iterator[str]:
    yield "## Where this comes from"
    yield ""
    head = prefix.head
    if head is None:
        yield f"- {read_from(prefix, code)}"
        yield "- No checkpoint is of exactly this, so nothing proves it; `ledger seal`, then derive it again"
    else:
        yield f"- Log {code(head.origin)}, its first {head.size} entries"
        yield f"- Checkpoint {code(head.root.hex())}: {_signing(prefix)}"
    for profile in by:
        yield f"- Delivery profile {code(profile.name)}, SHA-256 {code(profile_digest(profile))}"
    for query in query_digests(queries):
        yield f"- SQL {code(query['name'])}, SHA-256 {code(query['sha256'])}"
    yield ""
    yield "To check it: `ledger verify` hashes every entry again and recalculates the checkpoint;"
    yield "`ledger prove --file REPORT` and `ledger check PROOF REPORT --key VKEY` hold a run's report"
    yield "(`run_report/`) against its entries, without the ledger; `ledger report RUN_ID --as-of SIZE`"
    yield "derives its documents again."
    yield ""


def _signing(prefix: Prefix) -> str:
    if prefix.signing.signed_by:
        return f"signed by {listed(list(map(code, prefix.signing.signed_by)))}"
    return text(prefix.signing.sentence)

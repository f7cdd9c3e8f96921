"""Runs for a person on a terminal: the table of runs, and one run with everything that matters about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from run_evidence.evidence.contradictions import declared_by, find_contradictions
from run_evidence.evidence.delivery import Delivery, by_profile, deliveries
from run_evidence.evidence.document import timestamp
from run_evidence.evidence.facts import JudgedRun, RunRow
from run_evidence.evidence.handover_form import decision_in_force
from run_evidence.evidence.recorded_event import Recorded
from run_evidence.evidence.report import statement
from run_evidence.evidence.sign_off import read_sign_offs
from run_evidence.evidence.verdict import RunVerdict, item_name
from run_evidence.evidence.words import counted
from run_evidence.ledger.terminal import VERDICT_STYLES, printable, shortened, styled, table, width_of

if TYPE_CHECKING:
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.evidence.profile import DeliveryProfile
    from run_evidence.evidence.sign_off import Decided, SignOff
    from run_evidence.ledger import Outcome

_SHORT_ID: Final = 8
_SHOWN_EVENTS: Final = 40
_SHOWN_PASSED: Final = 40
_SHOWN_REASON: Final = 120
_INDENT: Final = "  "
_MESSAGE_LINES: Final = 6
_LAST: Final = 24
_LAST_AT_LEAST: Final = 12
_NARROWEST: Final = 8
_NO_NAME: Final = 16
_WIDEST: Final = 60

_SHOWN_TYPES: Final[Mapping[str, str]] = {
    "run.enqueued.v1": "run queued",
    "run.started.v1": "run started",
    "run.succeeded.v1": "run succeeded",
    "run.failed.v1": "run failed",
    "run.canceled.v1": "run canceled",
    "run.reopened.v1": "late records reopened the run",
    "step.retry_scheduled.v1": "step will be tried again",
    "step.restarted.v1": "step started again",
    "step.failed.v1": "step failed",
    "step.skipped.v1": "step skipped",
    "asset.materialized.v1": "materialized",
    "asset.observed.v1": "observed",
    "asset.skipped.v1": "left out",
    "check.evaluated.v1": "check",
    "hook.errored.v1": "hook failed",
    "resource.init_failed.v1": "resource failed to start",
}


_SPACES: Final = {ord(character): " " for character in "\t\n\x0b\x0c\r"}


def format_runs(
    rows: Sequence[RunRow],
    verdicts: Mapping[str, RunVerdict],
    width: int | None,
    decided: Mapping[str, Sequence[Decided]] | None = None,
) -> list[str]:
    """Return the lines of a table of runs, one row each, wrapped to `width` columns (`None`: never wrapped).

    The job has a column only where there are several; else it is the line above. Names longer than their column
    are shortened; `ledger runs --json` has them whole. `decided` has what is decided on each
    run's partitions.
    """
    jobs = sorted({row.job_name or "" for row in rows})
    several = len(jobs) > 1
    column = ["decision"] if decided is not None else []
    headers = [
        "started",
        "run",
        *(["job"] if several else []),
        "partition",
        "dagster",
        "verdict",
        *column,
        "items",
    ]
    cells = []
    for row in rows:
        what = [] if decided is None else [_decisions(decided.get(row.run_id, ()))]
        cells.append(_cells(row, verdicts[row.run_id], what, several=several))
    styles = [VERDICT_STYLES[verdicts[row.run_id].verdict] for row in rows]
    body = wrapped_table(headers, cells, styles, width)
    return body if several else [f"{styled('job', 'dim')} {jobs[0]}", "", *body]


def _decisions(decided: Sequence[Decided]) -> str:
    """Name the decision in force on a run's partitions: the only one, or how many partitions have each."""
    found = Counter(each.in_force for each in decided)
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{count} {decision}" for decision, count in found.items())


def _cells(row: RunRow, verdict: RunVerdict, decided: Sequence[str], *, several: bool) -> list[str]:
    why = [shortened(verdict.reason.translate(_SPACES), _SHOWN_REASON)] if verdict.reason else []
    return [
        timestamp(row.started_at)[:16].replace("T", " "),
        row.run_id[:_SHORT_ID],
        *([row.job_name or ""] if several else []),
        row.partition or "",
        row.status,
        verdict.verdict,
        *decided,
        "; ".join([verdict.denominators.sentence, *why, *(c.sentence for c in verdict.corrections)]),
    ]


def wrapped_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str], width: int | None
) -> list[str]:
    """Lay a table out with its last column wrapped into what is left of `width`.

    The columns before are shortened until `_LAST` columns are left, the widest first.
    """
    fixed = [[printable(cell) for cell in row[:-1]] for row in (headers, *rows)]
    widths = _fitted([max(map(width_of, column)) for column in zip(*fixed, strict=True)], width)
    lines: list[list[str]] = []
    line_styles: list[str] = []
    for cells, row, style in zip(fixed[1:], rows, styles, strict=True):
        first, *others = _wrapped(row[-1], width, sum(widths) + 2 * len(widths)) or [""]
        lines.append([*map(shortened, cells, widths), first])
        lines += [[*[""] * len(widths), other] for other in others]
        line_styles += [style] * (1 + len(others))
    return table(headers, lines, line_styles)


def _fitted(widths: Sequence[int], width: int | None) -> list[int]:
    """Return what columns of these widths get, of `width` in all; where that is open, at most `_WIDEST` each.

    Moments, ids and states stay whole: only a column wider than those is shortened.
    """
    if width is None:
        return [min(each, _WIDEST) for each in widths]
    fitted = list(widths)
    names = [position for position, each in enumerate(widths) if each > _NO_NAME]
    while sum(fitted) + 2 * len(fitted) + _LAST > width and names:
        widest = max(names, key=fitted.__getitem__)
        if fitted[widest] <= _NARROWEST:
            break
        fitted[widest] -= 1
    return fitted


def _wrapped(text: str, width: int | None, used: int) -> list[str]:
    """Break text into lines of what is left of `width`; keys and codes stay whole where they can."""
    line = printable(text.translate(_SPACES))
    if width is None:
        return [line]
    return wrap(line, max(width - used, _LAST_AT_LEAST), break_on_hyphens=False)


def format_run(
    prefix: Prefix, facts: JudgedRun, width: int | None, profiles: Sequence[DeliveryProfile] = ()
) -> list[str]:
    """Tell one run: what it was, its verdict and decisions, timeline, assets, checks, skips, provenance.

    Without a profile there is nothing to decide, and no count is known. The prefix has the views that
    `Declared.views` of `contradictions` names. Returns the lines, for `ledger.terminal.out`.
    """
    delivered = deliveries(facts, *profiles)
    outcomes = by_profile(facts, *profiles)
    contradictions = find_contradictions(prefix, facts, outcomes, declared_by(*profiles))
    signed_off = read_sign_offs(prefix, delivered)
    sections = [
        _section("", _head(facts, delivered, signed_off, width)),
        _section("Timeline", _timeline(facts, width)),
        _section("Assets", _assets(facts, width)),
        _section("Checks", _checks(facts, width)),
        _section("Left out", _left_out(facts, width)),
        _section("Failures", _failures(facts, width)),
        _section("Contradictions", (line for c in contradictions for line in _wrapped(c.sentence, width, 2))),
        _section("Corrections", _corrections(facts, width)),
        _section("Payloads", (f"{e.name}: payload {e.payload_state}" for e in facts.without_payload)),
        _section("Where this comes from", _origin(prefix, facts, width)),
    ]
    first, *others = filter(None, sections)
    return [*first, *(line for section in others for line in ("", *section))]


def _section(heading: str, lines: Iterable[str]) -> list[str]:
    if not heading:
        return list(lines)
    body = [_INDENT + line for line in lines]
    return [styled(heading, "bold"), *body] if body else []


def _head(
    facts: JudgedRun, delivered: Sequence[Delivery], signed_off: Sequence[SignOff | None], width: int | None
) -> Iterator[str]:
    row, verdict = facts.row, facts.verdict
    yield f"{styled(f'Run {row.run_id}', 'bold')}  {row.job_name or ''}".rstrip()
    word = styled(verdict.verdict, VERDICT_STYLES[verdict.verdict])
    shown = [("verdict", f"{word}: {verdict.denominators.sentence}")]
    if verdict.reason:
        shown.append(("because", f"{verdict.reason_code}: {verdict.reason}"))
    if count := len(verdict.corrections):
        shown.append(("amended", f"it rests on events that were corrected since ({count}, see Corrections)"))
    for delivery, found in zip(delivered, signed_off, strict=True):
        in_force = decision_in_force(delivery.decision, found)
        but = "" if in_force == delivery.decision else f"; the evidence says {delivery.decision}"
        shown.append(("decision", f"{in_force} for {delivery.partition}{but}"))
        if found is not None:
            shown.append(("sign-off", f"{found.sentence} ({delivery.partition})"))
    shown += [("partition", row.partition or ""), ("dagster", f"{row.status}, {_span(row)}")]
    shown += [("trace", row.trace_id or ""), ("release", row.release_id or ""), ("batch", row.batch_id or "")]
    for name, value in shown:
        if value:
            first, *others = _wrapped(value, width, 13)
            yield f"  {name:<9}  {first}"
            yield from (" " * 13 + other for other in others)


def _span(row: RunRow) -> str:
    started = timestamp(row.started_at)[:19].replace("T", " ")
    if row.ended_at is None:
        return f"started {started} UTC, not ended"
    return f"started {started} UTC, took {(row.ended_at - row.started_at) / 1_000_000:.1f} s"


def _timeline(facts: JudgedRun, width: int | None) -> Iterator[str]:
    shown = sorted((e for e in facts.events if e.event_type in _SHOWN_TYPES), key=lambda e: e.occurred_at)
    since = [f"{(event.occurred_at - facts.row.started_at) / 1_000_000:+.2f} s" for event in shown]
    wide = max(map(len, since), default=0)
    hidden = range(_SHOWN_EVENTS // 2, len(shown) - _SHOWN_EVENTS // 2) if len(shown) > _SHOWN_EVENTS else range(0)
    for position, event in enumerate(shown):
        if position in hidden:
            if position == hidden.start:
                yield styled(f"… {counted(len(hidden), 'more event')}", "dim")
            continue
        start = f"{timestamp(event.occurred_at)[11:19]}  {since[position]:>{wide}}  "
        style = None if event.outcome is None or event.outcome == "passed" else VERDICT_STYLES[event.outcome]
        for line in _wrapped(_event_words(facts, event), width, len(start) + len(_INDENT)):
            yield start + styled(line, style)
            start = " " * len(start)


def _event_words(facts: JudgedRun, event: Recorded) -> str:
    subject = event.asset_key or event.step_key or ""
    if event.check_name:
        subject = f"{event.check_name} of {subject}"
    if event.partition not in {None, facts.row.partition}:
        subject = f"{subject} [{event.partition}]"
    if event.check_name:
        subject = f"{subject}: {event.outcome}"
    reason = f": {event.reason_code}" if event.event_type == "asset.skipped.v1" else ""
    return f"{_SHOWN_TYPES[event.event_type]} {subject}{reason}".strip()


def _assets(facts: JudgedRun, width: int | None) -> Iterator[str]:
    outcomes = [o for o in facts.outcomes if o.item.kind != "check"]
    passed = [o for o in outcomes if o.verdict == "passed"]
    hidden = set(map(id, passed[_SHOWN_PASSED:]))
    shown = [o for o in outcomes if id(o) not in hidden]
    if shown:
        rows = [[o.outcome, item_name(o, facts.row.partition), _remark(o)] for o in shown]
        styles = [VERDICT_STYLES[o.verdict] for o in shown]
        inner = None if width is None else width - len(_INDENT)
        yield from wrapped_table(["outcome", "asset", ""], rows, styles, inner)
    if hidden:
        yield styled(f"… and {len(hidden)} more of {len(outcomes)} that passed", "dim")


def _remark(outcome: Outcome) -> str:
    remarks = [] if outcome.item.required else ["optional"]
    if not outcome.planned:
        remarks.append("not planned")
    if outcome.reason_code and outcome.reason_code != outcome.outcome:
        remarks.append(outcome.reason_code)
    if outcome.attempts > 1:
        remarks.append(f"{outcome.attempts} attempts")
    return ", ".join(remarks)


def _checks(facts: JudgedRun, width: int | None) -> Iterator[str]:
    checks = sorted((o for o in facts.outcomes if o.item.kind == "check"), key=lambda o: o.item.asset_key)
    names = {id(o): _check_name(o, facts.row.partition) for o in checks}
    wide = max(map(len, names.values()), default=0)
    for asset_key, of_asset in groupby(checks, key=lambda o: o.item.asset_key):
        yield asset_key
        for outcome in of_asset:
            start = f"{_INDENT}{outcome.verdict:<13}  {names[id(outcome)]:<{wide}}  "
            first, *others = _wrapped(_details(facts, outcome), width, len(start) + len(_INDENT)) or [""]
            for line in (start + first, *(" " * len(start) + other for other in others)):
                yield styled(line.rstrip(), VERDICT_STYLES[outcome.verdict])


def _check_name(outcome: Outcome, within: str | None) -> str:
    item = outcome.item
    name = item.check_name or ""
    return name if item.partition in {None, within} else f"{name} [{item.partition}]"


def _details(facts: JudgedRun, outcome: Outcome) -> str:
    """Say what a check found; where it gave no result, the code alone, as the item it follows from says more."""
    evaluated = any(event.event_id in outcome.basis for event in facts.evaluations)
    words = facts.why(outcome) if evaluated else outcome.reason_code or ""
    return words if outcome.planned else "; ".join(filter(None, ["not planned", words]))


def _left_out(facts: JudgedRun, width: int | None) -> Iterator[str]:
    for outcome in facts.outcomes:
        if outcome.item.kind != "check" and outcome.outcome in {"skipped", "not_available"}:
            yield from _distinct(
                outcome.outcome, item_name(outcome, facts.row.partition), facts.why(outcome), width
            )
    because = sum(event.event_type == "step.skipped.v1" for event in facts.skips)
    if because:
        steps = counted(because, "step was", "steps were")
        yield f"{steps} skipped by Dagster because an input was left out"


def _failures(facts: JudgedRun, width: int | None) -> Iterator[str]:
    steps = [e for e in facts.failures if e.event_type != "run.failed.v1"]
    for event in steps or facts.failures:  # a run's own failure repeats its steps' messages
        yield from _distinct(_SHOWN_TYPES[event.event_type], event.step_key or "", event.words, width, "red")


def _corrections(facts: JudgedRun, width: int | None) -> Iterator[str]:
    for correction in facts.corrections:
        rests = ", which the verdict rests on" if correction in facts.verdict.corrections else ""
        for line in _wrapped(f"{facts.target_of(correction)}{rests}", width, len(_INDENT)):
            yield styled(line, "yellow" if rests else None)
        yield from (_INDENT + line for line in _wrapped(correction.sentence, width, 2 * len(_INDENT)))


def _distinct(what: str, subject: str, message: str, width: int | None, style: str | None = None) -> Iterator[str]:
    """Put what happened to which subject on one line, and the message below it, wrapped and cut."""
    yield styled(f"{what:<13}  {subject}".rstrip(), style or VERDICT_STYLES[what])
    lines = [
        line for part in message.splitlines() if part.strip() for line in _wrapped(part, width, 15 + len(_INDENT))
    ]
    if len(lines) > _MESSAGE_LINES:  # a command's message begins with the command and ends with its error
        last = _MESSAGE_LINES // 2
        lines = [
            *lines[: _MESSAGE_LINES - last],
            styled("… (ledger show --json has it whole)", "dim"),
            *lines[-last:],
        ]
    yield from (" " * 15 + line for line in lines)


def _origin(prefix: Prefix, facts: JudgedRun, width: int | None) -> Iterator[str]:
    yield from _wrapped(statement(prefix, facts), width, len(_INDENT))
    row = facts.row
    if row.first_index is None:
        yield f"{counted(row.events, 'event')}, not sealed"
    else:
        yield f"{counted(row.events, 'event')}, at indexes {row.first_index} to {row.last_index}"
    if prefix.head:
        yield f"checkpoint {prefix.head.root.hex()}"
    if closing := facts.closing:
        records, held = closing.data["dagster_records"], closing.data["ledger_records"]
        yield f"Dagster's log had {records} records when the run was closed, the ledger {held}"

"""A recovery plan's file: written once, found by its name, and held to what is there before it is carried out.

A file is named by the beginning of its own SHA-256, so the plan that is carried out is the one that was reviewed.
What it rests on may have changed since: then the same question has another answer, and each difference is named.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, get_args

from pipelines.data_factory.recovery import BackfillPlan, Verb, write_new
from pipelines.data_factory.recovery_plan import COMMAND, FORMAT, ID_LENGTH, Basis, Question, RecoveryPlan, Target
from run_evidence.ledger import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_NAMED: Final = re.compile(r"recovery_plan_v(\d{1,9})", re.ASCII)
_NOT_COMPARED: Final = frozenset({"operator", "timestamp"})
_PLAN_AGAIN: Final = f"plan again: {COMMAND} --mode backfill"


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan as its file has it now; `plan_id` is what the file is named by, `text` what it holds."""

    plan: RecoveryPlan
    plan_id: str
    text: str
    path: Path

    @property
    def sha256(self) -> str:
        """The digest of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def altered(self) -> bool:
        """Whether the file is not what it was when it got its name."""
        return self.sha256[:ID_LENGTH] != self.plan_id


@dataclass(frozen=True, slots=True)
class PlanChange:
    """Something a plan rests on that is not as it was. `partition` is None when it is of the plan as a whole."""

    partition: str | None
    field: str
    was: str | int | None
    is_now: str | int | None

    def __str__(self) -> str:
        where = f"{self.partition}: " if self.partition else ""
        none = "?" if self.field.endswith("_count") else "none"
        was, is_now = (none if value is None else value for value in (self.was, self.is_now))
        return f"{where}{self.field} was {was}, is {is_now}"


def plan_path(plan: RecoveryPlan, report_dir: Path) -> Path:
    """Return where a plan is written: beside those of the asset `week06/ops/backfill_plan`."""
    return report_dir / "backfill" / f"recovery-{plan.mode}-{plan.plan_id}.json"


def write_recovery_plan(plan: RecoveryPlan, report_dir: Path) -> Path:
    """Write a plan to its file; nothing that is there is changed. Raises: EnvironmentFault."""
    path = plan_path(plan, report_dir)
    write_new(path, plan.text)
    return path


def find_plan(report_dir: Path, plan_id: str) -> Path:
    """Return the file of the plan whose id begins so, of `latest` the newest. Raises: UsageError."""
    files = sorted((report_dir / "backfill").glob("recovery-*.json"), key=lambda path: path.stat().st_mtime_ns)
    if plan_id == "latest":
        matching = files[-1:]
    else:
        matching = [path for path in files if plan_id and path.stem.rpartition("-")[2].startswith(plan_id)]
    if len(matching) != 1:
        said = (
            f"{len(matching)} plans of {report_dir / 'backfill'} begin so" if matching else "there is no such plan"
        )
        raise UsageError(
            f"{plan_id!r:.60}: {said}", next_step=f"{COMMAND} --show latest, or ls {report_dir / 'backfill'}"
        )
    return matching[0]


def read_recovery_plan(path: Path) -> StoredPlan:
    """Return the plan of a file, whether or not it is as it was. Raises: InputError when it is none."""
    try:
        text = path.read_bytes().decode("utf-8")
        found = json.loads(text)
        _require_format(path, found["format"])
        plan = _plan_of(found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: this is no recovery plan: {error}", next_step=_PLAN_AGAIN) from error
    return StoredPlan(plan, path.stem.rpartition("-")[2], text, path)


def require_unaltered(stored: StoredPlan) -> None:
    """Pass if a plan's file is what was written. Raises: InputError."""
    if stored.altered:
        raise InputError(
            f"{stored.path}: the file was changed after the plan was made: it is named by {stored.plan_id!r:.60}, "
            f"and its SHA-256 begins {stored.sha256[:ID_LENGTH]}",
            next_step=_PLAN_AGAIN,
        )
    if stored.plan.text != stored.text:
        raise InputError(f"{stored.path}: the file was not written by this command", next_step=_PLAN_AGAIN)


def changes_since(plan: RecoveryPlan, anew: RecoveryPlan) -> list[PlanChange]:
    """Compare a plan with the answer that the same question has now; who asked and when are not compared."""
    return [*_of_basis(plan.basis, anew.basis), *_of_targets(plan, anew)]


def _of_basis(before: Basis, now: Basis) -> Iterator[PlanChange]:
    for name in (f.name for f in fields(Basis) if f.name != "steps"):
        was, is_now = getattr(before, name), getattr(now, name)
        if was != is_now:
            yield PlanChange(None, name, was, is_now)
    for step in sorted(set(before.steps) ^ set(now.steps)):
        there = ("there", "not there") if step in before.steps else ("not there", "there")
        yield PlanChange(None, f"step {step}", *there)


def _of_targets(plan: RecoveryPlan, anew: RecoveryPlan) -> Iterator[PlanChange]:
    before = {target.plan.partition_key: target for target in plan.targets}
    now = {target.plan.partition_key: target for target in anew.targets}
    if plan.asked_partition_count != anew.asked_partition_count:
        yield PlanChange(None, "asked_partition_count", plan.asked_partition_count, anew.asked_partition_count)
    for day in sorted(before.keys() | now.keys()):
        if day not in before or day not in now:
            yield PlanChange(
                day, "gap", *(each.why if (each := found.get(day)) else None for found in (before, now))
            )
            continue
        was, is_now = before[day].to_document(), now[day].to_document()
        for name in was:
            if name not in _NOT_COMPARED and was[name] != is_now[name]:
                yield PlanChange(day, name, was[name], is_now[name])


def _require_format(path: Path, stated: object) -> None:
    if stated == FORMAT:
        return
    if isinstance(stated, str) and _NAMED.fullmatch(stated):
        raise InputError(
            f"{path}: the plan is of format {stated}, and this program reads formats up to {FORMAT}",
            next_step="carry it out with the program that made it; or " + _PLAN_AGAIN,
        )
    raise ValueError(f"its format is {stated!r:.60}")


def _plan_of(found: dict[str, Any]) -> RecoveryPlan:
    names = [f.name for f in fields(BackfillPlan)]
    more = [f.name for f in fields(Target) if f.name != "plan"]
    targets = tuple(
        Target(
            BackfillPlan(**{name: each[name] for name in names}),
            **{name: each[name] for name in more},
        )
        for each in found["targets"]
    )
    return RecoveryPlan(
        _verb(found["mode"]),
        found["asked"],
        found["operator"],
        found["timestamp"],
        targets,
        found["ledger_size"],
        found["asked_partition_count"],
        _question(found["question"]),
        Basis(**{**found["basis"], "steps": tuple(found["basis"]["steps"])}),
    )


def _verb(text: str) -> Verb:
    verbs: dict[str, Verb] = {verb: verb for verb in get_args(Verb)}
    return verbs[text]


def _question(found: dict[str, Any]) -> Question:
    days = found["partitions"]
    texts = [value for name, value in found.items() if name != "partitions" and value is not None]
    if not isinstance(days, list) or not all(isinstance(each, str) for each in [*days, *texts]):
        raise TypeError("the question is of other than names")
    return Question(**{**found, "mode": _verb(found["mode"]), "partitions": tuple(days)})

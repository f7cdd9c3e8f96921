"""What a run is exported from, and how formats are found: entry points of the group `run_evidence.exports`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final, Literal

from run_evidence.evidence.contradictions import declared_by
from run_evidence.evidence.facts import JudgedRun, read_runs
from run_evidence.evidence.prefix import open_prefix, query_text, resolve_run, sealed_prefix
from run_evidence.evidence.verdict import had_nothing_to_check
from run_evidence.ledger import NO_ASSET, NOW, EnvironmentFault, LedgerError, UsageError, look_up

if TYPE_CHECKING:
    from run_evidence.evidence.profile_history import Profiles
    from run_evidence.ledger import AsOf, Ledger, Outcome

GROUP: Final = "run_evidence.exports"
"""The group of entry points in which a package names a format: a `Format`."""

_OURS: Final = "run_evidence."

Standing = Literal["passed", "warned", "failed", "skipped", "error"]
"""What an outcome is where there are few words: `error` is what never ran, is unknown or was not evaluated."""

_STANDINGS: Final[dict[str, Standing]] = {
    "passed": "passed",
    "warned": "warned",
    "failed": "failed",
    "skipped": "skipped",
    "not_available": "skipped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunExport:
    """A run to export, as a prefix of the ledger has it.

    `origin` and `size` are the log's and the prefix's, `facts` the run with its outcomes and verdict, `entries` its
    events with their indexes in log order, each the exact bytes of the log. `rows_written` is the name of the
    metadata that the project's delivery profile declares to be the rows an asset wrote.
    """

    origin: str
    size: int
    facts: JudgedRun
    entries: tuple[tuple[int, bytes], ...]
    rows_written: str | None = None


Format = Callable[[RunExport], bytes]
"""Writes a run in a format. The first line of its docstring is shown as help."""


def read_export(ledger: Ledger, run_id: str, as_of: AsOf = NOW, profiles: Profiles | None = None) -> RunExport:
    """Seal, and read one run, by the start of its id or `latest`. Raises: UsageError when there is no such run."""
    with open_prefix(ledger, as_of) as prefix:
        found = resolve_run(prefix, run_id)
    with sealed_prefix(ledger, found, as_of) as prefix:
        (facts,) = read_runs(prefix, [found])
        size = prefix.snapshot.sealed
        asked = {"size": size, "run_id": found}
        entries = look_up(ledger.log().segments, query_text("run_entries"), asked)
        if prefix.head is None:
            raise UsageError(f"No checkpoint is over run {found}.", next_step="ledger seal")
        origin = prefix.head.origin
    return RunExport(
        origin=origin,
        size=size,
        facts=facts,
        entries=tuple((index, bytes(entry)) for index, entry in entries),
        rows_written=declared_by(*profiles.every).written if profiles else None,
    )


def standing(outcome: Outcome, facts: JudgedRun) -> Standing:
    """Say in one of five words what an outcome is. Only `passed` is passed.

    A check of an asset that was itself left out had nothing to evaluate, and is skipped as its asset is.
    """
    of_asset = [o for o in facts.outcomes if o.item.kind != "check" and o.item.asset_key == outcome.item.asset_key]
    if had_nothing_to_check(outcome, of_asset):
        return "skipped"
    return _STANDINGS.get(outcome.verdict, "error")


def owner(outcome: Outcome) -> str:
    """Return the asset that an outcome is of; where there is none, the step, which no asset's name is taken for."""
    item = outcome.item
    return item.asset_key if item.asset_key != NO_ASSET else f"step {item.step_key}"


def why(outcome: Outcome) -> str:
    """Give an outcome's reason in words, with its reason code in front; the outcome itself where there is none."""
    words = outcome.reason or outcome.outcome.replace("_", " ")
    return f"{outcome.reason_code}: {words}" if outcome.reason_code else words


def formats() -> dict[str, EntryPoint]:
    """Return the formats that are installed, by name; ours go before those of other packages."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: not entry.value.startswith(_OURS))
    return {entry.name: entry for entry in reversed(found)}


def load_format(entry: EntryPoint) -> Format:
    """Load a format. Raises: EnvironmentFault when its package does not load; UsageError when it is no function."""
    try:
        loaded = entry.load()
    except LedgerError:
        raise
    except Exception as error:
        raise EnvironmentFault(
            f"The export format {entry.name} ({entry.value}) does not load: {type(error).__name__}: {error}",
            next_step="install what it needs, or uninstall the package that brings it",
        ) from error
    if not callable(loaded):
        raise UsageError(
            f"The export format {entry.name} ({entry.value}) is no function.",
            next_step="name a function that takes a RunExport and returns bytes",
        )
    format_: Format = loaded
    return format_


def write_as(entry: EntryPoint, form: Format, run: RunExport) -> bytes:
    """Write a run in a format. Raises: EnvironmentFault when another package's format fails or returns no bytes."""
    try:
        content = form(run)
    except LedgerError:
        raise
    except Exception as error:
        if entry.value.startswith(_OURS):
            raise
        raise _foreign_fault(entry, f"failed: {type(error).__name__}: {error}") from error
    if not isinstance(content, bytes):
        raise _foreign_fault(entry, f"returned no bytes but {type(content).__name__}")
    return content


def _foreign_fault(entry: EntryPoint, what: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"The export format {entry.name} ({entry.value}) {what}.",
        next_step="tell whoever wrote that format; ledger export --help lists the others",
    )


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Turn the failure of an import into an error that names the extra to install."""
    try:
        yield
    except ImportError as error:
        raise EnvironmentFault(
            f"The export format {name} needs something that is not installed: {error}.",
            next_step="pip install 'run-evidence-ledger[exports]'",
        ) from error

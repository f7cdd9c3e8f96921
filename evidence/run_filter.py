"""Which runs a person asks for: those of a time, a verdict, a job, an asset, a partition, a release, a trigger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from run_evidence.evidence.facts import ALL_RUNS, RunRow, read_rows, read_verdicts
from run_evidence.ledger import OUTCOMES, UsageError

if TYPE_CHECKING:
    from run_evidence.evidence.prefix import Prefix
    from run_evidence.evidence.verdict import RunVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """What a run has to be; an empty member lets every run pass. Times in microseconds since 1970, of its start."""

    since: int | None = None
    until: int | None = None
    verdicts: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    asset: str | None = None
    partition: str | None = None

    def find(self, prefix: Prefix, limit: int) -> tuple[list[RunRow], dict[str, RunVerdict], int]:
        """Return the newest runs that fit, at most `limit`, their verdicts, and how many fit in all.

        The verdict is the documents' one, also of a run whose payloads cannot be read: those of all others that fit
        are read where it is asked for.
        """
        found = prefix.select(
            "runs_found",
            since=self.since,
            until=self.until,
            jobs=list(self.jobs) or None,
            releases=list(self.releases) or None,
            triggers=list(self.triggers) or None,
            asset=self.asset,
            partition=self.partition,
            row_limit=ALL_RUNS if self.verdicts else limit,
        )
        rows = read_rows(prefix, [run_id for run_id, _ in found])
        verdicts = read_verdicts(prefix, rows)
        if self.verdicts:
            rows = [row for row in rows if verdicts[row.run_id].verdict in self.verdicts]
            return rows[:limit], verdicts, len(rows)
        return rows, verdicts, found[0][1] if found else 0

    def __bool__(self) -> bool:
        """Return whether it leaves any run out."""
        return self != RunFilter()


def parse_verdicts(text: str | None) -> tuple[str, ...]:
    """Read a list such as `failed,unknown`; `all but passed` is `!passed`. Raises: UsageError for another word."""
    words = _listed(text)
    for word in words:
        if word.removeprefix("!") not in OUTCOMES:
            raise UsageError(f"--verdict {word!r:.100} is no verdict.", next_step=f"of {', '.join(OUTCOMES)}")
    without = {word[1:] for word in words if word.startswith("!")}
    wanted = [word for word in words if not word.startswith("!")]
    return tuple(word for word in (wanted or OUTCOMES if without else wanted) if word not in without)


def parse_list(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Read an option that may be given several times, or with commas."""
    return tuple(word for text in texts or () for word in _listed(text))


def _listed(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]

"""What became of each source an ingest was asked for, and the three counts that Week03 asks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pipelines.ingestion.gate import AssetJudgement
    from pipelines.manifests import ManifestProblem

Outcome = Literal["success", "skip", "fail"]


@dataclass(frozen=True, slots=True)
class SourceOutcome:
    """One source: what was done with it, by which judgement and why. `reasons` are sentences for a person.

    `manifest` is the manifest's id, or its file name where it has none that can be read.
    """

    manifest: str
    source_id: str | None
    outcome: Outcome
    judgement: str
    reason_codes: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IngestResult:
    """The outcome of an ingest, source by source in the order of the manifests.

    `success` taken · `skip` left out on purpose, nothing is known against it · `fail` refused.
    """

    outcomes: tuple[SourceOutcome, ...]

    @property
    def success_count(self) -> int:
        """Sources that were taken."""
        return self._count("success")

    @property
    def skip_count(self) -> int:
        """Sources that were left out: in quarantine, or there already."""
        return self._count("skip")

    @property
    def fail_count(self) -> int:
        """Sources that were refused, and manifests that cannot be read."""
        return self._count("fail")

    @property
    def judgement_counts(self) -> dict[str, int]:
        """How many sources got each judgement, by name."""
        return dict(sorted(Counter(found.judgement for found in self.outcomes).items()))

    @property
    def reason_codes(self) -> list[str]:
        """Every reason code given, sorted."""
        return sorted({code for found in self.outcomes for code in found.reason_codes})

    def to_document(self) -> dict[str, Any]:
        """Return the counts and outcomes as a JSON object."""
        counts = {"success": self.success_count, "skip": self.skip_count, "fail": self.fail_count}
        return {**counts, "sources": [asdict(found) for found in self.outcomes]}

    def _count(self, outcome: Outcome) -> int:
        return sum(found.outcome == outcome for found in self.outcomes)


def outcome_of(manifest_id: str, judged: AssetJudgement, outcome: Outcome, *more: tuple[str, str]) -> SourceOutcome:
    """Tell what was done with a judged source; `more` are codes and sentences beside the gate's."""
    return SourceOutcome(
        manifest=manifest_id,
        source_id=judged.source_id,
        outcome=outcome,
        judgement=judged.judgement.value,
        reason_codes=tuple(dict.fromkeys([*(r.code for r in judged.reasons), *(code for code, _ in more)])),
        reasons=(*(reason.text for reason in judged.reasons), *(text for _, text in more)),
    )


def outcome_of_problem(problem: ManifestProblem) -> SourceOutcome:
    """Tell of a manifest that cannot be read: whatever it declares is refused."""
    return SourceOutcome(problem.path.name, None, "fail", "reject", ("manifest_invalid",), (str(problem.error),))

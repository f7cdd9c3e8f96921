"""Which sources feed one daily partition, and whether they may.

A manifest covers a partition when

* it states a selection window: the window overlaps the partition's day;
* it is a full snapshot: it was delivered on that day or later;
* else: it was delivered on that day (its **own** delivery) or up to `LATE_ARRIVAL_DAYS` days after it (a
  **later** delivery, which may carry rows that arrived late).

A rejected own delivery stops the partition. A rejected later one is left out and reported: yesterday's
product must not fall over because today's delivery is broken, but it may lack late rows and says so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipelines.ingestion.gate import ManifestJudgement, Reason, digest_file, judge_manifest, worst
from pipelines.ingestion.refusals import RefusedInputError
from pipelines.ingestion.ticket_ingest import admitted_sources
from pipelines.ingestion.ticket_reader import TicketSource
from pipelines.manifests import Judgement, scan_manifests
from pipelines.partitions import daily_window, day_distance
from run_evidence.ledger import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.manifests import Manifest, ManifestProblem, SourceSettings
    from pipelines.partitions import DailyWindow

# Rows are expected at the latest two days after they were created; what comes later takes a replay.
LATE_ARRIVAL_DAYS: Final = 2
# A manifest may declare thousands of sources; a message and an event quote some of what is wrong with them.
MAX_REASONS: Final = 20


@dataclass(frozen=True, slots=True)
class PartitionInputs:
    """Everything the gate found for one partition. Own and later deliveries are in path order."""

    window: DailyWindow
    own: tuple[ManifestJudgement, ...]
    later: tuple[ManifestJudgement, ...]
    sources: tuple[TicketSource, ...]
    reasons: tuple[Reason, ...]

    @property
    def judgement(self) -> Judgement:
        """Reject when the partition must stop; quarantine or warn when something was left out."""
        return worst(reason.judgement for reason in self.reasons)

    @property
    def manifest_id(self) -> str | None:
        """The own deliveries' manifest ids, comma-separated; None when there is no own delivery."""
        return ",".join(judged.manifest.manifest_id for judged in self.own) or None

    @property
    def batch_id(self) -> str | None:
        """The own deliveries' batch ids, comma-separated; None when there is no own delivery."""
        return ",".join(judged.manifest.batch_id for judged in self.own) or None

    def quoted_reasons(self, *, at_least: Judgement = Judgement.ACCEPT) -> list[str]:
        """Return the gravest `MAX_REASONS` reasons as sentences, and how many more there are."""
        gravest = sorted(self.reasons, key=lambda reason: -reason.judgement.rank)
        texts = [f"{r.judgement}: {r.text}" for r in gravest if r.judgement.rank >= at_least.rank]
        more = len(texts) - MAX_REASONS
        return texts[:MAX_REASONS] + ([f"and {more} more"] if more > 0 else [])

    @property
    def snapshot_id(self) -> str:
        """A SHA-256 over the contents of the admitted files, whatever their names and order."""
        return hashlib.sha256("\n".join(sorted(s.sha256 for s in self.sources)).encode()).hexdigest()


class GateRejectedError(RefusedInputError):
    """The input declaration of a partition was rejected; nothing of it may be ingested."""

    def __init__(self, inputs: PartitionInputs) -> None:
        grave = [r for r in inputs.reasons if r.judgement.rank >= Judgement.QUARANTINE.rank]
        named = {"manifest_id": inputs.manifest_id, "batch_id": inputs.batch_id}
        super().__init__(
            f"the manifest gate rejects partition {inputs.window.key}: "
            + "; ".join(inputs.quoted_reasons(at_least=Judgement.QUARANTINE)),
            next_step="have the delivery corrected and sent again, then run this partition again",
            reason_codes=tuple(dict.fromkeys(reason.code for reason in grave)),
            details={
                "reasons": inputs.quoted_reasons(),
                "judgement": inputs.judgement.value,
                **{name: value for name, value in named.items() if value},
            },
        )
        self.inputs = inputs


def judge_inputs(settings: SourceSettings, partition_key: str) -> PartitionInputs:
    """Find and judge the declared input of one partition; the result says whether it may be used.

    Cost: every covering source is read once for its SHA-256.

    Raises: InputError when the manifest path or the ticket seed file is not there.
    """
    window = daily_window(partition_key)
    scan = scan_manifests(settings.manifest_path)
    judged = [
        judge_manifest(manifest, bucket=settings.bucket, data_folder=settings.data_folder)
        for manifest in scan.manifests
        if manifest.modality == "structured" and _covers(manifest, window)
    ]
    own = tuple(j for j in judged if not _is_later(j.manifest, window))
    later = tuple(j for j in judged if _is_later(j.manifest, window))
    reasons = [reason for problem in scan.problems if (reason := _problem_reason(problem, window))]
    reasons += [reason for j in own for reason in _own_reasons(j)]
    reasons += [reason for j in later if (reason := _later_reason(j))]
    if settings.ticket_seed_path is not None:
        sources: tuple[TicketSource, ...] = (_seed_source(settings.ticket_seed_path),)
        text = f"{settings.ticket_seed_path} is read instead of the files the manifests name"
        reasons.append(Reason("ticket_seed_path_overrides_manifest", text, Judgement.WARN))
    else:
        sources = admitted_sources(own) + admitted_sources(later, late=True)
    stopped = any(reason.judgement is Judgement.REJECT for reason in reasons)
    if not stopped and all(source.late for source in sources):
        text = f"{settings.manifest_path}: no delivery with a usable tickets file covers {window.key}"
        reasons.append(Reason("structured_manifest_missing_or_empty", text, Judgement.REJECT))
    return PartitionInputs(window, own, later, sources, tuple(reasons))


def admit(inputs: PartitionInputs) -> PartitionInputs:
    """Return judged input that may be ingested. Raises: GateRejectedError when it may not."""
    if inputs.judgement is Judgement.REJECT:
        raise GateRejectedError(inputs)
    return inputs


def admit_inputs(settings: SourceSettings, partition_key: str) -> PartitionInputs:
    """Judge and admit the input of a partition; it is judged anew, because files may have changed since.

    Raises: as `judge_inputs` and `admit`.
    """
    return admit(judge_inputs(settings, partition_key))


@dataclass(frozen=True, slots=True)
class SourcesAsFound:
    """All manifests and sources under one path, at one look. `snapshot_id` digests every one's contents."""

    manifest_count: int
    problems: tuple[str, ...]
    source_count: int
    source_not_available_count: int
    total_size_bytes: int
    snapshot_id: str


def observe_sources(settings: SourceSettings) -> SourcesAsFound:
    """Look at everything the manifest path holds, of any modality, without judging whether it is good.

    Raises: InputError when the path is not there or holds no manifest.
    """
    scan = scan_manifests(settings.manifest_path)
    files = [*(m.path for m in scan.manifests), *(problem.path for problem in scan.problems)]
    digests = [_digest_or_absent(path) for path in files]
    judged = [
        judge_manifest(manifest, bucket=settings.bucket, data_folder=settings.data_folder)
        for manifest in scan.manifests
    ]
    assets = [asset for manifest in judged for asset in manifest.assets]
    digests += [asset.sha256 or f"absent {asset.source_id}" for asset in assets]
    return SourcesAsFound(
        manifest_count=len(scan.manifests),
        problems=tuple(str(problem.error) for problem in scan.problems),
        source_count=len(assets),
        source_not_available_count=sum(asset.sha256 is None for asset in assets),
        total_size_bytes=sum(asset.size_bytes or 0 for asset in assets),
        snapshot_id=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
    )


def _digest_or_absent(path: Path) -> str:
    try:
        return digest_file(path)[1]
    except OSError:  # a file that cannot be read is one of the scan's problems already
        return f"absent {path.name}"


def _covers(manifest: Manifest, window: DailyWindow) -> bool:
    if manifest.selection_window is not None:
        return manifest.selection_window.start < window.end and window.start < manifest.selection_window.end
    age_days = day_distance(manifest.delivery_day, window.key)
    return age_days >= 0 and (manifest.load_mode == "full_snapshot" or age_days <= LATE_ARRIVAL_DAYS)


def _is_later(manifest: Manifest, window: DailyWindow) -> bool:
    """Tell a delivery that only may carry late rows from one that declares the partition itself."""
    return (
        manifest.selection_window is None
        and manifest.load_mode != "full_snapshot"
        and manifest.delivery_day > window.key
    )


def _problem_reason(problem: ManifestProblem, window: DailyWindow) -> Reason | None:
    """Judge a broken manifest: it stops its own day, or every day when it hides which day it is for."""
    if problem.delivery_day is None or problem.delivery_day == window.key:
        return Reason("manifest_invalid", str(problem.error), Judgement.REJECT)
    if 0 < day_distance(problem.delivery_day, window.key) <= LATE_ARRIVAL_DAYS:
        return _left_out(str(problem.error))
    return None


def _own_reasons(judged: ManifestJudgement) -> list[Reason]:
    return [
        Reason(reason.code, f"{judged.manifest.path}: {asset.source_id}: {reason.text}", reason.judgement)
        for asset in judged.assets
        for reason in asset.reasons
    ]


def _later_reason(judged: ManifestJudgement) -> Reason | None:
    if judged.judgement.rank < Judgement.QUARANTINE.rank:
        return None
    return _left_out(f"{judged.manifest.path}: judged {judged.judgement}")


def _left_out(why: str) -> Reason:
    text = f"a later delivery was left out, and late rows it carries are missing: {why}"
    return Reason("late_delivery_left_out", text, Judgement.WARN)


def _seed_source(path: Path) -> TicketSource:
    try:
        size_bytes, sha256 = digest_file(path)
    except OSError as error:
        raise InputError(
            f"{path}: the ticket seed file cannot be read: {error.strerror}",
            next_step="correct WEEK06_TICKET_SEED_PATH, or unset it to read what the manifests name",
        ) from error
    return TicketSource(path, sha256, size_bytes, late=False, batch_id=None, source_id=None)

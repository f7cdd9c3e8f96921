"""A delivery's final evidence on an asset in Dagster: where its documents are, and a check that is green or not.

A run cannot report this about itself, since it is judged when it is over: whoever writes its documents does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from run_evidence.evidence.brief import Badge, read_badge, write_run_page
from run_evidence.evidence.files import EVIDENCE, WrittenDocuments, is_evidence_of, write_documents
from run_evidence.evidence.profile import DeliveryProfile
from run_evidence.evidence.profile_choice import reports_folder
from run_evidence.evidence.profile_history import declared_profiles, profiles_of
from run_evidence.ledger import NOW, Ledger, LedgerError, open_ledger, open_snapshot
from run_evidence.sensors.closed_runs import hand_on_closed_runs
from run_evidence.sensors.dagster_log.vocabulary import TOLD_LABEL, VERDICT_CHECK
from run_evidence.sensors.delivery_gate import key_of
from run_evidence.sensors.show_verdicts import RECENT_US, report_once

if TYPE_CHECKING:
    from run_evidence.evidence.profile_history import Profiles

_LAST: Final = Path(__file__).parent / "sql" / "last_closed.sql"
_MAX_SUMMARY: Final = 20_000


def report_evidence(
    instance: dg.DagsterInstance,
    ledger: Ledger,
    written: WrittenDocuments,
    asset: Any,
    *,
    profile: DeliveryProfile,
    policy: str | Path | None = None,
    pages_at: str | None = None,
) -> bool:
    """Report a run's final evidence on an asset, once; tell whether it was reported now.

    An observation of each partition has the summary, and where the documents and the page are, which is written
    with them. The check of `verdict_check`, which is of the asset as a whole, is evaluated: passed where the
    delivery is fit by the gate, else failed, as a warning where a person's review would be enough. `asset` is
    named as for `gate_check`, `policy` a file as for `ledger gate`. `pages_at` is the address under which the
    folder of the documents is served; without one the page is a path.

    Nothing is reported of a run that is not closed, delivers nothing by the profile, or ended more than a day ago.

    Raises: LedgerError for what cannot be derived or written; what Dagster raises.
    """
    profiles = profiles_of(profile)
    badge = read_badge(ledger, written.run_id, profiles, policy) if written.final else None
    if badge is None or badge.ended_at is None or ledger.clock() - badge.ended_at > RECENT_US:
        return False
    page = write_run_page(ledger, written, profiles)
    key = key_of(asset)
    reported = False
    for partition in badge.partitions:
        about = _observation(key, partition or None, badge, written, page, pages_at)
        reported |= report_once(instance, about, badge.ended_at)
    if not reported:
        return False
    # Of no partition: outside of a run Dagster keeps one evaluation of a partition and refuses every later one.
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=VERDICT_CHECK,
            passed=badge.fit,
            severity=_severity(badge),
            description=badge.sentence,
            metadata={TOLD_LABEL: dg.MetadataValue.dagster_run(written.run_id), **_words(badge)},
        )
    )
    return True


def evidence_sensor(  # noqa: PLR0913 - the options of one call, all but the first two by name
    name: str,
    asset: Any,
    *,
    profile: DeliveryProfile,
    folder: str | Path | None = None,
    job_name: str | None = None,
    policy: str | Path | None = None,
    pages_at: str | None = None,
    ledger: str | Path | None = None,
    tick_seconds: int = 30,
) -> dg.SensorDefinition:
    """Make a sensor that writes the documents of every run that the ledger has closed, and reports them.

    `folder` is where they are written, else where the profile says; the rest is as for `closed_runs_sensor` and
    `report_evidence`. What cannot be written or reported is tried again in the next tick.

    Raises: UsageError for an address that cannot be one.
    """
    address, key = open_ledger(ledger), key_of(asset)
    out = Path(folder) if folder is not None else reports_folder(profile)

    @dg.sensor(
        name=name,
        minimum_interval_seconds=tick_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes the documents of every run that the ledger has closed, and reports them on an asset.",
    )
    def report(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        def then(written: WrittenDocuments) -> None:
            report_evidence(
                context.instance, address, written, key, profile=profile, policy=policy, pages_at=pages_at
            )

        def work(of: Ledger, names: Sequence[str]) -> Mapping[str, str]:
            return write_documents(of, names, out, profile, then)

        return hand_on_closed_runs(context, address, work, job_name)

    return report


def _observation(
    key: dg.AssetKey,
    partition: str | None,
    badge: Badge,
    written: WrittenDocuments,
    page: Path,
    pages_at: str | None,
) -> dg.AssetObservation:
    of_partition = (each for each in written.evidence if _is_of(each, written.run_id, partition or ""))
    evidence = next(of_partition, None)
    summary = written.summary.read_text(encoding="utf-8")
    shown = summary if len(summary) <= _MAX_SUMMARY else f"{summary[:_MAX_SUMMARY]}\n\n…"
    return dg.AssetObservation(
        key,
        partition=partition,
        description=f"final evidence: {badge.verdict}, {badge.decision}",
        metadata={
            TOLD_LABEL: dg.MetadataValue.dagster_run(written.run_id),
            "verdict": badge.verdict,
            "decision": badge.decision,
            "page": _link(page, written, pages_at),
            "report": _link(written.report, written, pages_at),
            "summary": dg.MetadataValue.md(shown),
            **({"evidence": _link(evidence, written, pages_at)} if evidence else {}),
        },
    )


def _is_of(evidence: Path, run_id: str, partition: str) -> bool:
    return is_evidence_of(f"{EVIDENCE}{evidence.name}", run_id, partition)


def _link(file: Path, written: WrittenDocuments, pages_at: str | None) -> dg.MetadataValue[Any]:
    """Return a document as a link: its address where the folder is served, else its path."""
    if pages_at is None:
        return dg.MetadataValue.path(str(file.absolute()))
    below = file.relative_to(written.report.parents[1]).as_posix()
    return dg.MetadataValue.url(f"{pages_at.rstrip('/')}/{below}")


def _severity(badge: Badge) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if badge.grave else dg.AssetCheckSeverity.WARN


def _words(badge: Badge) -> dict[str, str]:
    words = {"verdict": badge.verdict, "decision": badge.decision, "reason_code": badge.reason_code}
    delivered = ", ".join(filter(None, badge.partitions))
    return {name: word for name, word in {**words, "partitions": delivered}.items() if word}


def verdict_check(
    asset: Any,
    *,
    profile: DeliveryProfile | None = None,
    policy: str | Path | None = None,
    ledger: str | Path | None = None,
) -> dg.AssetChecksDefinition:
    """Make the check `ledger_verdict`, which gives what `report_evidence` reports a place on the asset.

    No job need run it. Where one does, it says the same again of the run that was closed last, and fails where
    there is none. It is the ledger's own: no run's plan and no verdict has it, and so looking at one changes none.

    Raises: UsageError for an address that cannot be one.
    """
    address = open_ledger(ledger)

    @dg.asset_check(asset=key_of(asset), name=VERDICT_CHECK, description="The verdict of the last delivery.")
    def ask() -> dg.AssetCheckResult:
        own = {TOLD_LABEL: "the one closed last"}  # without the label it would be a check of the project's
        try:
            badge = _last_badge(address, profiles_of(profile) if profile else None, policy)
        except LedgerError as error:  # a ledger that cannot be read fails the check, and no run
            return dg.AssetCheckResult(passed=False, description=str(error), metadata=own)
        if badge is None:
            nothing = "No run that delivers something is closed yet."
            return dg.AssetCheckResult(passed=False, description=nothing, metadata=own)
        words = {**own, **_words(badge)}
        return dg.AssetCheckResult(
            passed=badge.fit, severity=_severity(badge), description=badge.sentence, metadata=words
        )

    return ask


def _last_badge(ledger: Ledger, named: Profiles | None, policy: str | Path | None) -> Badge | None:
    if not ledger.exists():
        return None
    profiles = named or declared_profiles(ledger)
    with open_snapshot(ledger, NOW, ("events",), payloads=False) as snapshot:
        run_ids = [run_id for (run_id,) in snapshot.rows(_LAST.read_text(encoding="utf-8"))]
    badges = (read_badge(ledger, run_id, profiles, policy) for run_id in run_ids)
    return next((badge for badge in badges if badge), None)

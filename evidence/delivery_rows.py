"""The rows of the view `deliveries`: the latest delivery of every partition, by the profiles that the ledger has.

They are made by what the documents are made by, so that a decision in SQL is the decision in the document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import orjson

from run_evidence.evidence.delivery import reason_codes
from run_evidence.evidence.files import EVIDENCE, is_evidence_of
from run_evidence.evidence.handover_form import decision_in_force
from run_evidence.evidence.prefix import Prefix
from run_evidence.evidence.profile import HOLD
from run_evidence.evidence.profile_data import profile_digest
from run_evidence.evidence.profile_history import ProfileHistory, declared_profiles
from run_evidence.evidence.sign_off import SignOff, read_sign_offs
from run_evidence.evidence.summary import DamagedRun, LatestDelivery, latest_deliveries
from run_evidence.ledger import RECORDED, Json, recorded_documents

if TYPE_CHECKING:
    from run_evidence.ledger import AsOf, Ledger, Snapshot

Row = dict[str, Json]


def delivery_rows(ledger: Ledger, snapshot: Snapshot, as_of: AsOf) -> list[Row]:
    """Return a row for each product × partition, times in microseconds since 1970. None where nothing is declared.

    A run that cannot be read is `unknown` and holds back what it is the latest run of.

    Raises: IntegrityError when a segment cannot be read.
    """
    profiles = declared_profiles(ledger)
    if not profiles:
        return []
    prefix = Prefix(snapshot, None, ledger, as_of)
    return [row for history in profiles.histories for row in _rows(prefix, history)]


def _rows(prefix: Prefix, history: ProfileHistory) -> Iterator[Row]:
    found, damaged = latest_deliveries(prefix, history, None)
    signed_off = read_sign_offs(prefix, [each.delivery for each in found])
    recorded = _recorded(prefix, [each.delivery.facts.row.run_id for each in found])
    for each, sign_off in zip(found, signed_off, strict=True):
        yield _row(each, sign_off, recorded)
    for run in damaged:
        yield from _unreadable(history, run)


def _row(latest: LatestDelivery, sign_off: SignOff | None, recorded: Mapping[str, Sequence[Row]]) -> Row:
    delivery = latest.delivery
    row, verdict, profile = delivery.facts.row, delivery.verdict, delivery.profile
    of_run, partition = recorded.get(row.run_id, ()), delivery.partition
    documents = [each for each in of_run if is_evidence_of(str(each["name"]), row.run_id, partition)]
    return {
        "product": profile.product,
        "partition": delivery.partition,
        "asset_key": delivery.asset_key,
        "profile": profile.name,
        "profile_sha256": profile_digest(profile),
        "run_id": row.run_id,
        "ended_at": row.ended_at,
        "closed": row.closed,
        "verdict": verdict.verdict,
        "decision": delivery.decision,
        "in_force": decision_in_force(delivery.decision, sign_off),
        "reason_code": verdict.reason_code,
        "reason": verdict.reason,
        "reason_codes": list(reason_codes(delivery)),
        "superseded": list(latest.run_ids[:-1]),
        "evidence": list(documents),
        "sign_off": sign_off.decision if sign_off and not sign_off.lapsed else None,
        "signed_off_by": sign_off.actor if sign_off else None,
        "signed_off_at": sign_off.signed_at if sign_off else None,
        "sign_off_lapsed": sign_off.lapsed if sign_off else None,
    }


def _unreadable(history: ProfileHistory, run: DamagedRun) -> Iterator[Row]:
    profile = history.profiles[-1]
    for partition in run.partitions:
        yield {
            "product": profile.product,
            "partition": partition,
            "profile": profile.name,
            "profile_sha256": profile_digest(profile),
            "run_id": run.run_id,
            "verdict": "unknown",
            "decision": HOLD,
            "in_force": HOLD,
            "reason_code": "run_not_readable",
            "reason": run.problem,
            "reason_codes": ["run_not_readable"],
        }


def _recorded(prefix: Prefix, run_ids: Sequence[str]) -> dict[str, list[Row]]:
    """Return the hand-over documents that the log records of these runs, in its order."""
    found: dict[str, list[Row]] = defaultdict(list)
    for run_id, index, text in prefix.select("recorded_documents", run_ids=list(run_ids), recorded=RECORDED):
        for sha256, name in recorded_documents(orjson.loads(text)).items():
            if name.startswith(EVIDENCE):
                found[run_id].append({"name": name, "sha256": sha256, "index": index})
    return found

"""A run as JUnit XML, which every CI server shows: one test case for each planned item, and one for the verdict."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from run_evidence.evidence.document import timestamp
from run_evidence.evidence.exports.run import RunExport, Standing, needs_extra, owner, standing, why

if TYPE_CHECKING:
    from run_evidence.evidence.facts import JudgedRun
    from run_evidence.evidence.verdict import RunVerdict
    from run_evidence.ledger import Outcome

_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 forbids or advises against, a carriage return, which a parser makes a line feed, and marks that
change the direction of writing. Source: XML 1.0 (fifth edition), 2.2 and 2.11."""

_DECLARATION: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_OF_VERDICT: Final[dict[str, Standing]] = {
    "passed": "passed",
    "warned": "warned",
    "failed": "failed",
    "skipped": "skipped",
    "not_available": "skipped",
}


def junit(run: RunExport) -> bytes:
    """Write JUnit XML: a test case for each planned item and one for the verdict; only what passed passes.

    A skip is skipped with its reason, a warning is a failure of type `warned`, and what never ran, was not
    evaluated or is unknown is an error.
    """
    with needs_extra("junit"):
        from junitparser import JUnitXml, TestSuite

    facts, row = run.facts, run.facts.row
    suite = TestSuite(_text(row.job_name or row.run_id))
    suite.timestamp = timestamp(row.started_at)
    for name, value in _properties(run).items():
        suite.add_property(name, _text(value))
    suite.add_testcase(_verdict_case(facts.verdict))
    for outcome in facts.outcomes:
        suite.add_testcase(_case(outcome, facts))
    suite.time = ((row.ended_at or row.started_at) - row.started_at) / 1_000_000
    document = JUnitXml("run evidence")
    document.add_testsuite(suite)
    written: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return (b"" if written.startswith(b"<?xml") else _DECLARATION) + written + b"\n"


def _properties(run: RunExport) -> dict[str, str]:
    row, verdict = run.facts.row, run.facts.verdict
    said = {
        "run_id": row.run_id,
        "partition": row.partition,
        "release_id": row.release_id,
        "log_origin": run.origin,
        "log_size": str(run.size),
        "verdict": verdict.verdict,
        "denominators": verdict.denominators.sentence,
    }
    return {name: value for name, value in said.items() if value is not None}


def _verdict_case(verdict: RunVerdict) -> Any:
    reason = ": ".join(filter(None, [verdict.reason_code, verdict.reason])) or verdict.verdict
    if verdict.verdict == "passed" and verdict.corrections:
        first = verdict.corrections[0]
        return _test_case("run", "verdict", "failed", "amended", f"{first.action} by {first.actor}: {first.reason}")
    return _test_case("run", "verdict", _OF_VERDICT.get(verdict.verdict, "error"), verdict.verdict, reason)


def _case(outcome: Outcome, facts: JudgedRun) -> Any:
    item = outcome.item
    name = f"check {item.check_name}" if item.check_name is not None else item.kind
    name += "" if item.partition is None else f" [{item.partition}]"
    return _test_case(owner(outcome), name, standing(outcome, facts), outcome.outcome, why(outcome))


def _test_case(of: str, name: str, stands: Standing, kind: str, reason: str) -> Any:
    from junitparser import Error, Failure, Skipped, TestCase

    case = TestCase(_name(name), classname=_name(of))
    results = {"skipped": Skipped, "warned": Failure, "failed": Failure, "error": Error}
    if stands != "passed":
        case.result = [results[stands](_text(reason), "warned" if stands == "warned" else kind)]
    return case


def _name(text: str) -> str:
    r"""Return a name so that no two share one: what is an escape already in the text has its backslash doubled."""
    return _text(text.replace("\\", "\\\\"))


def _text(text: str) -> str:
    """Return the text with every character that cannot be in XML, or misleads its reader, as an escape."""
    return _FORBIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)

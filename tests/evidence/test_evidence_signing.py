"""Every document says who signed the checkpoint it was derived as of; a later signature makes another document."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from evidence_runs import good_run

from pipelines.delivery import WEEK06
from run_evidence.evidence import write_delivery_summary, write_run_documents
from run_evidence.evidence.facts import read_runs
from run_evidence.evidence.prefix import open_prefix
from run_evidence.evidence.terminal import format_run
from run_evidence.ledger import IntegrityError, Ledger
from run_evidence.ledger.query.as_of import AsOf
from run_evidence.ledger.tlog.note import add_signatures, sign_note
from tests.paths import paths
from tests.trust.ledgers import LOG_KEY, OTHER_KEY, VKEY, WITNESS_KEY, head_of, signed_ledger

RUN = "5b2b9a4e-0d3c-4f57-8f59-6c1f0f1f7a11"
KEY_ID = LOG_KEY.verifier().key_id.hex()


def told_run(tmp_path: Path, *, signed: bool) -> Ledger:
    """Return a ledger with one closed run, sealed with the key or without."""
    ledger = signed_ledger(tmp_path / "ledger", [], LOG_KEY if signed else None)
    ledger.append(good_run(RUN).events)
    ledger.seal()
    return ledger


def documents(ledger: Ledger, out: Path) -> dict[str, str]:
    """Write every document of the run; return {kind: text}, and what `ledger show` tells as `show`."""
    written = write_run_documents(ledger, RUN, out, profile=WEEK06)
    summary = write_delivery_summary(ledger, out, profile=WEEK06)
    with open_prefix(ledger) as prefix:
        show = "\n".join(format_run(prefix, read_runs(prefix, [RUN])[0], None))
    paths = {"hand-over": written.evidence[0], "report": written.report, "summary": written.summary}
    paths["delivery"] = summary.kept
    return {"show": show, **{kind: path.read_text(encoding="utf-8") for kind, path in paths.items()}}


def test_every_document_of_an_unsigned_ledger_says_so(tmp_path: Path) -> None:
    """In words for a person, as a reason code and a member for a program."""
    found = documents(told_run(tmp_path, signed=False), tmp_path / "out")
    assert "(not signed)" in found["show"]
    assert "Not signed." in found["summary"]
    assert "Not signed." in found["delivery"]
    handed_over, report = orjson.loads(found["hand-over"]), orjson.loads(found["report"])
    assert "checkpoint_not_signed" in handed_over["reason_codes"]
    assert handed_over["report_path"].endswith("_unsigned.json")
    assert report["provenance"]["signature"] == {"signed": False, "verifier_keys": []}
    assert "(not signed)" in report["statement"]


def test_every_document_of_a_signed_ledger_names_the_key(tmp_path: Path) -> None:
    """The verifier key itself; in the hand-over document, which has no field for it, the key's id."""
    found = documents(told_run(tmp_path, signed=True), tmp_path / "out")
    assert f"(signed by {VKEY})" in found["show"]
    assert f"Signed by `{VKEY}`." in found["summary"]
    assert f"Signed by `{VKEY}`." in found["delivery"]
    handed_over, report = orjson.loads(found["hand-over"]), orjson.loads(found["report"])
    assert "checkpoint_not_signed" not in handed_over["reason_codes"]
    assert handed_over["report_path"].endswith(f"_signed-{KEY_ID}.json")
    assert report["provenance"]["signature"] == {"signed": True, "verifier_keys": [VKEY]}


def test_a_signature_that_comes_later_makes_other_documents(tmp_path: Path) -> None:
    """The first ones stay byte for byte, the new ones stand beside them, the fixed name leads to the signed one."""
    unsigned = told_run(tmp_path, signed=False)
    out = tmp_path / "out"
    first = write_run_documents(unsigned, RUN, out, profile=WEEK06)
    write_delivery_summary(unsigned, out, profile=WEEK06)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    signed = signed_ledger(tmp_path / "ledger", [])
    size = signed.seal().size
    again = write_run_documents(signed, RUN, out, profile=WEEK06)
    latest = write_delivery_summary(signed, out, profile=WEEK06).latest
    assert (again.size, first.size) == (size, size - 1), "the record of the first ones was sealed between them"
    assert latest is not None
    assert f"Signed by `{VKEY}`." in latest.read_text()
    assert {again.report, again.summary, *again.evidence}.isdisjoint(before)
    assert all(path.read_bytes() == content for path, content in before.items() if path != latest)
    assert write_run_documents(signed, RUN, out, profile=WEEK06) == again


def test_documents_from_before_a_key_signed_can_be_derived_again(tmp_path: Path) -> None:
    """The same bytes, though the very checkpoint they were derived at is signed by now."""
    unsigned = told_run(tmp_path, signed=False)
    unsigned.seal()
    first = write_run_documents(unsigned, RUN, tmp_path / "out", profile=WEEK06)
    signed = signed_ledger(tmp_path / "ledger", [])
    signed.seal()
    stored = head_of(signed, first.size)
    paths(signed).checkpoint(first.size).write_bytes(sign_note(stored.text, [LOG_KEY]))
    again = write_run_documents(
        signed, RUN, tmp_path / "again", AsOf(size=first.size, unsigned=True), profile=WEEK06
    )
    for one, other in zip((first.report, *first.evidence), (again.report, *again.evidence), strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()
    now = write_run_documents(signed, RUN, tmp_path / "now", AsOf(size=first.size), profile=WEEK06)
    assert now.report.name != first.report.name


def test_a_cosignature_changes_no_document(tmp_path: Path) -> None:
    """Witnesses sign when they can; nobody here has their keys, so documents do not speak of them."""
    ledger = told_run(tmp_path, signed=True)
    first = documents(ledger, tmp_path / "out")
    head = head_of(ledger, ledger.log().size)
    cosigned = add_signatures(head.message, [WITNESS_KEY.cosign(head.text, 1)])
    paths(ledger).checkpoint(head.checkpoint.size).write_bytes(cosigned)
    assert documents(ledger, tmp_path / "out") == first


def test_what_somebody_without_the_key_sealed_is_called_not_signed(tmp_path: Path) -> None:
    """However many checkpoints before it are signed."""
    ledger = told_run(tmp_path, signed=True)
    ledger.append(good_run("another-run").events)
    keyless = Ledger(ledger.root, clock=ledger.clock)
    written = write_run_documents(keyless, "another-run", tmp_path / "out", profile=WEEK06)
    assert written.report.name.endswith("_unsigned.json")
    assert write_run_documents(ledger, RUN, tmp_path / "out", profile=WEEK06).report.name.endswith(
        f"_signed-{KEY_ID}.json"
    )


def test_nothing_is_derived_from_a_checkpoint_that_is_signed_wrongly(tmp_path: Path) -> None:
    """A line that claims to be the ledger's key and is not: no document, and `show` says what is wrong."""
    ledger = told_run(tmp_path, signed=True)
    head = head_of(ledger, ledger.log().size)
    other = OTHER_KEY.sign(head.text)
    forged = add_signatures(head.message, [type(other)(LOG_KEY.name, LOG_KEY.verifier().key_id, other.value)])
    paths(ledger).checkpoint(head.checkpoint.size).write_bytes(forged)
    with pytest.raises(IntegrityError, match="is not over this text"):
        write_run_documents(ledger, RUN, tmp_path / "out", profile=WEEK06)
    assert not (tmp_path / "out").exists()
    with open_prefix(ledger) as prefix:
        assert "is not over this text" in "\n".join(format_run(prefix, read_runs(prefix, [RUN])[0], None))

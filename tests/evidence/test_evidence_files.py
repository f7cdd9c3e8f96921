"""Documents as files: each its own, nothing overwritten, and the one fixed name never goes back."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
from evidence_runs import START, Story, Tell, failed_run, good_run, open_run, planned

from pipelines.delivery import WEEK06
from run_evidence import evidence
from run_evidence.evidence import write_delivery_summary, write_run_documents
from run_evidence.evidence.profile_history import digest_of
from run_evidence.ledger import EnvironmentFault, IntegrityError, Ledger, UsageError


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def newest(ledger: Ledger, folder: Path) -> tuple[evidence.WrittenSummary, Path]:
    """Write the delivery summary; return it with the file of the fixed name, which has to be there."""
    written = write_delivery_summary(ledger, folder, profile=WEEK06)
    assert written.latest is not None
    return written, written.latest


def test_a_runs_documents_are_files_that_refer_to_each_other(told: Tell, tmp_path: Path) -> None:
    """Hand-over document, report and summary are there; the first names the second, relative to the folder."""
    ledger = told(good_run("run-1"))
    written = write_run_documents(ledger, "run-1", tmp_path / "out", profile=WEEK06)
    assert written.final
    assert written.decisions == ("proceed_to_week07",)
    names = sorted(contents(tmp_path / "out"))
    assert names == [
        f"run_evidence/2026-04-17_run-1_final_{written.size}_unsigned.json",
        f"run_report/run-1_final_{written.size}_unsigned.json",
        f"summaries/run_run-1_final_{written.size}_unsigned_week06-{digest_of([WEEK06])}.md",
    ]
    handed_over = orjson.loads(written.evidence[0].read_bytes())
    assert tmp_path / "out" / handed_over["report_path"] == written.report
    assert orjson.loads(written.report.read_bytes())["run"]["run_id"] == "run-1"


def test_writing_again_changes_nothing(told: Tell, tmp_path: Path) -> None:
    """A closed run's documents are the same files however often, and however late, they are derived."""
    ledger = told(good_run("run-1"))
    out = tmp_path / "out"
    first = write_run_documents(ledger, "run-1", out, profile=WEEK06)
    before = contents(out)
    told(failed_run("run-2", start=START + 1_000_000))
    assert write_run_documents(ledger, "run-1", out, profile=WEEK06) == first
    assert contents(out) == before


def test_interim_and_final_stand_side_by_side(told: Tell, tmp_path: Path) -> None:
    """The report made inside a run stays when the final one comes."""
    ledger = told(open_run("run-1"))
    interim = write_run_documents(ledger, "run-1", tmp_path, profile=WEEK06)
    assert not interim.final
    whole = good_run("run-1")
    told(whole)  # the same run, told to its end
    final = write_run_documents(ledger, "run-1", tmp_path, profile=WEEK06)
    assert final.final
    assert final.size > interim.size
    assert interim.report.is_file()
    assert interim.report != final.report


def test_other_content_under_a_name_is_an_error_and_is_kept(told: Tell, tmp_path: Path) -> None:
    """A document that somebody edited is neither overwritten nor taken for ours."""
    ledger = told(good_run("run-1"))
    written = write_run_documents(ledger, "run-1", tmp_path, profile=WEEK06)
    written.evidence[0].write_text("edited")
    with pytest.raises(IntegrityError, match=written.evidence[0].name):
        write_run_documents(ledger, "run-1", tmp_path, profile=WEEK06)
    assert written.evidence[0].read_text() == "edited"


def test_the_delivery_summary_has_its_fixed_name_and_one_of_its_own(told: Tell, tmp_path: Path) -> None:
    """The well-known file is replaced by a newer derivation; every derivation is kept."""
    ledger = told(failed_run("run-1"))
    first, latest = newest(ledger, tmp_path)
    old = first.kept.read_bytes()
    assert latest == tmp_path / "week06_delivery_summary.md"
    assert latest.read_bytes() == old
    told(good_run("run-2", start=START + 1_000_000))
    second, latest = newest(ledger, tmp_path)
    assert latest.read_bytes() == second.kept.read_bytes() != old
    assert first.kept.read_bytes() == old
    named = write_delivery_summary(ledger, tmp_path, ["run-1"], profile=WEEK06)
    assert named.kept not in {first.kept, second.kept}


def test_a_slow_writer_does_not_put_an_older_summary_back(told: Tell, tmp_path: Path) -> None:
    """A rival that derived from more of the same log has the last word, whoever writes last."""
    ledger = told(failed_run("run-1"))
    written, latest = newest(ledger, tmp_path)
    larger = latest.read_text().replace(f"checkpoint {written.size} of", f"checkpoint {written.size + 1} of")
    signed = latest.read_text().replace("Not signed.", "Signed by `somebody`.")
    for newer in (larger, signed):
        latest.write_text(newer)
        write_delivery_summary(ledger, tmp_path, profile=WEEK06)
        assert latest.read_text() == newer
    latest.write_text(larger.replace("run-evidence-ledger/0", "run-evidence-ledger/9"))
    write_delivery_summary(ledger, tmp_path, profile=WEEK06)
    assert latest.read_bytes() == written.kept.read_bytes()


ORIGINS = ["例/ledger", "a b", "`x`", "a. Signed", "x\u202ey", "As of checkpoint 9 of `y`.", "example.com/ledger"]


@pytest.mark.soak
@pytest.mark.parametrize("origin", ORIGINS)
def test_the_newer_summary_stays_whatever_the_logs_name(tmp_path: Path, origin: str) -> None:
    """An older state of the log, from a slow writer or a copy, never takes its place, kept summaries or none."""
    ledger = Ledger(tmp_path / "ledger", clock=lambda: START)
    ledger.create(origin)
    ledger.append(failed_run("run-1").events)
    ledger.seal()
    shutil.copytree(ledger.root, tmp_path / "older")
    ledger.append(good_run("run-2", start=START + 1_000_000).events)
    ledger.seal()
    out = tmp_path / "out"
    written, latest = newest(ledger, out)
    newer = latest.read_bytes()
    older = Ledger(tmp_path / "older")
    write_delivery_summary(older, out, ["run-1"], profile=WEEK06)
    for _ in range(2):
        write_delivery_summary(older, out, profile=WEEK06)
        assert latest.read_bytes() == newer
        shutil.rmtree(out / "summaries")
    assert (
        write_delivery_summary(ledger, out, profile=WEEK06).kept.read_bytes() == newer == written.kept.read_bytes()
    )


def test_a_summary_of_another_log_takes_its_turn(told: Tell, tmp_path: Path) -> None:
    """Sizes of two logs say nothing about which is newer."""
    other = Ledger(tmp_path / "other", clock=lambda: START)
    other.create("例/ledger")
    for number in range(3):
        other.append(good_run(f"run-{number}").events)
    other.seal()
    newest(other, tmp_path)
    written, latest = newest(told(failed_run("run-1")), tmp_path)
    assert latest.read_bytes() == written.kept.read_bytes()


def test_nothing_that_a_person_wrote_is_lost(told: Tell, tmp_path: Path) -> None:
    """An edited summary is kept under a name of its own; a file that is none is left, unless forced."""
    ledger = told(failed_run("run-1"))
    written, latest = newest(ledger, tmp_path)
    edited = latest.read_bytes().replace(b"## Where", b"A remark.\n\n## Where")
    latest.write_bytes(edited)
    newest(ledger, tmp_path)
    assert latest.read_bytes() == written.kept.read_bytes()
    assert edited in contents(tmp_path / "summaries").values()
    latest.write_text("my notes")
    with pytest.raises(IntegrityError, match="other content") as caught:
        write_delivery_summary(ledger, tmp_path, profile=WEEK06)
    assert latest.read_text() == "my notes"
    assert "--force" in str(caught.value.next_step)
    write_delivery_summary(ledger, tmp_path, force=True, profile=WEEK06)
    assert latest.read_bytes() == written.kept.read_bytes()


@pytest.mark.soak
def test_documents_are_never_written_inside_a_ledger(told: Tell, tmp_path: Path) -> None:
    """Not into this one, not into another, and not through a link."""
    ledger = told(good_run("run-1"))
    other = Ledger(tmp_path / "other", clock=lambda: START)
    other.create("other")
    (tmp_path / "link").symlink_to(ledger.root)
    (tmp_path / "out").mkdir()
    for name in ("run_report", "summaries", "week06_delivery_summary.md"):
        (tmp_path / "out" / name).symlink_to(ledger.root / "inbox")
    before = contents(ledger.root)
    for folder in (ledger.root, ledger.root / "blobs", other.root / "x", tmp_path / "link", tmp_path / "out"):
        with pytest.raises(UsageError, match="inside the ledger"):
            write_run_documents(ledger, "run-1", folder, profile=WEEK06)
        with pytest.raises(UsageError, match="inside the ledger"):
            write_delivery_summary(ledger, folder, profile=WEEK06)
    assert contents(ledger.root) == before


def test_another_project_gets_a_report_and_a_summary(told: Tell, tmp_path: Path) -> None:
    """Nothing of Week06 is written for a run that has nothing to do with it."""
    ledger = told(Story("run-1", job="other").plan([planned("a/b", None)], {}).made("a/b", None).end().close())
    written = write_run_documents(ledger, "run-1", tmp_path, profile=WEEK06)
    assert written.evidence == ()
    assert sorted(p.parent.name for p in (written.report, written.summary)) == ["run_report", "summaries"]


def test_a_run_id_never_leads_out_of_the_folder(told: Tell, tmp_path: Path) -> None:
    """An id that is no plain name becomes its digest in file names, and stays itself inside."""
    ledger = told(good_run("../../escape"))
    written = write_run_documents(ledger, "../../escape", tmp_path / "out", profile=WEEK06)
    assert all((tmp_path / "out") in path.parents for path in (written.report, written.summary, *written.evidence))
    assert orjson.loads(written.report.read_bytes())["run"]["run_id"] == "../../escape"
    assert len(contents(tmp_path / "out")) == 3


def test_a_folder_that_cannot_be_written_is_named(told: Tell, tmp_path: Path) -> None:
    """The message has the path and the next step."""
    ledger = told(good_run("run-1"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFault, match="file/run_report") as caught:
        write_run_documents(ledger, "run-1", tmp_path / "file", profile=WEEK06)
    assert "--out" in str(caught.value.next_step)


def test_an_unknown_run_writes_nothing(told: Tell, tmp_path: Path) -> None:
    """No empty evidence for a run nobody recorded."""
    ledger = told(good_run("run-1"))
    with pytest.raises(UsageError, match="run-9"):
        write_run_documents(ledger, "run-9", tmp_path / "out", profile=WEEK06)
    assert not (tmp_path / "out").exists()


def test_the_package_is_light_until_it_is_used() -> None:
    """`import evidence` costs a step nothing; a name that is not there is an AttributeError."""
    import subprocess
    import sys

    heavy = "{'duckdb', 'pyarrow', 'deltalake', 'dagster'}"
    probe = f"import sys, run_evidence.evidence.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = evidence.nothing_here

"""A checkpoint has one text, and every other text is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger.errors import IntegrityError, LedgerError
from run_evidence.ledger.tlog.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint
from run_evidence.ledger.tlog.merkle import EMPTY_ROOT, MAX_SIZE
from tests.trust import vectors

ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


def test_the_checkpoint_of_the_specification() -> None:
    checkpoint = parse_checkpoint(vectors.SPEC_CHECKPOINT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert format_checkpoint(checkpoint) == vectors.SPEC_CHECKPOINT


def test_the_checkpoint_of_a_public_log() -> None:
    assert parse_checkpoint(vectors.PUBLIC_TEXT).size == 1432088532


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40),
    st.integers(1, MAX_SIZE),
    st.binary(min_size=32, max_size=32),
)
def test_checkpoints_round_trip(origin: str, size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin, size, root)
    assert parse_checkpoint(format_checkpoint(checkpoint)) == checkpoint


@given(st.text(max_size=80) | st.from_regex(r"[a-z]{0,2}\n[0-9]{0,3}\n[A-Za-z0-9+/]{0,44}=?\n?", fullmatch=True))
def test_parser_refuses_or_reads_exactly(text: str) -> None:
    """Whatever the text, the outcome is our error or a checkpoint whose only text form is that text."""
    try:
        checkpoint = parse_checkpoint(text)
    except LedgerError:
        return
    assert format_checkpoint(checkpoint) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n7\n",
        f"log\n7\n{ROOT}",
        f"log\n7\n{ROOT}\n\n",
        f"log\n7\n{ROOT}\nextension\n",
        f"\n7\n{ROOT}\n",
        f"log\n07\n{ROOT}\n",
        f"log\n+7\n{ROOT}\n",
        f"log\n-7\n{ROOT}\n",
        f"log\n 7\n{ROOT}\n",
        f"log\n٧\n{ROOT}\n",
        f"log\n\n{ROOT}\n",
        f"log\n9223372036854775808\n{ROOT}\n",
        f"log\n{'9' * 5000}\n{ROOT}\n",
        f"log\n7\n{ROOT[:-1]}\n",
        f"log\n7\n{ROOT[:-2]}J=\n",
        f"log\n7\n{ROOT.replace('/', '_')}\n",
        "log\n7\nAAAA\n",
        f"log\n0\n{ROOT}\n",
        f"log\r\n7\r\n{ROOT}\r\n",
        f"lo\tg\n7\n{ROOT}\n",
        f"lo\ud800g\n7\n{ROOT}\n",
        f"{vectors.PUBLIC_NOTE}",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        parse_checkpoint(text)


def test_the_empty_log_has_a_checkpoint() -> None:
    checkpoint = Checkpoint("log", 0, EMPTY_ROOT)
    assert parse_checkpoint(format_checkpoint(checkpoint)) == checkpoint


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [
        ("", 1, bytes(32)),
        ("two\nlines", 1, bytes(32)),
        ("log", -1, bytes(32)),
        ("log", MAX_SIZE + 1, bytes(32)),
        ("log", 1, bytes(31)),
        ("log", 0, bytes(32)),
    ],
)
def test_impossible_checkpoints_are_refused(origin: str, size: int, root: bytes) -> None:
    with pytest.raises(IntegrityError, match="checkpoint"):
        Checkpoint(origin, size, root)

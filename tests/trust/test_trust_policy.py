"""C2SP tlog-policy: whom one trusts, read strictly, and held against a checkpoint."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger import IntegrityError, UsageError, is_trust_policy, parse_trust_policy, vouched
from run_evidence.ledger.tlog.checkpoint import Checkpoint, StoredCheckpoint, format_checkpoint, parse_stored
from run_evidence.ledger.tlog.keys import Signer, format_vkey
from run_evidence.ledger.tlog.note import format_note
from tests.trust.ledgers import LOG_KEY, OTHER_KEY, VKEY

TEXT = format_checkpoint(Checkpoint("example.com/log", 7, bytes(32)))
WITNESSES = [Signer(f"w{n}.example/w", 0x04, bytes([n]) * 32) for n in range(1, 7)]
NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
LINES = [f"witness {name} {format_vkey(w.verifier())}" for name, w in zip(NAMES, WITNESSES, strict=True)]
EXAMPLE = "\n".join(
    [
        f"# the example of the specification\n \t log\t{VKEY}  https://log.example/ \n",
        *LINES,
        "group X-witnesses 2 X1 X2 X3",
        "group Y-witnesses any Y1 Y2 Y3",
        "group X-and-Y all X-witnesses Y-witnesses",
        "quorum X-and-Y\n",
    ]
)


def head(*cosigners: Signer, log: Signer | None = LOG_KEY) -> StoredCheckpoint:
    """Return a checkpoint signed by a log and cosigned by witnesses."""
    lines = [log.sign(TEXT)] if log else []
    lines += [each.cosign(TEXT, 1_700_000_000) for each in cosigners]
    return parse_stored(format_note(TEXT, lines) if lines else TEXT.encode())


@given(st.sets(st.sampled_from(range(6))))
def test_the_quorum_of_the_specifications_example(chosen: set[int]) -> None:
    """At least two of the X and one of the Y, whatever set cosigned."""
    found = vouched(head(*(WITNESSES[n] for n in chosen)), parse_trust_policy(EXAMPLE))
    assert found.witnessed is (len(chosen & {0, 1, 2}) >= 2 and bool(chosen & {3, 4, 5}))
    assert found.signed_by == (VKEY,)
    assert set(found.cosigned_by) == {NAMES[n] for n in chosen}


def test_any_one_of_the_logs_will_do_and_no_other() -> None:
    """A signature by somebody else says nothing; with `quorum none` no witness is asked for."""
    other = Signer("example.com/other", 0x01, bytes([9]) * 32)
    policy = parse_trust_policy(f"log {VKEY}\nlog {format_vkey(other.verifier())}\nquorum none\n")
    assert not policy.wants_witness
    assert vouched(head(log=other), policy).signed_by == (format_vkey(other.verifier()),)
    found = vouched(head(log=OTHER_KEY), policy)
    assert (found.signed_by, found.witnessed) == ((), True)
    assert vouched(head(log=None), policy).signed_by == ()


def test_a_wrong_signature_by_a_trusted_key_is_an_alteration() -> None:
    signed = head()
    moved = parse_stored(signed.message.replace(b"\n7\n", b"\n8\n"))
    with pytest.raises(IntegrityError, match="not over this text"):
        vouched(moved, parse_trust_policy(f"log {VKEY}\nquorum none"))


def test_a_log_that_signs_is_no_witness() -> None:
    """A key has one role: the log cannot be counted for the quorum."""
    with pytest.raises(UsageError, match="is that of a log"):
        parse_trust_policy(f"witness W {VKEY}\nquorum W")


def vkey_of_type(kind: int) -> str:
    material = bytes([kind]) + bytes(1312)
    key_id = hashlib.sha256(b"pq.example/w\n" + material).hexdigest()[:8]
    return f"pq.example/w+{key_id}+{base64.b64encode(material).decode()}"


def test_a_key_of_a_type_that_is_not_known_is_not_checked_and_no_error() -> None:
    """A witness of a later day (ML-DSA-44, 0x06) never counts as one that cosigned."""
    text = f"log {VKEY}\n{LINES[0]}\nwitness PQ {vkey_of_type(6)}\ngroup G any X1 PQ\nquorum G"
    assert vouched(head(WITNESSES[0]), parse_trust_policy(text)).witnessed
    assert not vouched(head(), parse_trust_policy(text)).witnessed
    assert not vouched(head(WITNESSES[0]), parse_trust_policy(text.replace("any", "all"))).witnessed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has none"),
        (f"log {VKEY}\n", "has none"),
        ("quorum none\nquorum none", "line before"),
        ("quorum W", "no line before it defines"),
        (f"quorum X1\n{LINES[0]}", "no line before it defines"),
        (f"{LINES[0]}\n{LINES[0]}\nquorum X1", "defined already"),
        (f"{LINES[0]}\n{LINES[0].replace('X1', 'X2')}\nquorum X1", "another line"),
        (f"log {VKEY}\nlog {VKEY}\nquorum none", "another line"),
        (f"witness none {format_vkey(WITNESSES[0].verifier())}\nquorum none", "defined already"),
        (f"{LINES[0]}\ngroup G 2 X1\nquorum G", "from 1 to 1"),
        (f"{LINES[0]}\ngroup G 0 X1\nquorum G", "from 1 to 1"),
        (f"{LINES[0]}\ngroup G 01 X1\nquorum G", "from 1 to 1"),
        (f"{LINES[0]}\ngroup G every X1\nquorum G", "from 1 to 1"),
        (f"{LINES[0]}\ngroup G any\nquorum G", "it is not group"),
        (f"{LINES[0]}\ngroup G any none\nquorum G", "no line before it defines"),
        (f"{LINES[0]}\ngroup G any G\nquorum G", "no line before it defines"),
        (f"{LINES[0]}\ngroup G any X1 X1\nquorum G", "count twice"),
        (f"{LINES[0]}\ngroup G any X1\ngroup H any X1\nquorum H", "count twice"),
        ("witnesses W\nquorum none", "none of log"),
        ("Log x\nquorum none", "none of log"),
        (f"log {VKEY} a b\nquorum none", "it is not log"),
        (f"log {VKEY[:-4]}AAA=\nquorum none", "32 bytes"),
        (f"log {VKEY}\r\nquorum none\r\n", "control character"),
        (f"log {VKEY}\nquorum none\n\x00", "Line 3"),
    ],
)
def test_what_is_not_a_policy_is_refused_by_its_line(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_trust_policy(text)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [(EXAMPLE, True), ("quorum none", True), ("", False), ('trust = "log x"', False), ("log = 1", False)],
)
def test_a_file_need_not_say_which_form_it_has(text: str, is_one: bool) -> None:
    assert is_trust_policy(text) is is_one

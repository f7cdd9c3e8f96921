"""A note is opened when a known key signed exactly this text, and in no other case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger.errors import IntegrityError, LedgerError, UsageError
from run_evidence.ledger.tlog.keys import (
    COSIGNATURE,
    Signature,
    Signer,
    Verifier,
    cosigned_at,
    parse_skey,
    parse_vkey,
)
from run_evidence.ledger.tlog.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    UnknownSignerError,
    add_signatures,
    format_note,
    format_signature,
    open_note,
    parse_signatures,
    sign_note,
    split_note,
)
from tests.trust import vectors

PETER = parse_vkey(vectors.GO_VKEY)
ENOCH = parse_vkey(vectors.ENOCH_VKEY)
BOTH = f"{vectors.GO_TEXT}\n{vectors.GO_LINE}{vectors.ENOCH_LINE}".encode()

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=60).map(
    lambda text: text + "\n"
)
SIGNATURES = st.builds(
    Signature,
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="+"), min_size=1),
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=1, max_size=90),
)


def test_the_note_of_the_go_package_is_reproduced() -> None:
    note = sign_note(vectors.GO_TEXT, [parse_skey(vectors.GO_SKEY)])
    assert note == f"{vectors.GO_TEXT}\n{vectors.GO_LINE}".encode()


def test_signatures_are_sorted_into_verified_and_unverified() -> None:
    one = open_note(BOTH, [PETER])
    assert one.text == vectors.GO_TEXT
    assert [signature.name for signature in one.verified] == ["PeterNeumann"]
    assert [signature.name for signature in one.unverified] == ["EnochRoot"]
    assert "".join(map(format_signature, one.verified + one.unverified)) == (vectors.GO_LINE + vectors.ENOCH_LINE)
    two = open_note(BOTH, [ENOCH, PETER])
    assert [signature.name for signature in two.verified] == ["PeterNeumann", "EnochRoot"]
    assert two.unverified == ()


def test_the_note_of_the_specification_opens() -> None:
    assert open_note(vectors.SPEC_NOTE.encode(), [parse_vkey(vectors.SPEC_VKEY)]).verified


def test_a_public_log_s_checkpoint_opens_with_its_key_and_its_witness() -> None:
    log, witness = parse_vkey(vectors.PUBLIC_LOG_VKEY), parse_vkey(vectors.PUBLIC_WITNESS_VKEY)
    note = open_note(vectors.PUBLIC_NOTE.encode(), [log, witness])
    assert note.text == vectors.PUBLIC_TEXT
    assert [(s.name, s.key_id) for s in note.verified] == [
        (log.name, log.key_id),
        (witness.name, witness.key_id),
    ]
    assert cosigned_at(note.verified[1]) == vectors.PUBLIC_TIME_S
    assert len(note.unverified) == 4


@pytest.mark.parametrize("vkey", [vectors.PUBLIC_LOG_VKEY, vectors.PUBLIC_WITNESS_VKEY])
def test_a_public_checkpoint_changed_in_one_digit_does_not_open(vkey: str) -> None:
    changed = vectors.PUBLIC_NOTE.replace("1432088532", "1432088533")
    with pytest.raises(IntegrityError, match="is not over this text"):
        open_note(changed.encode(), [parse_vkey(vkey)])


def test_every_changed_byte_of_a_note_is_detected() -> None:
    """One signer, one key known: whichever bit of whichever byte is flipped, the note does not open."""
    note = f"{vectors.GO_TEXT}\n{vectors.GO_LINE}".encode()
    for position in range(len(note)):
        for bit in range(8):
            changed = bytearray(note)
            changed[position] ^= 1 << bit
            with pytest.raises(IntegrityError):
                open_note(bytes(changed), [PETER])


def test_a_note_by_unknown_keys_says_who_signed() -> None:
    with pytest.raises(UnknownSignerError, match=r"PeterNeumann\+c74f20a3, EnochRoot\+af0cfe78"):
        open_note(BOTH, [])


def test_the_same_name_with_another_key_is_unknown() -> None:
    other = Signer("PeterNeumann", 1, bytes(32)).verifier()
    with pytest.raises(UnknownSignerError):
        open_note(f"{vectors.GO_TEXT}\n{vectors.GO_LINE}".encode(), [other])


def test_one_wrong_signature_by_a_known_key_spoils_the_note() -> None:
    """Also where another known key signed rightly, and where the same key signed rightly before."""
    forged = format_signature(Signature("PeterNeumann", PETER.key_id, bytes(64)))
    for lines in (vectors.ENOCH_LINE + forged, vectors.GO_LINE + forged):
        with pytest.raises(IntegrityError, match="PeterNeumann"):
            open_note(f"{vectors.GO_TEXT}\n{lines}".encode(), [PETER, ENOCH])


def test_a_verifier_counts_once_however_often_it_signed() -> None:
    """A quorum is counted over keys: the same witness at two times is one witness."""
    witness = Signer("w", COSIGNATURE, bytes(32))
    lines = [witness.cosign(vectors.SPEC_CHECKPOINT, time_s) for time_s in (1, 2, 2)]
    note = open_note(format_note(vectors.SPEC_CHECKPOINT, lines), [witness.verifier(), witness.verifier()])
    assert [cosigned_at(signature) for signature in note.verified] == [1]


def test_repeated_unknown_lines_are_listed_once() -> None:
    note = open_note(BOTH + (vectors.ENOCH_LINE * 3).encode(), [PETER])
    assert len(note.unverified) == 1


def test_two_keys_with_one_name_and_id_are_ambiguous() -> None:
    """Key ids are 4 bytes, so such keys can be made; a note may not choose between them."""

    class Collision(Verifier):
        key_id = PETER.key_id

    with pytest.raises(UsageError, match="two verifier keys are called"):
        open_note(BOTH, [PETER, Collision("PeterNeumann", 1, ENOCH.public_key)])


@pytest.mark.parametrize(
    "message",
    [
        b"",
        vectors.GO_TEXT.encode(),
        f"{vectors.GO_TEXT}\n".encode(),
        f"{vectors.GO_TEXT}{vectors.GO_LINE}".encode(),
        f"{vectors.GO_TEXT}\n{vectors.GO_LINE[:-1]}".encode(),
        f"\x01{vectors.GO_TEXT}\n{vectors.GO_LINE}".encode(),
        f"{vectors.GO_TEXT}\r\n\n{vectors.GO_LINE}".encode(),
        b"\xff" + f"{vectors.GO_TEXT}\n{vectors.GO_LINE}".encode(),
        f"{vectors.GO_TEXT}\n{vectors.GO_LINE.replace('PeterNeumann', 'Bad Name')}".encode(),
        f"{vectors.GO_TEXT}\n{vectors.GO_LINE.replace('PeterNeumann', 'a+b')}".encode(),
        f"{vectors.GO_TEXT}\n{vectors.GO_LINE.replace('PeterNeumann', '')}".encode(),
        f"{vectors.GO_TEXT}\n{vectors.GO_LINE}Unexpected line.\n".encode(),
        f"{vectors.GO_TEXT}\n{vectors.GO_LINE.replace('— ', '- ')}".encode(),
        f"{vectors.GO_TEXT}\n{vectors.GO_LINE.replace('nAM=', 'nAN=')}".encode(),  # same bytes, other text
        f"{vectors.GO_TEXT}\n{vectors.GO_LINE.replace('nAM=', 'nAM')}".encode(),
        f"{vectors.GO_TEXT}\n— PeterNeumann x08gow==\n".encode(),  # a key id and no signature
        f"{vectors.GO_TEXT}\n— PeterNeumann\n".encode(),
        f"{vectors.GO_TEXT}\n{vectors.GO_LINE * (MAX_SIGNATURES + 1)}".encode(),
        b"x" * MAX_NOTE_BYTES + f"{vectors.GO_TEXT}\n{vectors.GO_LINE}".encode(),
    ],
)
def test_malformed_notes_are_refused(message: bytes) -> None:
    with pytest.raises(IntegrityError):
        open_note(message, [PETER])


def test_as_many_signatures_as_the_limit_are_read() -> None:
    assert len(parse_signatures(vectors.GO_LINE * MAX_SIGNATURES)) == MAX_SIGNATURES


@given(TEXTS, st.lists(SIGNATURES, min_size=1, max_size=4))
def test_notes_round_trip(text: str, signatures: list[Signature]) -> None:
    """The text may hold empty lines, and lines that look like signatures: the last empty line separates."""
    assert split_note(format_note(text, signatures)) == (text, tuple(signatures))


@given(st.binary(max_size=200) | st.text(alphabet="a\n— +=ABC/\x01é", max_size=60).map(str.encode))
def test_note_parsers_refuse_or_read_exactly(message: bytes) -> None:
    """Whatever the bytes, the outcome is our error or a note whose only form is those bytes."""
    try:
        text, signatures = split_note(message)
    except LedgerError:
        return
    assert format_note(text, signatures) == message


@given(st.text(max_size=80))
def test_signature_line_parser_refuses_or_reads_exactly(text: str) -> None:
    try:
        signatures = parse_signatures(text)
    except LedgerError:
        return
    assert "".join(map(format_signature, signatures)) == text


def test_a_cosignature_is_added_to_a_signed_note_and_replaced_by_a_later_one() -> None:
    log, witness = parse_skey(vectors.GO_SKEY), Signer("w", COSIGNATURE, bytes(32))
    note = sign_note(vectors.SPEC_CHECKPOINT, [log])
    for time_s in (1, 2):
        note = add_signatures(note, [witness.cosign(vectors.SPEC_CHECKPOINT, time_s)])
    opened = open_note(note, [log.verifier(), witness.verifier()])
    assert [signature.name for signature in opened.verified] == ["PeterNeumann", "w"]
    assert [cosigned_at(signature) for signature in opened.verified[1:]] == [2]


def test_notes_without_signatures_too_many_or_too_large_are_not_written() -> None:
    line = parse_signatures(vectors.GO_LINE)
    with pytest.raises(UsageError, match="1 to 100 signatures, got 0"):
        format_note("text\n", [])
    with pytest.raises(UsageError, match="got 101"):
        format_note("text\n", line * 101)
    with pytest.raises(UsageError, match="at most"):
        format_note("x" * MAX_NOTE_BYTES + "\n", line)
    with pytest.raises(UsageError, match="text of a note"):
        format_note("text", line)

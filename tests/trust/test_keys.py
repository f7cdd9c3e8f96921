"""A key's text form is the one other implementations write, and a signature is checked to the last bit."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_evidence.ledger.errors import IntegrityError, LedgerError, UsageError
from run_evidence.ledger.storage.key_file import generate_signer
from run_evidence.ledger.tlog.keys import (
    COSIGNATURE,
    ED25519,
    Signature,
    Signer,
    Verifier,
    cosigned_at,
    decode_base64,
    encode_base64,
    format_skey,
    format_vkey,
    parse_skey,
    parse_vkey,
)
from tests.trust import vectors

ROLES = st.sampled_from([ED25519, COSIGNATURE])
NAMES = st.text(min_size=1, max_size=20).filter(
    lambda name: "+" not in name and not any(c.isspace() or c < " " or "\ud800" <= c <= "\udfff" for c in name)
)
SEEDS = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize(
    "vkey",
    [
        vectors.GO_VKEY,
        vectors.ENOCH_VKEY,
        vectors.SPEC_VKEY,
        vectors.PUBLIC_LOG_VKEY,
        vectors.PUBLIC_WITNESS_VKEY,
    ],
)
def test_published_verifier_keys_round_trip(vkey: str) -> None:
    assert format_vkey(parse_vkey(vkey)) == vkey


def test_the_role_of_a_key_is_in_its_text() -> None:
    assert parse_vkey(vectors.GO_VKEY).algorithm == ED25519
    assert parse_vkey(vectors.PUBLIC_WITNESS_VKEY).algorithm == COSIGNATURE


def test_published_private_key_has_the_published_public_key() -> None:
    signer = parse_skey(vectors.GO_SKEY)
    assert format_skey(signer) == vectors.GO_SKEY
    assert format_vkey(signer.verifier()) == vectors.GO_VKEY


@pytest.mark.parametrize("vkey", [vectors.GO_VKEY, vectors.PUBLIC_WITNESS_VKEY])
def test_every_part_and_every_changed_byte_of_a_verifier_key_is_refused(vkey: str) -> None:
    """As Go's TestNewVerifier: all proper substrings, and each byte raised by one."""
    parts = {vkey[i:j] for i in range(len(vkey)) for j in range(i + 1, len(vkey) + 1)} - {vkey}
    raised = [vkey[:i] + chr(ord(c) + 1) + vkey[i + 1 :] for i, c in enumerate(vkey)]
    for wrong in ["", *parts, *raised, *vectors.GO_BAD_VKEYS, vkey + "\n", vkey.upper()]:
        with pytest.raises(UsageError):
            parse_vkey(wrong)


def test_every_part_and_every_changed_byte_of_a_private_key_is_refused_without_quoting_it() -> None:
    skey = vectors.GO_SKEY
    parts = {skey[i:j] for i in range(len(skey)) for j in range(i + 1, len(skey) + 1)} - {skey}
    raised = [skey[:i] + chr(ord(c) + 1) + skey[i + 1 :] for i, c in enumerate(skey)]
    secret = skey.rpartition("+")[2]
    for wrong in ["", *parts, *raised, skey + "\n", "PRIVATE+KEY+" + vectors.GO_BAD_VKEYS[1]]:
        with pytest.raises(UsageError) as caught:
            parse_skey(wrong)
        assert secret[:12] not in str(caught.value)
        assert secret[-12:] not in str(caught.value)


def test_the_seed_is_in_no_repr() -> None:
    signer = parse_skey(vectors.GO_SKEY)
    assert repr(signer.seed) not in repr(signer)
    assert "seed" not in repr(signer)


@given(NAMES, ROLES, SEEDS)
def test_keys_round_trip(name: str, role: int, seed: bytes) -> None:
    signer = Signer(name, role, seed)
    assert parse_skey(format_skey(signer)) == signer
    assert parse_vkey(format_vkey(signer.verifier())) == signer.verifier()


@given(
    st.text(max_size=120)
    | st.from_regex(r"(PRIVATE\+KEY\+)?[a-z]{0,3}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{0,48}={0,2}", fullmatch=True)
)
def test_key_parsers_refuse_or_read_exactly(text: str) -> None:
    """Whatever the text, the outcome is our error or a key whose only text form is that text."""
    with suppress(LedgerError):
        assert format_vkey(parse_vkey(text)) == text
    with suppress(LedgerError):
        assert format_skey(parse_skey(text)) == text


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\u00a0b", "a\nb", "a\x01b", "a\ud800b"])
def test_names_that_a_signature_line_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a key"):
        generate_signer(name)
    with pytest.raises(UsageError, match="cannot name a key"):
        Verifier(name, ED25519, bytes(32))
    with pytest.raises(IntegrityError):
        Signature(name, bytes(4), bytes(64))


def test_new_keys_differ() -> None:
    assert generate_signer("a") != generate_signer("a")


@given(NAMES, SEEDS, st.text(max_size=60), st.integers(0, 8 * 64 - 1))
def test_a_signature_holds_for_its_text_and_key_alone(name: str, seed: bytes, body: str, bit: int) -> None:
    text = "".join(c for c in body if c >= " ") + "\n"
    signer = Signer(name, ED25519, seed)
    signature, verifier = signer.sign(text), signer.verifier()
    assert verifier.verifies(text, signature)
    assert not verifier.verifies(text + "\n", signature)
    assert not verifier.verifies(text, replace(signature, value=flip(signature.value, bit)))
    assert not verifier.verifies(text, replace(signature, value=signature.value + b"\0"))
    assert not verifier.verifies(text, replace(signature, value=signature.value[:-1]))
    assert not verifier.verifies(text, replace(signature, name=name + "x"))
    assert not verifier.verifies(text, replace(signature, key_id=flip(signature.key_id, bit % 32)))
    cosigner = Verifier(name, COSIGNATURE, verifier.public_key)
    assert not cosigner.verifies(text, signature)


@given(SEEDS, st.integers(0, 2**63 - 1), st.integers(0, 8 * 72 - 1))
def test_a_cosignature_holds_for_its_text_and_time_alone(seed: bytes, time_s: int, bit: int) -> None:
    """Every bit counts, those of the stated time included."""
    signer = Signer("witness.example/w1", COSIGNATURE, seed)
    signature = signer.cosign(vectors.SPEC_CHECKPOINT, time_s)
    assert cosigned_at(signature) == time_s
    assert signer.verifier().verifies(vectors.SPEC_CHECKPOINT, signature)
    changed = replace(signature, value=flip(signature.value, bit))
    assert not signer.verifier().verifies(vectors.SPEC_CHECKPOINT, changed)
    assert not signer.verifier().verifies(vectors.SPEC_CHECKPOINT + "x\n", signature)


def test_the_cosigned_message_is_the_specification_s() -> None:
    """What is signed is header, time line and note text, so a plain signature over those bytes is the same.

    Source: C2SP tlog-cosignature, the example message.
    """
    message = f"cosignature/v1\ntime 1679315147\n{vectors.SPEC_CHECKPOINT}"
    seed = bytes(range(32))
    plain = Signer("w", ED25519, seed).sign(message)
    cosigned = Signer("w", COSIGNATURE, seed).cosign(vectors.SPEC_CHECKPOINT, 1679315147)
    assert cosigned.value == (1679315147).to_bytes(8, "big") + plain.value


def test_a_time_outside_63_bits_is_refused() -> None:
    signer = generate_signer("w", COSIGNATURE)
    for time_s in (-1, 2**63):
        with pytest.raises(UsageError, match="time of a cosignature"):
            signer.cosign(vectors.SPEC_CHECKPOINT, time_s)
    late = Signature("w", signer.verifier().key_id, b"\xff" * 72)
    assert not signer.verifier().verifies(vectors.SPEC_CHECKPOINT, late)
    with pytest.raises(IntegrityError, match="not a cosignature"):
        cosigned_at(late)


def test_keys_sign_in_their_own_role_only() -> None:
    with pytest.raises(UsageError, match="use cosign"):
        generate_signer("w", COSIGNATURE).sign("text\n")
    with pytest.raises(UsageError, match="use sign"):
        generate_signer("w").cosign("text\n", 0)


@pytest.mark.parametrize("text", ["", "no newline", "tab\tinside\n", "nul\x00\n", "lone \ud800\n", "cr\r\n"])
def test_texts_no_note_can_hold_are_not_signed(text: str) -> None:
    with pytest.raises(UsageError, match="text of a note"):
        generate_signer("w").sign(text)
    with pytest.raises(UsageError, match="text of a note"):
        generate_signer("w", COSIGNATURE).cosign(text, 0)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64), st.text(max_size=20))
def test_any_32_bytes_taken_for_a_public_key_verify_nothing_and_never_crash(
    key: bytes, value: bytes, text: str
) -> None:
    try:
        verifier = Verifier("x", ED25519, key)
    except UsageError:
        return
    assert not verifier.verifies(text, Signature("x", verifier.key_id, value))


P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def on_curve(y: int) -> int | None:
    """Return x with -x² + y² = 1 + d·x²·y², or None. Source: RFC 8032 section 5.1.3."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    for root in (x, x * pow(2, (P - 1) // 4, P) % P):
        if root * root % P == square:
            return root
    return None


def double(point: tuple[int, int]) -> tuple[int, int]:
    x, y = point
    twist = D * x * x * y * y
    return 2 * x * y * pow(1 + twist, -1, P) % P, (y * y + x * x) * pow(1 - twist, -1, P) % P


def test_keys_of_small_order_are_refused_and_there_are_no_others() -> None:
    """The five y coordinates are exactly the points that three doublings bring to the identity."""
    from run_evidence.ledger.tlog.keys import _WEAK_KEYS

    points = set()
    for y in _WEAK_KEYS:
        x = on_curve(y)
        assert x is not None
        assert double(double(double((x, y)))) == (0, 1)
        points |= {(x, y), (-x % P, y)}
    assert len(points) == 8  # the curve's cofactor: the whole subgroup
    for y in [*_WEAK_KEYS, P, P + 1]:  # the last two are other encodings of 0 and 1
        for sign in (0, 1 << 255):
            with pytest.raises(UsageError, match="small order"):
                Verifier("x", ED25519, (y | sign).to_bytes(32, "little"))


@given(st.binary(max_size=80))
def test_base64_round_trips(data: bytes) -> None:
    assert decode_base64(encode_base64(data), "here") == data


@given(st.text(alphabet="ABab+/=-_ \n\ud800", max_size=12))
def test_base64_has_one_form(text: str) -> None:
    try:
        data = decode_base64(text, "here")
    except IntegrityError as error:
        assert str(error).startswith("here: ")  # noqa: PT017 - either outcome is right, both are checked
        return
    assert encode_base64(data) == text


def test_importing_keys_and_notes_does_not_import_cryptography() -> None:
    """A young process that only reads a checkpoint pays for no cryptography library."""
    code = (
        "import sys; from run_evidence.ledger.tlog import checkpoint, note; sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)

"""Ed25519 keys with a name: what signs a checkpoint, and what anyone needs to verify it.

A key has one of two roles, told apart by one byte: `ED25519` signs a note as a log does, `COSIGNATURE` signs
it as a witness does, with the time of signing in the signature. `cryptography` is imported by the functions
that need it, so importing this module costs nothing. Nothing here reads or writes a file.

Source: C2SP signed-note, Signatures (key ids, Ed25519); C2SP tlog-cosignature, Format and Ed25519 signed
message; golang.org/x/mod/sumdb/note for the text form of private keys.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from run_evidence.ledger.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ED25519 = 0x01
COSIGNATURE = 0x04

_MAX_TIME_S = 2**63 - 1
_COSIGNATURE_BYTES = 8 + 64  # the time, big-endian, then an Ed25519 signature
_PRIVATE = "PRIVATE+KEY+"
_FIELD = 2**255 - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_WEAK_KEYS = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})
"""The y coordinates of Ed25519's eight points of small order. A signature under such a key fits many texts,
so its owner could sign two histories at once and deny both. Source: RFC 8032 section 5.1."""

_KEY_ID_HEX = re.compile("[0-9a-f]{8}")
_NOT_IN_NOTES = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who (name and the key id that goes with it), and the bytes after the key id."""

    name: str
    key_id: bytes
    value: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name) or len(self.key_id) != 4 or not self.value:
            raise IntegrityError(f"no signature line can have the name {self.name!r} and these bytes")


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name and role (`ED25519` or `COSIGNATURE`).

    Raises: UsageError for a name with spaces or a plus sign, an unknown role, a key that is not 32 bytes, or
    a key under which signatures prove nothing.
    """

    name: str
    algorithm: int
    public_key: bytes

    def __post_init__(self) -> None:
        _require_key(self.name, self.algorithm, self.public_key)
        y = int.from_bytes(self.public_key, "little") & (2**255 - 1)  # without the sign of x
        if y % _FIELD in _WEAK_KEYS:
            raise UsageError(
                f"the key {self.name} is of small order: a signature by it would fit other texts too",
                next_step="ask its owner for another verifier key",
            )

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key)[:4]. Source: C2SP signed-note, Signatures."""
        material = bytes([self.algorithm]) + self.public_key
        return sha256(self.name.encode() + b"\n" + material).digest()[:4]

    def verifies(self, text: str, signature: Signature) -> bool:
        """Tell whether `signature` is this key's signature over the note text `text`."""
        if (signature.name, signature.key_id) != (self.name, self.key_id) or _NOT_IN_NOTES.search(text):
            return False
        message, value = text.encode(), signature.value
        if self.algorithm == COSIGNATURE:
            time_s = _stated_time(value)
            if time_s is None:
                return False
            message, value = _cosigned_message(text, time_s), value[8:]
        return self.verifies_bytes(message, value)

    def verifies_bytes(self, message: bytes, value: bytes) -> bool:
        """Tell whether `value` is a bare Ed25519 signature of this key over exactly these bytes."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(value, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with its name and role. Its seed is in no repr and in no message."""

    name: str
    algorithm: int
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _require_key(self.name, self.algorithm, self.seed)

    def verifier(self) -> Verifier:
        """Return the public half, to hand to whoever verifies."""
        return Verifier(self.name, self.algorithm, self._private_key().public_key().public_bytes_raw())

    def sign(self, text: str) -> Signature:
        """Sign a note text as a log does. Raises: UsageError with a cosigner's key, or for a bad text."""
        if self.algorithm != ED25519:
            raise UsageError(f"the key {self.name} is a cosigner's: use cosign()")
        require_note_text(text)
        return Signature(self.name, self.verifier().key_id, self._private_key().sign(text.encode()))

    def sign_bytes(self, message: bytes) -> bytes:
        """Sign bytes that are no note, as a log does; 64 bytes. A note ends in a newline, and these must not.

        So nothing that is signed here can be put under a checkpoint as its signature.

        Raises: UsageError with a cosigner's key, or for bytes that end in a newline.
        """
        if self.algorithm != ED25519 or message.endswith(b"\n"):
            raise UsageError(
                f"the key {self.name} does not sign this: it could pass for a note, or is a cosigner's"
            )
        return self._private_key().sign(message)

    def cosign(self, text: str, time_s: int) -> Signature:
        """Sign a checkpoint text as a witness does, as of `time_s` (seconds since 1970, UTC).

        The caller has checked that the checkpoint is a consistent extension of the last one cosigned.

        Raises: UsageError with a log's key, for a bad text, or for a time outside 0..2^63-1.
        Source: C2SP tlog-cosignature, Format and Ed25519 signed message.
        """
        if self.algorithm != COSIGNATURE:
            raise UsageError(f"the key {self.name} is not a cosigner's: use sign()")
        if not 0 <= time_s <= _MAX_TIME_S:
            raise UsageError(f"the time of a cosignature must be in 0..{_MAX_TIME_S} seconds, got {time_s}")
        require_note_text(text)
        value = time_s.to_bytes(8, "big") + self._private_key().sign(_cosigned_message(text, time_s))
        return Signature(self.name, self.verifier().key_id, value)

    def _private_key(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed)


def format_vkey(verifier: Verifier) -> str:
    """Return the public key as text: `name+keyid+base64(algorithm ‖ key)`."""
    material = bytes([verifier.algorithm]) + verifier.public_key
    return f"{verifier.name}+{verifier.key_id.hex()}+{encode_base64(material)}"


def parse_vkey(text: str) -> Verifier:
    """Read a public key as `format_vkey` writes it.

    Raises: UsageError for anything else, a key id that does not belong to name and key included.
    """
    name, key_id, material = _split_key(text, "a verifier key")
    verifier = Verifier(name, material[0], material[1:])
    if verifier.key_id != key_id:
        expected = verifier.key_id.hex()
        raise UsageError(f"the verifier key of {name} states key id {key_id.hex()}, its key has {expected}")
    return verifier


def is_unknown_type(text: str) -> bool:
    """Tell whether a text has the form of a verifier key, of a type that this program does not know.

    Such a key checks nothing and is no error. Source: C2SP signed-note, Signature types.
    """
    try:
        _, _, material = _split_key(text, "a verifier key")
    except UsageError:
        return False
    return material[0] not in {ED25519, COSIGNATURE}


def format_skey(signer: Signer) -> str:
    """Return the private key as text, `PRIVATE+KEY+name+keyid+base64(algorithm ‖ seed)`. Keep it secret."""
    material = bytes([signer.algorithm]) + signer.seed
    return f"{_PRIVATE}{signer.name}+{signer.verifier().key_id.hex()}+{encode_base64(material)}"


def parse_skey(text: str) -> Signer:
    """Read a private key as `format_skey` writes it. No message ever quotes the text.

    Raises: UsageError for anything else, a key id that does not belong to name and key included.
    """
    if not text.startswith(_PRIVATE):
        raise UsageError(f"not a private key: it does not begin with {_PRIVATE}")
    name, key_id, material = _split_key(text.removeprefix(_PRIVATE), "a private key")
    try:
        signer = Signer(name, material[0], material[1:])
    except UsageError:  # its message has the name, which in a mangled key may be anything
        raise UsageError("not a private key: its name, type or length is wrong") from None
    if signer.verifier().key_id != key_id:
        raise UsageError("the private key does not belong to the key id it states")
    return signer


def cosigned_at(signature: Signature) -> int:
    """Return the time a cosignature states, in seconds since 1970, UTC.

    Raises: IntegrityError if the signature is not of that kind.
    """
    time_s = _stated_time(signature.value)
    if time_s is None:
        raise IntegrityError(f"the signature by {signature.name} is not a cosignature with a time")
    return time_s


def decode_base64(text: str, where: str) -> bytes:
    """Decode standard padded base64, in its one canonical form.

    Otherwise a byte of a signature line could be changed and the note would still verify.

    Raises: IntegrityError naming `where`.
    """
    try:
        data = base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        data = None
    if data is None or encode_base64(data) != text:
        raise IntegrityError(f"{where}: not canonical base64: {text[:80]!r}")
    return data


def encode_base64(data: bytes) -> str:
    """Encode as standard base64 with padding."""
    return base64.b64encode(data).decode()


def is_key_name(name: str) -> bool:
    """Tell whether `name` can name a key: not empty, no Unicode space, no plus sign, no control character."""
    return bool(name) and not _NOT_IN_NOTES.search(name) and not any(c == "+" or c.isspace() for c in name)


def require_note_text(text: str) -> None:
    """Raise a UsageError unless a note can hold `text`: Unicode, no control characters, a final newline."""
    if not text.endswith("\n") or _NOT_IN_NOTES.search(text):
        raise UsageError("the text of a note must be Unicode without control characters and end in a newline")


def _stated_time(cosignature: bytes) -> int | None:
    time_s = int.from_bytes(cosignature[:8], "big")
    return time_s if len(cosignature) == _COSIGNATURE_BYTES and time_s <= _MAX_TIME_S else None


def _cosigned_message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _require_key(name: str, algorithm: int, key: bytes) -> None:
    if not is_key_name(name):
        raise UsageError(
            f"{name!r} cannot name a key: it must be non-empty, without spaces and plus signs",
            next_step="choose a name such as example.com/ledger",
        )
    if algorithm not in (ED25519, COSIGNATURE):
        raise UsageError(f"the key {name} is of type 0x{algorithm:02x}; known are Ed25519: 0x01, 0x04")
    if len(key) != 32:
        raise UsageError(f"the key {name} must be 32 bytes, got {len(key)}")


def _split_key(text: str, what: str) -> tuple[str, bytes, bytes]:
    """Split `name+keyid+base64` into its three values, the last at least one byte."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    if not _KEY_ID_HEX.fullmatch(key_id):
        raise UsageError(f"not {what}: it must read name+8 hex digits+base64")
    try:
        material = decode_base64(encoded, what)
    except IntegrityError:
        material = b""
    if not material:  # said without the text: it may be a private key
        raise UsageError(f"not {what}: the part after the key id is not base64")
    return name, bytes.fromhex(key_id), material

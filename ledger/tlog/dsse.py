"""Signed statements: a DSSE envelope around a payload, with one signature by a log's key.

Source: DSSE v1.0, protocol (PAE) and envelope; in-toto Attestation Framework, Envelope.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from run_evidence.ledger.errors import IntegrityError
from run_evidence.ledger.tlog.keys import Signer, Verifier, decode_base64, encode_base64

IN_TOTO: Final = "application/vnd.in-toto+json"


def encode_for_signing(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: `DSSEv1`, length and text of the type, length and bytes of the payload."""
    kind = payload_type.encode()
    return b" ".join([b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload])


def format_envelope(payload_type: str, payload: bytes, signer: Signer) -> bytes:
    """Return the envelope of a payload, which ends in no newline, as one line of JSON. `keyid` is `name+key id`."""
    key = signer.verifier()
    signature = {
        "keyid": _key_id(key),
        "sig": encode_base64(signer.sign_bytes(encode_for_signing(payload_type, payload))),
    }
    body = {"payload": encode_base64(payload), "payloadType": payload_type, "signatures": [signature]}
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def open_envelope(envelope: bytes, payload_type: str, keys: Sequence[Verifier]) -> bytes:
    """Return the payload of an envelope that one of `keys` has signed.

    Raises: IntegrityError for anything else, or a signature by one of the keys that is wrong.
    """
    try:
        body: Any = json.loads(envelope)
        stated, payload = body["payloadType"], decode_base64(body["payload"], "the payload of the envelope")
        signatures = [(str(each.get("keyid")), str(each["sig"])) for each in body["signatures"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise IntegrityError("it is no DSSE envelope") from None
    if stated != payload_type:
        raise IntegrityError(f"the envelope has a payload of type {stated!r:.80}, expected {payload_type}")
    message = encode_for_signing(payload_type, payload)
    by_id = {_key_id(key): key for key in keys}
    known = [(by_id[key_id], value) for key_id, value in signatures if key_id in by_id]
    if not known:
        raise IntegrityError(f"the envelope is signed by {[each for each, _ in signatures]!r:.200}, no key given")
    for key, value in known:
        if not key.verifies_bytes(message, decode_base64(value, "a signature of the envelope")):
            raise IntegrityError(f"the signature of the envelope by {_key_id(key)} is not over this payload")
    return payload


def _key_id(key: Verifier) -> str:
    return f"{key.name}+{key.key_id.hex()}"

"""Pages that carry their own proof: an HTML file with a document in it, and what proves that the log recorded it.

The document states the SHA-256 of the file's other bytes, so that what a page shows, its style and its script are
bound to the log as the document is. `main_sha256` is what a browser can hold its own view of `<main>` against.

Source: docs/format.md, Pages.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING, Any, Final

from run_evidence.ledger.errors import IntegrityError, UsageError
from run_evidence.ledger.proving.check import Proven, check_proof
from run_evidence.ledger.proving.check_document import read_document
from run_evidence.ledger.tlog.proof_file import MAX_PROOF_BYTES, parse_proof

if TYPE_CHECKING:
    from run_evidence.ledger.tlog.trust import Trust

SEAL: Final = "seal"
"""The id of the element in `<main>` that is no part of what the page shows: it says what the browser found."""

_BEGIN: Final = b"<!DOCTYPE html>"
_DOCUMENT: Final = b'<script type="text/plain" id="document">'
_PROOF: Final = b'<script type="text/plain" id="proof">'
_END: Final = b"</script>"
_VOID: Final = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "wbr"})
_TAG: Final = re.compile(r"([^<]*)<(/?)([a-z][a-z0-9]*)((?:\s[^<>]*)?)>")
_ATTRIBUTE: Final = re.compile(r'\s([A-Za-z][A-Za-z0-9:_-]*)(?:="([^"]*)")?')
_JSON: Final = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class PageFile:
    """What an HTML file carries: a document and its proof; `drawn_sha256` is of all its other bytes."""

    document: bytes
    proof: bytes
    drawn_sha256: str


def check_file(data: bytes, trust: Trust, document: bytes | None = None) -> Proven:
    """Check a proof file, or a page, which has its document in it.

    Raises: IntegrityError naming what does not hold; UsageError when a document is missing or not expected.
    """
    if not data.startswith(_BEGIN):
        return check_proof(parse_proof(data), trust, document)
    if document is not None:
        raise UsageError("A page has its document in it.", next_step="ledger check PAGE.html --key VKEY")
    return check_page(data, trust)


def drawn_digests(page: bytes) -> Mapping[str, str]:
    """Return what the document of a page states of it: `page_sha256` and `main_sha256`.

    Raises: IntegrityError where the page has no place for a document and a proof.
    """
    drawn = "\n".join(_lines_of_main(page.decode())).encode()
    return {
        "page_sha256": hashlib.sha256(b"".join(_parts(page)[::2])).hexdigest(),
        "main_sha256": hashlib.sha256(drawn).hexdigest(),
    }


def with_proof(page: bytes, document: bytes, proof: bytes) -> bytes:
    """Return the page with a document and its proof in their places; the same bytes for the same three."""
    before, _, between, _, after = _parts(page)
    return b"".join([before, _packed(document), between, _packed(proof), after])


def read_page(data: bytes) -> PageFile:
    """Read what `with_proof` wrote. Raises: IntegrityError for anything else."""
    before, document, between, proof, after = _parts(data)
    drawn = hashlib.sha256(b"".join([before, between, after])).hexdigest()
    return PageFile(_unpacked(document, "document"), _unpacked(proof, "proof"), drawn)


def check_page(data: bytes, trust: Trust) -> Proven:
    """Check a page without believing its script: its document is proved, and it shows what the document says.

    Raises: IntegrityError naming what does not hold.
    """
    page = read_page(data)
    proven = check_proof(parse_proof(page.proof), trust, page.document)
    drawn: Any = read_document(page.document).get("drawn")
    stated = drawn.get("page_sha256") if isinstance(drawn, Mapping) else None
    if stated != page.drawn_sha256:
        raise IntegrityError(
            f"the page was changed: without its document and proof it has SHA-256 {page.drawn_sha256}, "
            f"the log has recorded {stated}",
            next_step="what the document in it says is proved; ledger report --html draws it again",
        )
    return proven


def _parts(data: bytes) -> list[bytes]:
    """Return what is before the document, the document, what is between, the proof, and what is after it."""
    before, found, rest = data.partition(_DOCUMENT)
    document, end, rest = rest.partition(_END)
    between, also, rest = rest.partition(_PROOF)
    proof, last, after = rest.partition(_END)
    others = before + between + after
    if not (found and end and also and last) or _DOCUMENT in others or _PROOF in others:
        raise IntegrityError("not a page with a proof: it has not one place for a document and one for a proof")
    return [before + found, document, end + between + also, proof, last + after]


def _packed(content: bytes) -> bytes:
    return base64.b64encode(gzip.compress(content, 6, mtime=0))


def _unpacked(packed: bytes, what: str) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(base64.b64decode(packed, validate=True), MAX_PROOF_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise IntegrityError(f"the {what} in the page is not gzip in base64: {error}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise IntegrityError(f"the {what} in the page is cut off, too large, or has something after it")
    return content


def _lines_of_main(page: str) -> Iterator[str]:
    """Yield what `<main>` holds, as a browser's script walks over it: elements, attributes by name, text.

    Raises: IntegrityError for HTML that the templates do not write.
    """
    depth = seal_depth = 0
    for text, closing, tag, attributes in _tags_of_main(page):
        if text and not seal_depth:
            yield _JSON(unescape(text))
        if closing:
            if not seal_depth:
                yield "[]"
            elif seal_depth == depth:
                seal_depth = 0
            depth -= 1
            continue
        depth += tag not in _VOID
        named = sorted((name.lower(), unescape(value or "")) for name, value in _ATTRIBUTE.findall(attributes))
        if not seal_depth and ("id", SEAL) in named:
            seal_depth = depth
        elif not seal_depth:
            yield _element(tag, named)
            if tag in _VOID:
                yield "[]"
    if depth:
        raise _not_drawn_here()


def _tags_of_main(page: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield the tags of `<main>`: the text before each, `/` for one that closes, its name, and its attributes.

    It reads what the templates write and nothing else: names in lower case, values in double quotes, no comment.
    """
    at, end = page.find("<main"), page.find("</main>") + len("</main>")
    for found in _TAG.finditer(page, max(at, 0), end):
        if found.start() != at:
            break
        at = found.end()
        yield found[1], found[2], found[3], found[4]
    if at != end:
        raise _not_drawn_here()


def _not_drawn_here() -> IntegrityError:
    return IntegrityError("the page was not drawn by this program: its <main> is not as the templates write it")


def _element(tag: str, named: Sequence[tuple[str, str]]) -> str:
    attributes = ",".join(f"[{_JSON(name)},{_JSON(value)}]" for name, value in named)
    return f"[{_JSON(tag)},[{attributes}]]"

"""A log written with our functions is verified by Go's, which know nothing of us.

The verifier is `tests/trust/foreign/main.go`, built on golang.org/x/mod/sumdb/{note,tlog} as Debian packages
them (`golang-go`, `golang-golang-x-mod-dev`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from run_evidence.ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from run_evidence.ledger.tlog.keys import Signer, encode_base64, format_vkey
from run_evidence.ledger.tlog.merkle import leaf_hash
from run_evidence.ledger.tlog.note import sign_note
from run_evidence.ledger.tlog.tiles import TileEdge, encode_bundle, tile_path
from tests.trust.reference import Reference
from tests.trust.tile_reference import new_bundles

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.foreign

SOURCE = Path(__file__).parent / "foreign" / "main.go"
GOPATH = Path("/usr/share/gocode")
LOG = Signer("example.com/ledger", 0x01, bytes(range(32)))
VKEY = format_vkey(LOG.verifier())


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built Go program."""
    package = GOPATH / "src/golang.org/x/mod/sumdb/tlog"
    if shutil.which("go") is None or not package.is_dir():
        missing = "Go or its sumdb packages are missing: apt-get install golang-go golang-golang-x-mod-dev"
        if os.environ.get("LEDGER_TESTS_REQUIRE_ALL") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    built = tmp_path_factory.mktemp("go")
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": str(GOPATH),
        "GOFLAGS": "",
        "GOCACHE": str(built / "cache"),
    }
    subprocess.run(["go", "build", "-o", built / "foreign", SOURCE], env=environment, check=True)
    return built / "foreign"


def entries(size: int) -> list[bytes]:
    """Return entries of many lengths, the empty one and the longest one included."""
    some = [b"%d " % i + b"x" * (i % 61) for i in range(size)]
    return [b"", bytes(65_535), *some][:size]


def publish(directory: Path, sizes: Sequence[int]) -> Reference:
    """Write a log that was published at each of `sizes` in turn, as C2SP tlog-tiles."""
    reference = Reference(entries(sizes[-1]))
    edge = TileEdge.empty()
    for size in sizes:
        leaves = [leaf_hash(entry) for entry in reference.entries[edge.size : size]]
        bundles = [
            (tile, encode_bundle(reference.entries[tile.index * 256 :][: tile.width]))
            for tile in new_bundles(edge.size, size)
        ]
        edge, full = edge.extend(leaves)
        for tile, data in [*bundles, *full, *edge.partial_tiles()]:
            path = directory / tile_path(tile)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        head = Checkpoint(LOG.name, size, edge.frontier().root())
        (directory / "checkpoint").write_bytes(sign_note(format_checkpoint(head), [LOG]))
    return reference


def run(verifier: Path, directory: Path, *older: str, vkey: str = VKEY) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [verifier, directory, vkey, *older]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.soak
@pytest.mark.parametrize(
    "sizes",
    [[1], [1, 5], [5, 255, 256], [256, 257], [3, 256, 512, 700], [1, 700, 65_536, 65_539]],
    ids=lambda sizes: str(sizes[-1]),
)
def test_go_verifies_what_we_publish(verifier: Path, tmp_path: Path, sizes: list[int]) -> None:
    """Signature, root, every hash of the tiles, inclusion of every entry, consistency with older sizes."""
    reference = publish(tmp_path, sizes)
    older = [f"{size}:{encode_base64(reference.root(size))}" for size in sizes]
    done = run(verifier, tmp_path, *older)
    assert done.returncode == 0, done.stderr
    root = encode_base64(reference.root(sizes[-1]))
    assert done.stdout == f"verified size={sizes[-1]} root={root} consistency={len(sizes)}\n"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("checkpoint", "checkpoint"),
        ("tile/entries/000", "entr"),
        ("tile/entries/002.p/188", "entr"),
        ("tile/0/000", "tile"),
        ("tile/0/002.p/188", "tile"),
        ("tile/1/000.p/2", "tile"),
    ],
)
def test_go_refuses_one_flipped_byte(verifier: Path, tmp_path: Path, name: str, complaint: str) -> None:
    """The first, the middle or the last byte of every kind of file; the unchanged log is accepted."""
    publish(tmp_path, [700])
    assert run(verifier, tmp_path).returncode == 0
    path = tmp_path / name
    right = path.read_bytes()
    for position in (0, len(right) // 2, len(right) - 1):
        wrong = bytearray(right)
        wrong[position] ^= 1
        path.write_bytes(wrong)
        done = run(verifier, tmp_path)
        assert done.returncode == 1, f"byte {position} of {name}"
        assert complaint in done.stderr


def test_go_refuses_another_key_and_another_past(verifier: Path, tmp_path: Path) -> None:
    reference = publish(tmp_path, [700])
    other = format_vkey(Signer(LOG.name, 0x01, bytes(32)).verifier())
    assert "no verifiable signatures" in run(verifier, tmp_path, vkey=other).stderr
    past = f"300:{encode_base64(reference.root(299))}"
    assert "consistency with size 300" in run(verifier, tmp_path, past).stderr

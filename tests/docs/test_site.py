"""The documentation as a site: every link leads somewhere, and it asks nobody else's server for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LOADED = re.compile(
    r"<(?:script|img|iframe)[^>]*\bsrc=\"(https?://[^\"]+)|<link[^>]*rel=\"stylesheet\"[^>]*href=\"(https?://[^\"]+)"
)


@pytest.mark.soak
def test_the_site_is_built_with_every_link_leading_somewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(list(ROOT.glob("docs/**/*.md")))
    loaded = {address for page in pages for found in _LOADED.findall(page.read_text("utf-8")) for address in found}
    assert loaded - {""} == set()

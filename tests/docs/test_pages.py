"""The pages of docs/ are true: made from the code, linked to things that exist."""

import re
from pathlib import Path

import pytest

from docs.generate import PAGES

ROOT = Path(__file__).parents[2]
MARKDOWN = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert page == PAGES[name](), f"docs/{name} is stale; rebuild it with: make docs"


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_links_only_to_files_that_are_there(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert not missing, f"{path.relative_to(ROOT)} links to {missing}"


def test_no_page_or_setting_names_a_package_registry_or_a_machine_path() -> None:
    """A lock file or page with an address ties the project to a server it does not choose."""
    forbidden = re.compile(r"pypi\.org|pythonhosted|registry\.npmjs|deb\.debian\.org|/root/|/home/[a-z]")
    configured = [ROOT / n for n in ("constraints.txt", "pyproject.toml", "Makefile", ".ci/run")]
    found = [p.name for p in [*MARKDOWN, *configured] if forbidden.search(p.read_text(encoding="utf-8"))]
    assert not found

"""The pages of the site that lie outside of docs/: the README as its start, the changelog, the example's README.

A hook of mkdocs (`make site`). A link that leads to a file of the checkout and to no page becomes its text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

_ROOT: Final = Path(__file__).parents[1]
_OUTSIDE: Final = {"index.md": "README.md", "changelog.md": "CHANGELOG.md", "example.md": "pipelines/README.md"}
_LINK: Final = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)|!\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside of docs/."""
    for name, source in _OUTSIDE.items():
        files.append(File.generated(config, name, content=(_ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Return the text of a page with its links as they are on the site."""
    source = _ROOT / _OUTSIDE.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    known = {*files.src_uris}

    def rewritten(found: re.Match[str]) -> str:
        text, target, anchor, alternative, picture = found.groups()
        if "://" in (target or picture):
            return found[0]
        place = _on_site((source.parent / (target or picture)).resolve())
        if place is None or place not in known:
            return text if text is not None else found[0]
        up = "../" * page.file.src_uri.count("/")
        if picture:
            return f"![{alternative}]({up}{place})"
        return f"[{text}]({up}{place}{anchor or ''})"

    return _LINK.sub(rewritten, markdown)


def _on_site(path: Path) -> str | None:
    """Return the address of a file of the checkout within the site; `None` where it is no page."""
    if not path.is_relative_to(_ROOT):
        return None
    inside = path.relative_to(_ROOT).as_posix()
    outside = {source: name for name, source in _OUTSIDE.items()}
    return outside.get(inside, inside.removeprefix("docs/") if inside.startswith("docs/") else None)

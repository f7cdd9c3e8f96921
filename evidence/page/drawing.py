"""Drawing a page: the document of a page as one HTML file, the same bytes for the same document.

Every text goes through Jinja's escaping, and what could hide from a reader is shown as an escape before that.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import orjson

from run_evidence.evidence.page.graph import HEIGHT, WIDTH, Graph, draw_graph
from run_evidence.evidence.page.index import SCHEMA_VERSION as INDEX_VERSION
from run_evidence.evidence.page.index_map import PITCH, SHAPES, draw_map
from run_evidence.evidence.page.words import LETTERS, MEANINGS
from run_evidence.evidence.verdict import COUNTED_AS
from run_evidence.ledger.terminal import printable

if TYPE_CHECKING:
    from jinja2 import Environment

    from run_evidence.evidence.document import Document

ROWS: Final = 300
"""Rows of a table in the file itself; the page's script makes the rest of them from the document when asked."""

_GRAPH_NODES: Final = 80
_BARS: Final = 120
_LINE: Final = 20  # units of the timeline's drawing for each bar
_PLOT: Final = 640


def draw(document: Document, *, live: int = 0) -> bytes:
    """Return the page of a document without the document and its proof.

    `live` draws one that is served: it has no place for them, leads to the server's other pages, and is asked for
    again after so many seconds until it is final.
    """
    script, style = _asset("noble.min.js") + _constants() + _asset("page.js"), _asset("page.css")
    of_index = document["schema_version"] == INDEX_VERSION
    page = (
        _environment()
        .get_template("index.html.j2" if of_index else "page.html.j2")
        .render(
            page=document,
            meanings=MEANINGS,
            rows=ROWS,
            live=live,
            script=script,
            style=style,
            script_sha256=_csp(script),
            style_sha256=_csp(style),
            **(_of_index(document) if of_index else _of_page(document)),
        )
    )
    return page.encode()


def _of_page(document: Document) -> dict[str, Any]:
    return {
        "runs": [{**run, "bars": _bars(run), "graph": _graph(run, document)} for run in document["runs"]],
        "shown": _shown_items(document),
        "counts": _count_bars(document),
        "box": {"width": WIDTH, "height": HEIGHT},
        "line": _LINE,
    }


def _of_index(document: Document) -> dict[str, Any]:
    states = document["map"]
    count = Counter("".join(states["letters"]).replace(" ", ""))
    told = ", ".join(f"{count[letter]} {letter}" for letter in MEANINGS if count[letter])
    return {
        "drawn": draw_map(states["partitions"], states["letters"]),
        "shapes": SHAPES,
        "tones": {letter: verdict for verdict, letter in LETTERS.items()},
        "counts_of_states": f"{count.total()} cells: {told}. Click one to read it.",
    }


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("run_evidence.evidence", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters["raw"] = _raw
    return environment


def _raw(text: str) -> Any:
    """Return our own script or style as it is; nothing recorded is ever in it."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - the files of this package


def _asset(name: str) -> str:
    return files("run_evidence.evidence").joinpath("page", name).read_text(encoding="utf-8")


def _constants() -> str:
    values = {"COUNTED_AS": COUNTED_AS, "LETTERS": LETTERS, "MEANINGS": MEANINGS, "PITCH": PITCH}
    return "".join(
        f"const {name}={orjson.dumps(dict(value) if isinstance(value, Mapping) else value).decode()};\n"
        for name, value in values.items()
    )


def _csp(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _shown_items(document: Document) -> list[int]:
    """Return the places of the items that the file shows: what did not pass first, and not more than `ROWS`."""
    items = document["items"]
    order = [*document["left_out"], *(n for n, item in enumerate(items) if item["verdict"] == "passed")]
    return sorted(order[:ROWS])


def _bars(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps that worked longest, in the order in which they began, as bars in `_PLOT` units."""
    start = _microseconds(run["started_at"])
    drawn = [step for step in run["steps"] if step["started"] and step["ended"]]
    ends = [_microseconds(step["ended"]["occurred_at"]) for step in drawn]
    span = max([end - start for end in ends], default=0) or 1
    longest = sorted(range(len(drawn)), key=lambda n: -float(drawn[n]["seconds"]))[:_BARS]
    chosen = [drawn[n] for n in sorted(longest)]
    return [{"step": step, **_bar(step, start, span, row)} for row, step in enumerate(chosen)]


def _bar(step: Mapping[str, Any], start: int, span: int, row: int) -> dict[str, Any]:
    begun, ended = (_microseconds(step[name]["occurred_at"]) - start for name in ("started", "ended"))
    ready = _microseconds(step["ready_at"]) - start if step["ready_at"] else 0
    x, waited = _PLOT * begun / span, _PLOT * min(ready, begun) / span
    return {
        "x": f"{x:.1f}",
        "width": f"{max(_PLOT * (ended - begun) / span, 1.5):.1f}",
        "wait_x": f"{waited:.1f}",
        "wait": f"{x - waited:.1f}",
        "y": row * _LINE,
    }


def _microseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1_000_000)


def _graph(run: Mapping[str, Any], document: Document) -> Graph | None:
    """Return the graph of a run's assets; `None` where it has too many to be read, or no order is known."""
    mine = [item for item in document["items"] if item["run_id"] == run["run_id"] and item["check_name"] is None]
    asset_of = {item["step_key"]: item["asset_key"] for item in mine if item["step_key"]}
    if not 1 < len({item["asset_key"] for item in mine}) <= _GRAPH_NODES:
        return None
    before: dict[str, set[str]] = {item["asset_key"]: set() for item in mine}
    for step, asset in asset_of.items():
        before[asset] |= {asset_of[each] for each in run["after"].get(step, ()) if each in asset_of}
    return draw_graph({key: sorted(keys) for key, keys in before.items()})


def _count_bars(document: Document) -> Sequence[dict[str, Any]]:
    """Return the row counts with the length of each one's bar, in hundredths of the largest."""
    largest = max((row["count"] for row in document["counts"]), default=0) or 1
    return [{**row, "length": f"{100 * max(row['count'], 0) / largest:.1f}"} for row in document["counts"][:ROWS]]

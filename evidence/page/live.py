"""The pages live, for a browser on this machine: read-only, from the ledger as it is when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from run_evidence.evidence.gate import declared_for, gate_within
from run_evidence.evidence.gate_policy import GatePolicy
from run_evidence.evidence.gate_subject import Asked
from run_evidence.evidence.page.document import VIEWS, page_document
from run_evidence.evidence.page.drawing import draw
from run_evidence.evidence.page.index import VIEWS as INDEX_VIEWS
from run_evidence.evidence.page.index import index_document
from run_evidence.evidence.prefix import open_prefix
from run_evidence.evidence.profile_choice import find_profiles
from run_evidence.ledger import LedgerError, UsageError

if TYPE_CHECKING:
    from starlette.requests import Request

    from run_evidence.ledger import Ledger

SECONDS: Final = 5
"""After how long a page that is not final asks for itself again."""

_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def live_pages(ledger: Ledger, policy: GatePolicy | None = None) -> Starlette:
    """Return the application: `/`, `/run/ID`, `/delivery?product=…&partition=…`, `/release/NAME`, `/entry/INDEX`.

    It answers GET and HEAD alone, and only to the names of this machine: a page of somebody else's, whose name was
    made to lead here, gets nothing.
    """
    rules = policy or GatePolicy()

    def index(_: Request) -> Response:
        with open_prefix(ledger, also=INDEX_VIEWS) as prefix:
            return _page(draw(index_document(prefix), live=SECONDS))

    def of_run(request: Request) -> Response:
        return _asked(Asked(run_id=request.path_params["run_id"]))

    def of_release(request: Request) -> Response:
        return _asked(Asked(release_id=request.path_params["release"]))

    def of_delivery(request: Request) -> Response:
        asked = request.query_params
        return _asked(Asked(product=asked.get("product"), partition=asked.get("partition") or None))

    def _asked(asked: Asked) -> Response:
        asked.require_one()
        profiles = find_profiles(ledger)
        declared = declared_for(rules, profiles)
        with open_prefix(ledger, also=(*declared.views, *VIEWS)) as prefix:
            gate = gate_within(prefix, asked, rules, rules.require, profiles, declared)
            return _page(draw(page_document(prefix, gate, declared), live=SECONDS))

    def entry(request: Request) -> Response:
        number = request.path_params["number"]
        with open_prefix(ledger, also=("entries",)) as prefix:
            rows = prefix.select("entry_bytes", number=number)
        if not rows:
            raise UsageError(f"The log has no entry {number}.", next_step="/ leads to those it has")
        return Response(bytes(rows[0][0]), media_type="application/json", headers=_HEADERS)

    routes = [
        Route("/", index, methods=["GET"]),
        Route("/run/{run_id}", of_run, methods=["GET"]),
        Route("/release/{release}", of_release, methods=["GET"]),
        Route("/delivery", of_delivery, methods=["GET"]),
        Route("/entry/{number:int}", entry, methods=["GET"]),
    ]
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=list(_HOSTS), www_redirect=False)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers={LedgerError: _refused})


def _page(html: bytes) -> Response:
    return HTMLResponse(html, headers=_HEADERS)


def _refused(_: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, UsageError) else 500
    return PlainTextResponse(f"{error}\n", status_code=status, headers=_HEADERS)

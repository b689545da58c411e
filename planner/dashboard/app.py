"""The page as a web application: one HTML file, its scripts, the data. It changes nothing and asks nobody else."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from string import Template

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from planner.adapters.decision_log import About, DecisionLogError
from planner.dashboard.feed import Feed
from planner.dashboard.guard import LOCAL

STATIC = Path(__file__).with_name("static")
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
NEVER = {"Cache-Control": "no-store"}


def app(feed: Feed, about: About | None = None, *, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """The page over ``feed``, beside other ``routes`` of the same address.

    ``about`` says what the steps are of, where they do not say it themselves. Who may see it is decided where
    it is served (``planner.dashboard.server``).
    """
    if about is not None:
        feed.tell(about)

    def data(request: Request) -> Response:
        return _data(feed, request.query_params.get("since", ""))

    own = (
        Route("/", _page),
        Route("/data.json", data),
        Route("/plotly/{version}/plotly.js", _plotly),
        Mount(f"/static/{_fingerprint()}", StaticFiles(directory=STATIC)),
    )
    return Starlette(routes=[*own, *routes], middleware=[Middleware(GZipMiddleware, compresslevel=1)])


def _page(request: Request) -> Response:
    text = Template((STATIC / "page.html").read_text(encoding="utf-8"))
    versions = {"plotly": metadata.version("plotly"), "own": _fingerprint(), "planner": metadata.version("sla-planner")}
    return HTMLResponse(text.substitute(versions), headers=NEVER)


def _data(feed: Feed, cursor: str) -> Response:
    """What the page with this cursor does not have yet."""
    name, _, version = cursor.partition(".")
    known = int(version) if version.isdecimal() and name == feed.name else 0
    try:
        found, more = feed.look(lambda series: series.since(known))
    except (DecisionLogError, OSError) as problem:
        return _json({"problem": str(problem)}, 503)
    heard = feed.heard
    if name != feed.name and known:  # it began anew between the two looks
        return _data(feed, "")
    found |= {
        "cursor": f"{feed.name}.{found['version']}",
        "more": more,
        "heard_s": None if heard is None else max(0.0, time.time() - heard),
    }
    return _json(found)


def _json(content: object, status: int = 200) -> Response:
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Response(text, status, NEVER, "application/json")


def _plotly(request: Request) -> Response:
    near = request.client is not None and request.client.host in LOCAL
    encoding = {"Content-Encoding": "identity"} if near else {}  # on one machine compressing costs more than it saves
    return FileResponse(_plotly_file(), headers={**FOREVER, **encoding}, media_type="text/javascript")


@cache
def _plotly_file() -> Path:
    """plotly.js as the installed plotly package brings it, found without importing that package."""
    spec = find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("plotly is not installed", name="plotly")
    return Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"


@cache
def _fingerprint() -> str:
    """Changes with our scripts and styles, so that no browser mixes two versions of them."""
    return sha256(b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()))).hexdigest()[:12]

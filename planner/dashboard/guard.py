"""Who may see the page: whoever shows the token; without one, browsers on this machine that asked for this machine."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from html import escape
from urllib.parse import urlencode

from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "planner-token"
OPEN = ("/healthz", "/readyz")
"""Answered without a token: probes of a cluster have none, and only learn whether we are well."""
LOCAL = ("localhost", "127.0.0.1", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Nothing is fetched from elsewhere, nothing is framed; plotly sets styles of its own, hence ``unsafe-inline``."""
FORM = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>SLA planner</title><style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 28rem;
padding: 0 1rem; color-scheme: light dark }} input, button {{ font: inherit; padding: .3rem .6rem }}</style>
<h1>SLA planner</h1><p>{text}</p>
<form action="/"><label>Token <input name="token" type="password" autofocus></label> <button>Show</button></form>
</html>"""


class Guard:
    """An ASGI application in front of another: no token, no answer."""

    def __init__(self, inner: ASGIApp, token: str | None) -> None:
        self._inner, self._token = inner, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the inner application answer."""
        if scope["type"] != "http":
            return
        answer = self._refusal(Request(scope))
        await (answer or self._inner)(scope, receive, _with_headers(send))

    def _refusal(self, request: Request) -> Response | None:
        """What to answer instead of the page; ``None`` lets through."""
        if self._token is None:
            return None if _host(request) in LOCAL else _elsewhere(request)
        if request.url.path in OPEN:
            return None
        asked = request.query_params.get("token")
        if request.url.path == "/" and asked is not None and self._right(asked):
            return _remembered(request, asked)
        if any(self._right(shown) for shown in _shown(request)):
            return None
        text = "This page needs its token." if asked is None else "That is not the token of this page."
        return HTMLResponse(FORM.format(text=escape(text)), 401, {"WWW-Authenticate": "Bearer"})

    def _right(self, shown: str) -> bool:
        assert self._token is not None
        return secrets.compare_digest(shown.encode(), self._token.encode())


def _shown(request: Request) -> list[str]:
    """Tokens in the query, the cookie and the Authorization header."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    bearer = credentials.strip() if scheme.lower() == "bearer" else None
    return [t for t in (request.query_params.get("token"), request.cookies.get(COOKIE), bearer) if t]


def _remembered(request: Request, token: str) -> Response:
    """The same page without the token in its address; the browser keeps it in a cookie of its own."""
    kept = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
    answer = RedirectResponse("/" + (f"?{urlencode(kept)}" if kept else ""), 303)
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
    return answer


def _host(request: Request) -> str | None:
    return URL(scope={**request.scope, "path": "/"}).hostname


def _elsewhere(request: Request) -> Response:
    """A foreign name that leads to this machine: a page elsewhere could read ours through it (DNS rebinding)."""
    return PlainTextResponse("without a token this page answers to localhost and 127.0.0.1 only\n", 421)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            extra: Mapping[str, str] = HEADERS
            message["headers"] = [*message["headers"], *((k.lower().encode(), v.encode()) for k, v in extra.items())]
        await send(message)

    return sending

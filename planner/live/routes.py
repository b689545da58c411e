"""What machines ask over HTTP: metrics, alive, ready. Answers say why, not only no."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from planner.live.health import Health

TEXT = "text/plain; version=0.0.4; charset=utf-8"


def routes(health: Health, metrics: Callable[[], bytes]) -> list[Route]:
    """``/metrics``, ``/healthz`` (503: restart me) and ``/readyz`` (503: I see nothing)."""

    def show_metrics(request: Request) -> Response:
        return Response(metrics(), media_type=TEXT)

    def healthz(request: Request) -> Response:
        return _answer(health.stuck())

    def readyz(request: Request) -> Response:
        return _answer(health.stuck() or health.blind())

    return [Route("/metrics", show_metrics), Route("/healthz", healthz), Route("/readyz", readyz)]


def _answer(problem: str | None) -> Response:
    if problem is None:
        return JSONResponse({"ok": True})
    return JSONResponse({"ok": False, "reason": problem}, status_code=503)

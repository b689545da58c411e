"""Who sees the page: this machine as it is, others only with the token, foreign names never."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from planner.dashboard.app import app
from planner.dashboard.feed import RecentFeed
from planner.dashboard.server import Running, serve

from .steps import ABOUT, steps

TOKEN = "correct-horse-battery-staple"


def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def served(token: str | None) -> Running:
    feed = RecentFeed()
    page = app(feed, ABOUT, routes=[Route("/healthz", hello), Route("/metrics", hello)])
    for one in steps(30):
        feed.record(one.seen, one.decision, one.error)
    return serve(page, "127.0.0.1:0", token)


@pytest.fixture(scope="module")
def plain() -> Iterator[Running]:
    running = served(None)
    yield running
    running.close()


@pytest.fixture(scope="module")
def secret() -> Iterator[Running]:
    running = served(TOKEN)
    yield running
    running.close()


def get(running: Running, path: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection(urlsplit(running.address).netloc, timeout=20)
    connection.request("GET", path, headers={"Connection": "close", **headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


@pytest.mark.parametrize("path", ["/", "/data.json", "/metrics"])
def test_on_loopback_the_page_needs_no_token(plain: Running, path: str) -> None:
    assert get(plain, path)[0].status == 200


def test_a_foreign_name_for_this_machine_is_refused(plain: Running) -> None:
    """DNS rebinding: a page elsewhere whose name leads here must not read ours through the visitor's browser."""
    assert get(plain, "/data.json", Host="evil.example:80")[0].status == 421
    assert get(plain, "/data.json", Host="localhost")[0].status == 200


@pytest.mark.parametrize("path", ["/", "/data.json", "/metrics", "/plotly/7/plotly.js", "/static/x/page.js", "/gone"])
@pytest.mark.parametrize("shown", [{}, {"Authorization": "Bearer wrong-wrong-wrong-wrong"},
                                   {"Authorization": f"Basic {TOKEN}"}, {"Cookie": "planner-token=x"}])  # fmt: skip
def test_without_the_token_nothing_is_answered(secret: Running, path: str, shown: dict[str, str]) -> None:
    answer, body = get(secret, path, **shown)

    assert answer.status == 401
    assert b"chat" not in body
    assert b"hello" not in body


@pytest.mark.parametrize(("path", "shown"), [
    ("/data.json", {"Authorization": f"Bearer {TOKEN}"}),
    ("/metrics", {"Authorization": f"bearer {TOKEN}"}),
    ("/data.json", {"Cookie": f"planner-token={TOKEN}"}),
    (f"/data.json?token={TOKEN}", {}),
    ("/healthz", {}),  # probes have no token
])  # fmt: skip
def test_with_the_token_everything_is_answered(secret: Running, path: str, shown: dict[str, str]) -> None:
    assert get(secret, path, **shown)[0].status == 200


def test_a_token_in_the_address_becomes_a_cookie_and_leaves_the_address(secret: Running) -> None:
    answer, _ = get(secret, f"/?token={TOKEN}")
    cookie = answer.headers["Set-Cookie"]

    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert cookie.startswith(f"planner-token={TOKEN};")
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert get(secret, "/?token=wrong-wrong-wrong-wrong")[0].status == 401


def test_every_answer_forbids_to_fetch_from_elsewhere_or_to_be_framed(plain: Running, secret: Running) -> None:
    for running in (plain, secret):
        policy = get(running, "/")[0].headers["Content-Security-Policy"]

        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy


@pytest.mark.parametrize("listen", ["0.0.0.0:0", ":0", "[::]:0"])
def test_an_open_address_without_a_token_is_refused(listen: str) -> None:
    with pytest.raises(ValueError, match=r"can be reached from other machines.*give a token"):
        serve(app(RecentFeed()), listen)


@pytest.mark.parametrize("token", ["", "short"])
def test_a_token_that_can_be_guessed_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="needs at least 16"):
        serve(app(RecentFeed()), "0.0.0.0:0", token)


def test_an_open_address_with_a_token_is_served_and_guarded() -> None:
    running = serve(app(RecentFeed()), "0.0.0.0:0", TOKEN)
    here = Running(running.address.replace("0.0.0.0", "127.0.0.1"), running._server, running._thread)
    statuses = [get(here, "/")[0].status, get(here, "/", Authorization=f"Bearer {TOKEN}")[0].status]
    running.close()

    assert statuses == [401, 200]


@pytest.mark.parametrize("listen", ["9464", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:99999"])
def test_an_address_without_a_port_is_explained(listen: str) -> None:
    with pytest.raises(ValueError, match=r"write 127\.0\.0\.1:9464|no address of this machine"):
        serve(app(RecentFeed()), listen)


def test_a_taken_address_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use"):
            serve(app(RecentFeed()), f"127.0.0.1:{taken.getsockname()[1]}")


def test_closing_frees_the_address() -> None:
    running = serve(app(RecentFeed()), "127.0.0.1:0")
    running.close()

    with pytest.raises(ConnectionRefusedError):
        get(running, "/")


def test_what_is_no_log_is_told_and_not_a_crash(tmp_path: Path) -> None:
    from planner.dashboard.feed import LogFeed

    path = tmp_path / "other.txt"
    path.write_text("hello\n")
    feed = LogFeed(path)
    running = serve(app(feed), "127.0.0.1:0")
    answer, body = get(running, "/data.json")
    running.close()
    feed.close()

    assert answer.status == 503
    assert b"not JSON" in body

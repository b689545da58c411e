"""How a Prometheus is reached: who we are, how long we wait, what an error says."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import bcrypt
import pytest
import trustme

from planner.adapters.prometheus import Access, Server
from planner.ports import SourceError
from tests.adapters.prometheus.stand import PatientServer, Stand, prometheus

UP = '{__name__="up"}'
NO_NUMBER = pytest.approx(float("nan"), nan_ok=True)


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], tuple[int, str]]) -> Iterator[str]:
    """A small server that answers as it is told, in front of nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = PatientServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def vector(**more: object) -> str:
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}, **more})


def test_samples_come_with_the_time_of_their_scrape(prometheus_stand: Stand) -> None:
    group = prometheus_stand.group()
    group.targets[0].show("# TYPE answer gauge\nanswer 42\n")
    prometheus_stand.settle(group.targets[0])
    at = time.time()
    (sample,) = Server(Access(prometheus_stand.url)).newest(f'{{__name__="answer",job="{group.job}"}}', at, 4)

    assert (sample.name, sample.value, sample.labels["instance"]) == ("answer", 42.0, group.targets[0].instance)
    assert at - 4 < sample.at <= at


def test_a_question_too_long_for_an_address_is_posted(prometheus_stand: Stand) -> None:
    group = prometheus_stand.group()
    group.targets[0].show("# TYPE answer gauge\nanswer 42\n")
    prometheus_stand.settle(group.targets[0])
    names = "|".join(["answer", *(f"a_name_that_nobody_has_{i}" for i in range(2000))])
    found = Server(Access(prometheus_stand.url)).newest(f'{{__name__=~"{names}",job="{group.job}"}}', time.time(), 4)

    assert [sample.value for sample in found] == [42.0]


def test_a_bearer_token_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    token, shown = tmp_path / "token", []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, str]:
        shown.append(request.headers["Authorization"])
        return 200, vector()

    token.write_text("first\n")
    with answering(answer) as url:
        server = Server(Access(url, bearer_token_file=token))
        server.value("up", 1.0)
        token.with_suffix(".new").write_text("second\n")
        token.with_suffix(".new").replace(token)  # as a mounted secret is renewed
        server.value("up", 2.0)
        token.unlink()
        with pytest.raises(SourceError, match=f"bearer token file {token} cannot be read"):
            server.value("up", 3.0)

    assert shown == ["Bearer first", "Bearer second"]


def test_parameters_are_added_to_every_question(tmp_path: Path) -> None:
    asked = []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, str]:
        asked.append(parse_qs(urlsplit(request.path).query))
        return 200, vector()

    with answering(answer) as url:
        server = Server(Access(url + "/", query={"tenant": "blue", "dedup": "true"}))
        server.value("up", 1.0)
        server.over("up", 10.25, 20.25, 2.5)
        server.value("x" * 5000, 2.0)

    assert [(a["tenant"], a["dedup"]) for a in asked] == [(["blue"], ["true"])] * 3
    assert (asked[1]["start"], asked[1]["end"], asked[1]["step"]) == (["10.25"], ["20.25"], ["2.5"])
    assert "query" not in asked[2]  # in the body, where a long question fits


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A Prometheus that speaks TLS, wants a client certificate and a password."""
    ours, theirs = trustme.CA(), trustme.CA()
    cert, client = theirs.issue_cert("127.0.0.1"), ours.issue_cert("planner")
    theirs.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours.cert_pem.write_to_path(tmp_path / "clients.pem")
    cert.private_key_pem.write_to_path(tmp_path / "server.key")
    cert.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    hashed = bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(
        "tls_server_config:\n"
        f"  cert_file: {tmp_path}/server.pem\n  key_file: {tmp_path}/server.key\n"
        f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {tmp_path}/clients.pem\n"
        f"basic_auth_users: {{planner: '{hashed}'}}\n"
    )
    (tmp_path / "password").write_text("s3cret\n")
    with prometheus(tmp_path, "global: {}\n", f"--web.config.file={tmp_path}/web.yml") as url:
        yield url.replace("http:", "https:"), tmp_path


def test_ca_bundle_client_certificate_and_basic_authentication(guarded: tuple[str, Path]) -> None:
    url, folder = guarded
    who = {"username": "planner", "password_file": folder / "password"}
    cert = {"client_cert_file": folder / "client.pem", "client_key_file": folder / "client.key"}
    (one,) = Server(Access(url, ca_file=folder / "ca.pem", **who, **cert)).value("vector(7)", time.time())  # type: ignore[arg-type]

    assert one.value == 7.0

    with pytest.raises(SourceError, match="trust"):
        Server(Access(url, **who, **cert)).value("vector(7)", 1.0)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match=f"{url} .*certificate"):
        Server(Access(url, ca_file=folder / "ca.pem", **who)).value("vector(7)", 1.0)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match=f"{url} answered HTTP 401 Unauthorized"):
        Server(Access(url, ca_file=folder / "ca.pem", **cert)).value("vector(7)", 1.0)
    (folder / "password").write_text("wrong")
    with pytest.raises(SourceError, match="HTTP 401"):
        Server(Access(url, ca_file=folder / "ca.pem", **who, **cert)).value("vector(7)", 1.0)  # type: ignore[arg-type]


def test_a_server_that_fails_at_first_is_asked_again() -> None:
    asked = []

    def answer(_: BaseHTTPRequestHandler) -> tuple[int, str]:
        asked.append(time.monotonic())
        return (503, "busy") if len(asked) < 3 else (200, vector())

    with answering(answer) as url:
        found = Server(Access(url, retries=2)).value("up", 1.0)

    assert (found, len(asked)) == ([], 3)


def test_retries_end_and_the_error_says_what_was_answered() -> None:
    asked = []

    def answer(_: BaseHTTPRequestHandler) -> tuple[int, str]:
        asked.append(1)
        return 500, json.dumps({"status": "error", "error": "out of memory"})

    with answering(answer) as url, pytest.raises(SourceError, match=f"{url} answered HTTP 500 .*: out of memory"):
        Server(Access(url, retries=1)).value("up", 1.0)

    assert len(asked) == 2


def test_what_will_not_get_better_is_not_asked_again() -> None:
    asked = []

    def answer(_: BaseHTTPRequestHandler) -> tuple[int, str]:
        asked.append(1)
        return 422, json.dumps({"status": "error", "error": "too many samples"})

    with answering(answer) as url, pytest.raises(SourceError, match="too many samples"):
        Server(Access(url, retries=5)).value("up", 1.0)

    assert len(asked) == 1


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "a byte at a time"])
def test_a_slow_answer_is_none(drip: bool) -> None:
    """A byte now and then keeps a socket alive for ever; the look still ends in time."""
    over = threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, str]:
        if drip:
            request.send_response(200)
            request.send_header("Content-Length", "100000")
            request.end_headers()
            while not over.wait(0.05):
                try:
                    request.wfile.write(b" ")
                    request.wfile.flush()
                except OSError:
                    break
        else:
            over.wait(20)
        request.close_connection = True
        raise ConnectionAbortedError

    with answering(answer) as url:
        started = time.monotonic()
        with pytest.raises(SourceError, match=r"did not answer within 0\.5 s"):
            Server(Access(url, timeout_s=0.5, retries=5)).value("up", 1.0)
        took_s = time.monotonic() - started
        over.set()

    assert took_s < 5.0  # and not the 20 s it would have taken


def test_something_that_is_not_json_is_said_to_be_so() -> None:
    page = "<html>Sign in</html>"
    with answering(lambda _: (200, page)) as url, pytest.raises(SourceError, match=f"{url} .*not JSON"):
        Server(Access(url, retries=0)).value("up", 1.0)


def test_an_answer_in_another_shape_is_said_to_be_so() -> None:
    with answering(lambda _: (200, '{"status": "success"}')) as url, pytest.raises(SourceError, match="without data"):
        Server(Access(url, retries=0)).value("up", 1.0)


def test_one_native_histogram_does_not_blind_to_all_the_other_series() -> None:
    """It comes without values, and is marked as no number; a series without any value is not there."""
    native = {"count": "5", "sum": "2", "buckets": [[0, "0", "1", "5"]]}
    matrix = [
        {"metric": {"__name__": "up"}, "values": [[1.0, "1"]]},
        {"metric": {"__name__": "ttft"}, "histograms": [[1.0, native], [2.0, native]]},
        {"metric": {"__name__": "changed"}, "values": [[1.0, "3"]], "histograms": [[2.0, native]]},
        {"metric": {"__name__": "changed_back"}, "values": [[2.0, "3"]], "histograms": [[1.0, native]]},
        {"metric": {"__name__": "empty"}, "values": []},
    ]
    vectors = [
        {"metric": {"__name__": "up"}, "value": [1.0, "1"]},
        {"metric": {"__name__": "ttft"}, "histogram": [1.0, native]},
    ]

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, str]:
        asked = parse_qs(urlsplit(request.path).query)["query"][0]
        return 200, vector(data={"resultType": "matrix", "result": matrix if asked.endswith("]") else vectors})

    with answering(answer) as url:
        server = Server(Access(url))
        newest, now = (
            {sample.name: (sample.at, sample.value) for sample in samples}
            for samples in (server.newest("{job='a'}", 2.0, 5.0), server.value("{job='a'}", 1.0))
        )

    assert newest == {
        "up": (1.0, 1.0),
        "ttft": (2.0, NO_NUMBER),
        "changed": (2.0, NO_NUMBER),
        "changed_back": (2.0, 3.0),
    }
    assert now == {"up": (1.0, 1.0), "ttft": (1.0, NO_NUMBER)}


def test_a_series_with_neither_values_nor_histograms_is_another_shape() -> None:
    body = vector(data={"resultType": "vector", "result": [{"metric": {"__name__": "up"}}]})
    with answering(lambda _: (200, body)) as url, pytest.raises(SourceError, match="without metric and values"):
        Server(Access(url)).value("up", 1.0)


def test_part_of_an_answer_is_none() -> None:
    """A store that is down makes Thanos answer with fewer series: that would read as less traffic."""
    body = vector(warnings=["store 10.0.0.3 is unavailable"])
    with (
        answering(lambda _: (200, body)) as url,
        pytest.raises(SourceError, match=r"part of an answer: store 10\.0\.0\.3"),
    ):
        Server(Access(url, retries=0)).value("up", 1.0)


def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with pytest.raises(SourceError, match=r"trust.*certificate verify failed"):
            Server(Access(f"https://127.0.0.1:{server.server_port}")).value("up", 1.0)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

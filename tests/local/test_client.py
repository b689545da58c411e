"""The client measures what a server really does, sends on time whatever came before, and counts what is lost."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from planner.local.client import Client, Replies, arrays
from planner.local.model import TEMPLATE_TOKENS
from planner.simulation.traffic.types import Traffic

Answer = Callable[[dict[str, Any]], AsyncIterator[bytes]]


def event(content: dict[str, Any] | str) -> bytes:
    return b"data: " + (content if isinstance(content, str) else json.dumps(content)).encode() + b"\n\n"


def word(text: str) -> bytes:
    return event({"choices": [{"delta": {"content": text}}]})


class Server:
    """An OpenAI endpoint on a thread of its own; ``answer`` says what it streams."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, dict[str, Any]]] = []
        self.connections: set[Any] = set()
        self.answer: Answer = self.regular
        self.loop = asyncio.new_event_loop()
        self.port = 0

    async def regular(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        """First token after 150 ms, the others every 50 ms; usage and an end as Dynamo's frontend sends them."""
        await asyncio.sleep(0.15)
        for n in range(body["max_tokens"]):
            if n:
                await asyncio.sleep(0.05)
            yield word(f"w{n} ")
        yield event({"choices": [], "usage": {"completion_tokens": body["max_tokens"]}})
        yield event("[DONE]")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append((time.monotonic(), body))
        self.connections.add(request.transport and request.transport.get_extra_info("peername"))
        if body["max_tokens"] == 13:
            return web.json_response({"error": "no worker"}, status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for part in self.answer(body):
            await response.write(part)
        return response

    def run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", self.handle)
        runner = web.AppRunner(app)
        self.loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self.loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        ready.set()
        self.loop.run_forever()
        self.loop.run_until_complete(runner.cleanup())
        self.loop.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made, ready = Server(), threading.Event()
    thread = threading.Thread(target=made.run, args=(ready,))
    thread.start()
    ready.wait()
    yield made
    made.loop.call_soon_threadsafe(made.loop.stop)
    thread.join()


def requests(*answers: int, every_s: float = 0.0, isl: int = 20) -> Traffic:
    arrivals = np.arange(len(answers)) * every_s
    return Traffic("test", arrivals, np.full(len(answers), isl, np.int32), np.array(answers, np.int32), 1.0)


def send(server: Server, traffic: Traffic) -> Replies:
    return Client(f"http://127.0.0.1:{server.port}", "tiny", traffic).run()


def test_ttft_and_itl_are_what_the_server_took(server: Server) -> None:
    """150 ms to the first token, 50 ms between tokens; a loaded machine is late, never early."""
    seen = send(server, requests(9, 9))

    assert seen.lost == 0
    assert np.all((seen.ttft_s > 0.14) & (seen.ttft_s < 0.15 + 1.0))
    assert np.all((seen.itl_s > 0.045) & (seen.itl_s < 0.05 + 0.2))
    assert np.all(seen.duration_s > 0.14 + 8 * 0.045)
    assert list(seen.output_tokens) == [9, 9]


def test_itl_counts_tokens_not_events(server: Server) -> None:
    """A server under load sends several tokens in one event: ITL is the mean over tokens all the same."""

    async def in_pairs(body: dict[str, Any]) -> AsyncIterator[bytes]:
        for n in range(3):
            await asyncio.sleep(0.1)
            yield word(f"w{n} w{n} ")
        yield event({"choices": [], "usage": {"completion_tokens": 6}})
        yield event("[DONE]")

    server.answer = in_pairs
    seen = send(server, requests(6))

    assert seen.output_tokens[0] == 6
    assert 0.2 / 5 * 0.9 < seen.itl_s[0] < 0.2 / 5 + 0.2  # two gaps of 100 ms over five token gaps


def test_a_single_token_has_no_itl(server: Server) -> None:
    seen = send(server, requests(1))

    assert np.isnan(seen.itl_s[0])
    assert seen.kept(ttft_s=5.0, itl_s=0.001).all()  # there is no gap that could be too long


def test_requests_are_sent_on_time_whatever_became_of_those_before(server: Server) -> None:
    """Open loop: a closed one would send less when the server is slow, and measure a kinder world."""
    began = time.monotonic()
    seen = send(server, requests(40, 1, 1, every_s=0.2))
    sent = [at - began for at, _ in server.asked]

    assert seen.duration_s[0] > 1.9  # the first was still running when the others came
    assert sent[2] - sent[0] < 0.4 + 0.5
    assert seen.sent_at[2] - seen.sent_at[0] == pytest.approx(0.4, abs=0.2)


def test_every_request_has_a_connection_of_its_own(server: Server) -> None:
    send(server, requests(1, 1, 1, every_s=0.3))

    assert len(server.connections) == 3


def test_prompts_are_as_long_as_the_trace_says(server: Server) -> None:
    """One word is one token, and the chat template adds its own."""
    send(server, requests(1, isl=300))
    (_, body) = server.asked[0]

    assert len(body["messages"][0]["content"].split()) == 300 - TEMPLATE_TOKENS
    assert body["max_tokens"] == body["min_tokens"] == 1


def test_requests_that_share_blocks_share_words() -> None:
    """Prefix caches of the workers must find in the prompts what the trace says of them."""
    shared = Traffic("test", np.zeros(2), np.full(2, 96, np.int32), np.ones(2, np.int32), 1.0,
                     block_ids=np.array([7, 1, 7, 2]), block_starts=np.array([0, 2, 4]), block_tokens=48)  # fmt: skip
    client = Client("http://nowhere", "tiny", shared)
    first, second = client.prompt(0).split(), client.prompt(1).split()

    assert len(first) == len(second) == 96 - TEMPLATE_TOKENS
    assert first[:48] == second[:48]
    assert first[48:] != second[48:]


def test_what_is_lost_is_counted_with_its_reason(server: Server) -> None:
    async def cut(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield word("w1 ")
        if body["max_tokens"] == 3:
            yield event({"error": {"message": "worker is gone"}})

    server.answer = cut
    seen = send(server, requests(13, 2, 3))

    assert seen.lost == 3
    assert seen.errors[0].startswith("HTTP 503")
    assert seen.errors[1] == "the stream ended before the answer did"
    assert "worker is gone" in seen.errors[2]
    assert not seen.kept(10.0, 10.0).any()


def test_a_server_that_is_not_there_loses_all() -> None:
    seen = Client("http://127.0.0.1:9", "tiny", requests(1, 1)).run()

    assert seen.lost == 2
    assert all("Connect" in error for error in seen.errors)


def test_stop_waits_for_the_answers_to_what_was_sent(server: Server) -> None:
    client = Client(f"http://127.0.0.1:{server.port}", "tiny", requests(20, 1, every_s=600.0))
    thread = threading.Thread(target=client.run)
    thread.start()
    while not server.asked:
        time.sleep(0.01)
    client.stop()
    thread.join(20.0)

    assert not thread.is_alive()
    assert [reply.error for reply in client.replies] == [""]
    assert arrays(client.replies).output_tokens[0] == 20

"""A client of the stack: sends a stretch of traffic at its own times and measures what it gets.

Open loop: a request is sent when the trace says so, whatever became of those before. Each has a connection of its
own, since the frontend holds back the first token on one that is used again (Nagle's algorithm and a delayed ACK).
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from planner.local.model import TEMPLATE_TOKENS, WORDS
from planner.simulation.traffic.types import Traffic

if TYPE_CHECKING:
    import aiohttp

PATIENCE_S = 600.0
"""A request that takes longer is lost."""


@dataclass(slots=True)
class Reply:
    """What the client saw of one request; ``None`` where there was nothing to see."""

    number: int
    sent_at: float  # seconds since 1970
    input_tokens: int  # asked for
    ttft_s: float | None = None
    itl_s: float | None = None  # (last − first token) / (tokens − 1); None with a single token
    duration_s: float | None = None
    output_tokens: int = 0
    longest_gap_s: float = 0.0  # between two tokens
    error: str = ""  # why it is lost; empty when it was answered to the end

    def kept(self, ttft_s: float, itl_s: float) -> bool:
        """Whether both promises were kept for it."""
        if self.error or self.ttft_s is None:
            return False
        return self.ttft_s <= ttft_s and (self.itl_s is None or self.itl_s <= itl_s)


@dataclass(frozen=True, slots=True)
class Replies:
    """All requests of a run as arrays, one entry each; NaN where nothing was measured."""

    sent_at: NDArray[np.float64]
    ttft_s: NDArray[np.float64]
    itl_s: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    longest_gap_s: NDArray[np.float64]
    errors: tuple[str, ...]

    @property
    def lost(self) -> int:
        """Requests that were not answered to the end."""
        return sum(map(bool, self.errors))

    def kept(self, ttft_s: float, itl_s: float) -> NDArray[np.bool_]:
        """By request, whether both promises were kept."""
        answered = np.array([not error for error in self.errors], bool)
        return answered & (self.ttft_s <= ttft_s) & (np.isnan(self.itl_s) | (self.itl_s <= itl_s))


class Client:
    """Sends traffic to an OpenAI endpoint. ``done`` is called for every finished request, in the sending thread."""

    def __init__(self, url: str, model: str, traffic: Traffic, done: Callable[[Reply], None] = lambda reply: None,
                 seed: int = 1) -> None:  # fmt: skip
        self._url = f"{url}/v1/chat/completions"
        self._model, self._traffic, self._done = model, traffic, done
        self._words = random.Random(seed)
        self._stop = threading.Event()
        self.started_at: float | None = None  # seconds since 1970
        self.replies: list[Reply] = []

    def run(self) -> Replies:
        """Send everything and wait for every answer."""
        asyncio.run(self._run())
        return arrays(self.replies)

    def stop(self) -> None:
        """Send no more; ``run`` returns when what was sent is answered. From any thread."""
        self._stop.set()

    async def _run(self) -> None:
        import aiohttp

        connections = aiohttp.TCPConnector(limit=0, force_close=True)
        patience = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with aiohttp.ClientSession(connector=connections, timeout=patience, read_bufsize=2**20) as session:
            start, self.started_at = time.monotonic(), time.time()
            async with asyncio.TaskGroup() as group:
                for number, arrival in enumerate(self._traffic.arrivals_s):
                    if not await self._wait_until(start + float(arrival)):
                        return
                    group.create_task(self._send(session, number))

    async def _wait_until(self, due: float) -> bool:
        """Whether there is still something to send at ``due``."""
        while not self._stop.is_set():
            left = due - time.monotonic()
            if left <= 0:
                return True
            await asyncio.sleep(min(left, 0.5))
        return False

    async def _send(self, session: aiohttp.ClientSession, number: int) -> None:
        isl, osl = int(self._traffic.input_tokens[number]), int(self._traffic.output_tokens[number])
        reply = Reply(number, time.time(), isl)
        body = {
            "model": self._model, "stream": True, "stream_options": {"include_usage": True},
            "max_tokens": osl, "min_tokens": osl, "ignore_eos": True,
            "messages": [{"role": "user", "content": self.prompt(number)}],
        }  # fmt: skip
        try:
            await self._exchange(session, body, reply)
        except Exception as problem:  # whatever it is, this request is lost and the others go on
            reply.error = f"{type(problem).__name__}: {problem}"
        self.replies.append(reply)
        self._done(reply)

    async def _exchange(self, session: aiohttp.ClientSession, body: dict[str, Any], reply: Reply) -> None:
        sent = time.perf_counter()
        tokens = _Tokens(sent)
        async with session.post(self._url, json=body) as response:
            if response.status != 200:
                reply.error = f"HTTP {response.status}: {(await response.text())[:200]}"
                return
            async for line in response.content:
                if line.startswith(b"data: ") and not tokens.take(line[6:].strip()):
                    break
        reply.duration_s = time.perf_counter() - sent
        tokens.tell(reply)

    def prompt(self, number: int) -> str:
        """Words of request ``number``, as many as its tokens; blocks that requests share are the same words."""
        traffic = self._traffic
        length = max(1, int(traffic.input_tokens[number]) - TEMPLATE_TOKENS)
        words: list[str] = []
        if traffic.block_ids is not None and traffic.block_starts is not None:
            first, last = traffic.block_starts[number], traffic.block_starts[number + 1]
            for block in traffic.block_ids[first:last]:
                words += _some_words(random.Random(int(block)), traffic.block_tokens)
        return " ".join((words + _some_words(self._words, max(0, length - len(words))))[:length])


class _Tokens:
    """When tokens arrived, from the events of one stream."""

    def __init__(self, sent: float) -> None:
        self._sent = sent
        self._first = self._last = self._gap = 0.0
        self._count = self._seen = 0
        self._error = ""
        self._complete = False

    def take(self, data: bytes) -> bool:
        """One event; ``False`` when it says that the stream is over."""
        now = time.perf_counter()
        if data == b"[DONE]":
            self._complete = True
            return False
        event = json.loads(data)
        if "choices" not in event:
            self._error = data.decode(errors="replace")[:200]
            return True
        if any(choice["delta"].get("content") for choice in event["choices"]):
            self._seen += 1
            if not self._first:
                self._first = now
            else:
                self._gap = max(self._gap, now - self._last)
            self._last = now
        if event.get("usage"):
            self._count = event["usage"]["completion_tokens"]
        return True

    def tell(self, reply: Reply) -> None:
        """Write down what was measured."""
        reply.output_tokens, reply.longest_gap_s = self._count or self._seen, self._gap
        if self._first:
            reply.ttft_s = self._first - self._sent
            if reply.output_tokens > 1:
                reply.itl_s = (self._last - self._first) / (reply.output_tokens - 1)
        if not self._complete or not self._first:
            reply.error = self._error or "the stream ended before the answer did"


def arrays(replies: list[Reply]) -> Replies:
    """The replies in order of their requests."""
    ordered = sorted(replies, key=lambda reply: reply.number)

    def column(read: Callable[[Reply], float | None]) -> NDArray[np.float64]:
        return np.array([np.nan if (value := read(reply)) is None else value for reply in ordered], float)

    return Replies(
        sent_at=column(lambda reply: reply.sent_at),
        ttft_s=column(lambda reply: reply.ttft_s),
        itl_s=column(lambda reply: reply.itl_s),
        duration_s=column(lambda reply: reply.duration_s),
        input_tokens=np.array([reply.input_tokens for reply in ordered], np.int64),
        output_tokens=np.array([reply.output_tokens for reply in ordered], np.int64),
        longest_gap_s=column(lambda reply: reply.longest_gap_s),
        errors=tuple(reply.error for reply in ordered),
    )


def _some_words(source: random.Random, count: int) -> list[str]:
    return [f"w{n}" for n in source.choices(WORDS, k=count)]


def models_served(url: str) -> list[str]:
    """Names of the models that have workers; none when nobody answers."""
    return [str(model["id"]) for model in _asked(f"{url}/v1/models").get("data", [])]


def targets_up(prometheus_url: str) -> int:
    """How many targets Prometheus has scraped well; 0 when it does not answer."""
    result = _asked(f"{prometheus_url}/api/v1/query?query=sum(up)").get("data", {}).get("result", [])
    return int(float(result[0]["value"][1])) if result else 0


def _asked(url: str) -> dict[str, Any]:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2.0) as reply:
            answer = json.load(reply)
    except (OSError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}

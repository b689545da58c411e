"""A door in front of the real Prometheus that can be told to misbehave."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Mood(Enum):
    """How the door answers."""

    WELL = "passes everything on"
    ERROR = "HTTP 500"
    SLOW = "answers after the planner's patience"
    EMPTY = "an empty vector, as after a lost database"


class Door:
    """Set ``mood`` to change how everybody is answered from now on."""

    def __init__(self, behind: str) -> None:
        self.mood, self.behind, self.url = Mood.WELL, behind, ""

    def answer(self, path: str) -> tuple[int, bytes]:
        if self.mood is Mood.ERROR:
            return 500, b'{"status":"error","errorType":"internal","error":"tsdb is on fire"}'
        if self.mood is Mood.EMPTY:
            kind = "matrix" if "query_range" in path else "vector"
            return 200, json.dumps({"status": "success", "data": {"resultType": kind, "result": []}}).encode()
        if self.mood is Mood.SLOW:
            time.sleep(4.0)
        try:
            with DIRECT.open(self.behind + path, timeout=10.0) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as problem:
            return problem.code, problem.read()
        except OSError as problem:
            return 502, str(problem).encode()


@contextmanager
def door(behind: str) -> Iterator[Door]:
    """A door in front of ``behind``, on a free port."""
    held = Door(behind)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = held.answer(self.path)
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # who asked has given up

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    held.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()

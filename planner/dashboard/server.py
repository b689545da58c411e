"""The page on an address: loopback as it is; any other address only with a token."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from planner.dashboard.guard import Guard

LEAST_TOKEN = 16
"""A shorter token can be guessed."""
GRACE_S = 2


@dataclass(frozen=True, slots=True)
class Running:
    """A server in a thread of its own."""

    address: str  # http://host:port
    _server: uvicorn.Server
    _thread: threading.Thread

    def close(self) -> None:
        """Answer what is under way, then stop."""
        self._server.should_exit = True
        self._thread.join()


def serve(application: ASGIApp, listen: str, token: str | None = None) -> Running:
    """Serve in the background; port 0 takes a free one. Returns when the address answers.

    Raises:
        ValueError: the address makes no sense, is open to others without a token, or the token is too short.
        OSError: the address is taken, or not ours.
    """
    if token is not None and len(token) < LEAST_TOKEN:
        raise ValueError(f"the token has {len(token)} characters; it needs at least {LEAST_TOKEN} to be hard to guess")
    bound = _bound(listen, token)
    host, port = bound.getsockname()[:2]
    config = uvicorn.Config(Guard(application, token), lifespan="off", log_config=None, access_log=False,
                            server_header=False, ws="none", timeout_graceful_shutdown=GRACE_S)  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="page", daemon=True)
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.01)
    shown = f"[{host}]" if ":" in host else host
    return Running(f"http://{shown}:{port}", server, thread)


def _bound(listen: str, token: str | None) -> socket.socket:
    """A socket on the address; refused when others could come in without a token."""
    host, colon, port = listen.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"listen ({listen!r}) is no address with a port: write 127.0.0.1:9464")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host or "0.0.0.0", int(port), type=socket.SOCK_STREAM)[0]
    except socket.gaierror as problem:
        raise ValueError(f"listen ({listen!r}): {host!r} is no address of this machine: {problem.strerror}") from None
    if token is None and not ipaddress.ip_address(address[0]).is_loopback:
        raise ValueError(
            f"listen ({listen!r}) can be reached from other machines, and whoever reaches it could read the page: "
            "give a token (token_file, --token-file), or listen on 127.0.0.1"
        )
    bound = socket.socket(family, kind)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as problem:
        bound.close()
        raise OSError(problem.errno, f"cannot listen on {listen}: {problem.strerror}") from None
    return bound

"""How we reach a Prometheus and show who we are; one HTTP session that keeps time.

Question and answer go through prometheus-api-client; this session under it adds what that library leaves
to its caller: a deadline for the whole look, credentials read again when their file changes, parameters
on every question, and errors in words.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from planner.ports import SourceError

_WORTH_ASKING_AGAIN = (408, 425, 429, 500, 502, 503, 504)
LONG_QUESTION = 4000
"""Characters of a question from which it is posted: proxies refuse longer addresses, some refuse POST."""


class NoAnswerError(Exception):
    """An answer that is none; ``again`` says whether asking again may help."""

    def __init__(self, reason: str, again: bool) -> None:
        super().__init__(reason)
        self.again = again


@dataclass(frozen=True, slots=True)
class Access:
    """An address, how patient we are, and who we are."""

    url: str
    timeout_s: float = 5.0  # for one question, retries included
    retries: int = 2
    bearer_token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    query: Mapping[str, str] = field(default_factory=dict)  # added to every question


class Secret:
    """The text of a small file, read again whenever the file changes."""

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what
        self._seen: tuple[int, int, int] | None = None
        self._text = ""

    def text(self) -> str:
        """What the file says now, without the white space around it.

        Raises:
            SourceError: it cannot be read or is empty.
        """
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen != self._seen:
                self._text, self._seen = self._path.read_text(encoding="utf-8").strip(), seen
        except (OSError, UnicodeDecodeError) as problem:
            raise SourceError(f"{self._what} {self._path} cannot be read: {problem}") from problem
        if not self._text:
            raise SourceError(f"{self._what} {self._path} is empty")
        return self._text


class _Nobody(AuthBase):
    """Shows nothing; without it ``requests`` would look into ``~/.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Bearer(AuthBase):
    def __init__(self, token: Secret) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token.text()}"
        return request


class _Basic(AuthBase):
    def __init__(self, username: str, password: Secret) -> None:
        self._username, self._password = username, password

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        signed: requests.PreparedRequest = HTTPBasicAuth(self._username.encode(), self._password.text().encode())(
            request
        )
        return signed


class TimedSession(requests.Session):
    """A session whose answers are whole, or not there, by ``deadline`` (of ``time.monotonic``)."""

    def __init__(self, access: Access) -> None:
        super().__init__()
        self.deadline = 0.0
        self._query = dict(access.query)
        self._who = _credentials(access)
        self.verify = str(access.ca_file) if access.ca_file else True
        if access.client_cert_file and access.client_key_file:
            self.cert = (str(access.client_cert_file), str(access.client_key_file))
        elif access.client_cert_file:
            self.cert = str(access.client_cert_file)

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one question; read all of the answer before the deadline.

        Raises:
            requests.RequestException: no answer, or not in time.
            NoAnswerError: an error, or only part of an answer.
        """
        question = kwargs.pop("params", None) or {}
        long = sum(len(str(value)) for value in question.values()) > LONG_QUESTION
        kwargs |= {"auth": self._who, "stream": True, "timeout": self._left()}
        if long:
            response = super().request("POST", url, params=self._query, data=question, **kwargs)
        else:
            response = super().request(method, url, params={**self._query, **question}, **kwargs)
        with response:
            response.raw = io.BytesIO(self._read(response))
            response.headers.pop("Content-Encoding", None)
            _ = response.content
        _check(response)
        return response

    def _read(self, response: requests.Response) -> bytes:
        parts = bytearray()
        while part := response.raw.read1(1 << 16, decode_content=True):
            parts += part
            self._left()
        return bytes(parts)

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise requests.Timeout("the answer was not whole in time")
        return left


def _check(response: requests.Response) -> None:
    """Refuse everything but a whole answer; a partial one (Thanos, Mimir) would read as less traffic."""
    if response.status_code != 200:
        reason = f"answered HTTP {response.status_code} {response.reason or ''}".rstrip()
        raise NoAnswerError(f"{reason}: {_words(response)}", response.status_code in _WORTH_ASKING_AGAIN)
    if b'"warnings"' in response.content:
        warnings = response.json().get("warnings") or []
        if warnings:
            raise NoAnswerError(f"gave only part of an answer: {'; '.join(map(str, warnings))}", again=True)


def _words(response: requests.Response) -> str:
    """What an error answer says: Prometheus' own ``error``, or the start of whatever it is."""
    try:
        said = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        said = response.text
    return " ".join(str(said).split())[:200] or "(empty)"


def _credentials(access: Access) -> AuthBase:
    if access.bearer_token_file is not None:
        return _Bearer(Secret(access.bearer_token_file, "bearer token file"))
    if access.username is not None and access.password_file is not None:
        return _Basic(access.username, Secret(access.password_file, "password file"))
    return _Nobody()

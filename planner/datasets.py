"""Public traces: a catalog of origins, and downloads that resume and are verified.

A file arrives as ``NAME.part`` and gets its name only when its checksum is right, so a file that has
its name is whole. Files without a published checksum are pinned in ``planner-data.lock.json`` beside
them: the first download decides, later ones must match.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner import resources

if TYPE_CHECKING:
    import httpx
    import tenacity

LOCK_NAME = "planner-data.lock.json"
CATALOG_SCHEMA = "sla-planner/catalog.v1"

ATTEMPTS = 6
"""With waits of 1, 2, 4, 8 and 16 s: half a minute of bad network is survived."""

TIMEOUT_S = 30.0

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes it has so far, and the bytes it will have if that is known."""

Listener = Callable[[str], None]
"""Told, in a sentence, when something went wrong and is tried again."""


class DatasetError(ValueError):
    """The user's move: no such data set, a broken catalog, a file in the way."""


class DownloadError(OSError):
    """The network's or the origin's fault: nothing was left under the file's final name."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file at its origin."""

    url: str
    bytes: int | None = None
    sha256: str | None = None
    checked: str | None = None  # where the checksum is from: computed, origin, agreed

    @property
    def name(self) -> str:
        """What the file is called, there and here."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One entry of the catalog."""

    name: str
    title: str
    format: str  # what ``--format`` would say
    homepage: str
    licence: str
    attribution: str
    files: tuple[RemoteFile, ...]

    @property
    def bytes(self) -> int | None:
        """Size of all files together; ``None`` when some are not known."""
        sizes = [file.bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def folder(self, directory: Path) -> Path:
        """Where its files go: a data set of many files has a folder of its own."""
        return directory / self.name if len(self.files) > 1 else directory


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file that is now here."""

    path: Path
    sha256: str
    verified: bool  # against the catalog; otherwise the lock holds what came first
    downloaded: bool  # False: it was here already


def catalog(file: Path | None = None) -> dict[str, Dataset]:
    """All known data sets by name; ``file`` instead of the shipped catalog.

    Raises:
        DatasetError: the file is no catalog.
    """
    import yaml

    path = file or resources.path("", "catalog.yaml")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("schema") != CATALOG_SCHEMA:
            raise DatasetError(f"{path} is not a catalog of schema {CATALOG_SCHEMA}")
        return {name: _dataset(name, entry) for name, entry in content["datasets"].items()}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as problem:
        raise DatasetError(f"{path} is not a catalog: {problem!r}") from problem


def _dataset(name: str, entry: Mapping[str, Any]) -> Dataset:
    texts = {key: str(entry[key]) for key in ("title", "format", "homepage", "licence", "attribution")}
    return Dataset(name=name, files=tuple(file for given in entry["files"] for file in _files(given)), **texts)


def _files(given: Mapping[str, Any]) -> Iterator[RemoteFile]:
    parts = given.get("parts")
    numbers = range(parts["from"], parts["to"] + 1) if parts else [None]
    for number in numbers:
        url = given["url"] if number is None else given["url"].replace("{n}", str(number))
        yield RemoteFile(url, given.get("bytes"), given.get("sha256"), given.get("checked"))


def find(name: str, file: Path | None = None) -> Dataset:
    """The data set of that name.

    Raises:
        DatasetError: there is none; the message lists those there are.
    """
    known = catalog(file)
    if name not in known:
        raise DatasetError(f"no data set is called {name!r}; there are: {', '.join(sorted(known))}")
    return known[name]


def get(
    dataset: Dataset,
    directory: Path,
    progress: Progress = lambda name, done, total: None,
    retrying: Listener = lambda sentence: None,
    *,
    first_wait_s: float = 1.0,
) -> list[Fetched]:
    """Download what is not here yet, and verify everything.

    A broken connection is tried again ``ATTEMPTS`` times with doubling waits and resumes where it
    broke; so does a later call.

    Raises:
        DatasetError: a file of that name is here but is not the published one.
        DownloadError: the origin or the network failed, or what came is not what was published.
        OSError: the folder cannot be written, the disk is full.
        ModuleNotFoundError: the optional part ``data`` of the installation is missing.
    """
    folder = dataset.folder(directory)
    folder.mkdir(parents=True, exist_ok=True)
    lock = _Lock(folder / LOCK_NAME)
    with _client() as client:
        downloader = _Downloader(client, progress, retrying, first_wait_s)
        return [_one(downloader, file, folder, lock) for file in dataset.files]


def _one(downloader: _Downloader, file: RemoteFile, folder: Path, lock: _Lock) -> Fetched:
    target = folder / file.name
    expected = file.sha256 or lock.sha256(file)
    if target.exists():
        return _already_here(target, file, expected, lock)
    part = target.with_name(target.name + ".part")
    downloader.fetch(file, part)
    found = sha256_of(part)
    if expected is not None and found != expected:
        part.unlink()
        says = "the catalog" if file.sha256 else LOCK_NAME
        raise DownloadError(f"{file.url}: sha256 is {found}, {says} has {expected}; the download was removed")
    part.rename(target)
    if file.sha256 is None:
        lock.pin(file, found)
    return Fetched(target, found, verified=file.sha256 is not None, downloaded=True)


def _already_here(target: Path, file: RemoteFile, expected: str | None, lock: _Lock) -> Fetched:
    found = sha256_of(target)
    if expected is not None and found != expected:
        raise DatasetError(f"{target} is not the published file: sha256 is {found}, not {expected}; move it away")
    if file.sha256 is None:
        lock.pin(file, found)
    return Fetched(target, found, verified=file.sha256 is not None, downloaded=False)


def sha256_of(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _Lock:
    """Checksums of what came first, for files whose origin publishes none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._pins: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except ValueError as problem:
            raise DatasetError(f"{path} is damaged: {problem}; remove it to pin the files anew") from problem

    def sha256(self, file: RemoteFile) -> str | None:
        return self._pins.get(file.url)

    def pin(self, file: RemoteFile, sha256: str) -> None:
        self._pins[file.url] = sha256
        self._path.write_text(json.dumps(self._pins, indent=1, sort_keys=True) + "\n", encoding="utf-8")


class _TryAgainError(Exception):
    """Something that may be different in a moment."""


def _client() -> httpx.Client:
    import httpx

    # "identity": what is counted, resumed and hashed are the file's own bytes.
    return httpx.Client(follow_redirects=True, timeout=TIMEOUT_S, headers={"Accept-Encoding": "identity"})


@dataclass(frozen=True, slots=True)
class _Downloader:
    """Brings one file after the other."""

    client: httpx.Client
    progress: Progress
    retrying: Listener
    first_wait_s: float

    def fetch(self, file: RemoteFile, part: Path) -> None:
        """Make ``part`` whole, in as many attempts as it takes and is allowed."""
        import httpx
        import tenacity

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((_TryAgainError, httpx.TransportError)),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=self.first_wait_s),
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            attempts(self._attempt, file, part)
        except (_TryAgainError, httpx.HTTPError, httpx.InvalidURL) as problem:
            kept = f"; {part.stat().st_size:,} bytes are kept, a new try resumes there" if part.exists() else ""
            raise DownloadError(f"{file.url}: {problem or type(problem).__name__}{kept}") from problem

    def _tell(self, state: tenacity.RetryCallState) -> None:
        problem = state.outcome.exception() if state.outcome else None
        wait_s = state.next_action.sleep if state.next_action else 0.0
        self.retrying(f"{problem or type(problem).__name__}; trying again in {wait_s:g} s")

    def _attempt(self, file: RemoteFile, part: Path) -> None:
        """One request for what is missing; raises when the file is not whole afterwards."""
        have = part.stat().st_size if part.exists() else 0
        if have and have == file.bytes:
            return  # whole already: only the checksum was still due
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self.client.stream("GET", file.url, headers=headers) as answer:
            if answer.status_code == 416 and _total(answer) == have:
                return  # nothing comes after what we have
            if answer.status_code == 416 or (answer.status_code == 206 and _starts_at(answer) != have):
                part.unlink(missing_ok=True)
                raise _TryAgainError("the part that is here does not go with what the origin sends")
            _refuse_failures(answer, file)
            self._receive(answer, file, part, have if answer.status_code == 206 else 0)

    def _receive(self, answer: httpx.Response, file: RemoteFile, part: Path, have: int) -> None:
        total = _total(answer)
        self.progress(file.name, have, total)
        with part.open("ab" if have else "wb") as out:
            for chunk in answer.iter_raw():  # as it comes: a chunk size would lose what waits for its chunk to fill
                out.write(chunk)
                have += len(chunk)
                self.progress(file.name, have, total)
        if total is not None and have != total:
            raise _TryAgainError(f"the connection ended at {have:,} of {total:,} bytes")


def _refuse_failures(answer: httpx.Response, file: RemoteFile) -> None:
    said = f"the origin answers {answer.status_code} {answer.reason_phrase}"
    if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
        raise _TryAgainError(said)
    if answer.status_code not in (200, 206):
        raise DownloadError(f"{file.url}: {said}")


def _total(answer: httpx.Response) -> int | None:
    """Size of the whole file, as the answer tells it."""
    after_slash = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if after_slash.isdecimal():
        return int(after_slash)
    length = answer.headers.get("Content-Length", "")
    return int(length) if answer.status_code == 200 and length.isdecimal() else None


def _starts_at(answer: httpx.Response) -> int | None:
    """First byte that a partial answer holds."""
    first = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdecimal() else None

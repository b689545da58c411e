"""Trace files as numbered lines: plain, gzip or zstd, told apart by their first bytes, never by name."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from planner.simulation.traffic.errors import TrafficError, at_line

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

CHUNK_BYTES = 1 << 16

LINES_PER_BLOCK = 65_536
"""Enough to let numpy work on whole columns, few enough to hold (about 10 MB of lines)."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive lines without their line ends; ``first_line`` counts from 1."""

    first_line: int
    lines: list[bytes]


def blocks(path: Path, lines_per_block: int = LINES_PER_BLOCK) -> Iterator[Block]:
    """The lines of a file, decompressed as they are read.

    Raises:
        TrafficError: no such file, a directory, damaged or cut-short compression, or an
            empty line with more lines after it.
    """
    gathered: list[bytes] = []
    first = 1
    for number, line in enumerate(_lines(path), start=1):
        if not gathered:
            first = number
        gathered.append(line)
        if len(gathered) == lines_per_block:
            yield Block(first, gathered)
            gathered = []
    if gathered:
        yield Block(first, gathered)


def first_line(path: Path) -> bytes:
    """The first line of a file.

    Raises:
        TrafficError: the file cannot be read, or holds nothing.
    """
    with closing(_lines(path)) as lines:
        line = next(lines, b"")
    if not line:
        raise TrafficError(f"{path} is empty: a trace has at least a line of requests")
    return line


def _lines(path: Path) -> Generator[bytes]:
    blank_at = 0  # blank lines are forgiven at the very end only: inside, a row is missing
    for number, raw in enumerate(_raw_lines(path), start=1):
        line = raw.removeprefix(BYTE_ORDER_MARK).rstrip(b"\r\n") if number == 1 else raw.rstrip(b"\r\n")
        if not line.strip():
            blank_at = blank_at or number
            continue
        if blank_at:
            raise at_line(path, blank_at, "an empty line inside the file: every line is one row")
        yield line


def _raw_lines(path: Path) -> Iterator[bytes]:
    try:
        with _opened(path) as stream:
            yield from stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise TrafficError(f"{path} is damaged or cut short: {problem}") from problem
    except OSError as problem:
        raise TrafficError(f"{path} cannot be read: {problem.strerror or problem}") from problem


@contextmanager
def _opened(path: Path) -> Iterator[Iterable[bytes]]:
    with path.open("rb") as raw:
        magic = raw.read(len(ZSTD_MAGIC))
        raw.seek(0)
        if magic.startswith(GZIP_MAGIC):
            with gzip.open(raw) as unpacked:
                yield unpacked
        elif magic == ZSTD_MAGIC:
            yield _split(_zstd_chunks(path, raw))
        else:
            yield raw


def _zstd_chunks(path: Path, raw: BinaryIO) -> Iterator[bytes]:
    """Unpacked pieces of one frame after another; the library's own reader takes half a frame for a whole one."""
    try:
        import zstandard
    except ImportError as problem:
        raise TrafficError(
            f"{path} is compressed with zstd: pip install 'sla-planner[simulate]' to read it"
        ) from problem
    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        while packed := raw.read(CHUNK_BYTES):
            while packed:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(packed)
                packed = frame.unused_data if frame.eof else b""
    except zstandard.ZstdError as problem:
        raise TrafficError(f"{path} is damaged or cut short: {problem}") from problem
    if not frame.eof:
        raise EOFError("the compressed data ends before its end marker")


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines, with their ends, of text that comes in pieces."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in lines)
    if rest:
        yield rest

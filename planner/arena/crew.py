"""Pieces of work over processes, or over a cluster, with joblib; what was done before is taken from the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib

from planner.arena.store import MISSING, Store


@dataclass(frozen=True, slots=True)
class Piece:
    """A call of a module's function; ``key`` tells what the result depends on (empty: it is not kept)."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    key: str = ""
    size: float = 0.0  # the largest are begun first


Watcher = Callable[[str, int, int], Callable[[], None]]
"""Told a kind of work, its pieces, and how many more were kept from before; its answer is called after each piece."""


def unwatched(title: str, total: int, kept: int) -> Callable[[], None]:
    """Nobody looks."""
    return lambda: None


@dataclass(frozen=True, slots=True)
class Crew:
    """Who does the work, and where finished work lies."""

    store: Store
    jobs: int = 1
    watcher: Watcher = unwatched

    def do(self, title: str, pieces: Sequence[Piece]) -> list[Any]:
        """The results of all pieces, in their order; each is kept as soon as it is there."""
        kinds = [piece.work.__name__ for piece in pieces]
        results = [self.store.get(k, p.key) if p.key else MISSING for k, p in zip(kinds, pieces, strict=True)]
        missing = sorted((i for i, r in enumerate(results) if r is MISSING), key=lambda i: -pieces[i].size)
        done = self.watcher(title, len(missing), len(pieces) - len(missing)) if missing else None
        for i, result in self._results(pieces, missing):
            results[i] = result
            if pieces[i].key:
                self.store.put(kinds[i], pieces[i].key, result)
            if done is not None:
                done()
        return results

    def _results(self, pieces: Sequence[Piece], missing: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Results with their places, as they come."""
        if self.jobs == 1 and joblib.parallel.get_active_backend()[0].__class__.__name__ == "LokyBackend":
            yield from (_done(i, pieces[i].work, pieces[i].arguments) for i in missing)
        elif missing:
            backend, _ = joblib.parallel.get_active_backend()
            streams = getattr(backend, "supports_return_generator", False)
            parallel = joblib.Parallel(
                n_jobs=self.jobs, batch_size=1, return_as="generator_unordered" if streams else "list"
            )
            yield from parallel(joblib.delayed(_done)(i, pieces[i].work, pieces[i].arguments) for i in missing)


def _done(i: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[int, Any]:
    return i, work(*arguments)


@contextmanager
def hired(backend: str, cluster: str | None) -> Iterator[None]:
    """Let joblib's work be done by ``backend``; ``cluster`` is the address of a running one.

    Raises:
        ModuleNotFoundError: what the backend needs is not installed.
        OSError: the cluster does not answer.
    """
    if backend == "dask":
        from distributed import Client

        with Client(cluster, set_as_default=True) if cluster else Client(), joblib.parallel_config(backend="dask"):
            yield
    elif backend == "ray":
        import ray
        from ray.util.joblib import register_ray

        ray.init(address=cluster)
        register_ray()
        with joblib.parallel_config(backend="ray"):
            yield
    else:
        yield

"""Speed of the plant on one core, on a stretch of a day-like load, beside an older revision's plant if asked.

python benchmarks/bench_plant.py [--against REVISION]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ENGINE = "planner/simulation/engine"
FLEETS = {"disaggregated": {"prefill": 13, "decode": 5}, "aggregated": {"aggregated": 18}}
LOOK_S = 5.0
ROUNDS = 3  # of which the fastest counts; compilation is not in it


def case(mode: str) -> dict[str, object]:
    """Four hours of the conversation day as plain values, for whatever revision's plant."""
    from dataclasses import fields

    from planner import config
    from planner.commands._runs import built
    from planner.config import SimulateSettings
    from planner.core.buckets import DYNAMO_BUCKETS

    window = {"traffic.from": "2d", "traffic.to": "52h", "mode": mode}
    _profile, world = built(config.load(SimulateSettings, config.find("conv-day"), window))
    traffic, plant = world.traffic, world.plant
    speeds = {field.name: getattr(plant, field.name) for field in fields(plant) if field.name not in ("step", "pools")}
    step = (plant.step.base_s, plant.step.per_sequence_s, plant.step.per_kv_token_s)
    requests = (traffic.arrivals_s, traffic.input_tokens, traffic.output_tokens)
    return {"requests": requests, "speeds": speeds, "step": step, "buckets": dict(DYNAMO_BUCKETS),
            "fleet": FLEETS[mode], "until": traffic.duration_s}  # fmt: skip


def run(given: dict[str, object]) -> tuple[float, str]:
    """(seconds, digest of all outcomes) of the engine that this process imports, with a look every five seconds."""
    from planner.simulation.engine import Plant, PlantParameters, StepFit

    parameters = PlantParameters(**given["speeds"], step=StepFit(*given["step"]))  # type: ignore[arg-type,misc]
    fleet: dict[str, int] = given["fleet"]  # type: ignore[assignment]
    plant = Plant(*given["requests"], parameters, tuple(fleet), given["buckets"])  # type: ignore[misc]
    for pool, count in fleet.items():
        plant.add_many(pool, count)
    started, at = time.process_time(), 0.0  # of this core: other work on the machine does not count
    while at < given["until"]:  # type: ignore[operator]
        at += LOOK_S
        plant.advance(at)
    seconds = time.process_time() - started
    return seconds, hashlib.sha256(b"".join(x.tobytes() for x in plant.outcomes())).hexdigest()


def worker() -> None:
    """Run the pickled case named on each line of standard input; answer with seconds and digest."""
    for line in sys.stdin:
        print(*run(pickle.loads(Path(line.strip()).read_bytes())), flush=True)


class Revision:
    """A process with one revision's engine: the working tree's, or a commit's out of git."""

    def __init__(self, name: str | None, folder: Path) -> None:
        root, self.name = Path(__file__).parents[1], name or "this one"
        if name is not None:
            archive = subprocess.run(["git", "archive", name, ENGINE], cwd=root, check=True, stdout=subprocess.PIPE)
            with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
                files.extractall(folder, filter="data")
            for package in ("planner", "planner/simulation"):
                (folder / package / "__init__.py").touch()
            root = folder
        places = [str(root), str(Path(__file__).parent)]
        call = f"import sys; sys.path[:0] = {places!r}; import bench_plant; bench_plant.worker()"
        self._process = subprocess.Popen([sys.executable, "-c", call], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True)  # fmt: skip

    def run(self, path: Path) -> tuple[float, str]:
        """One run of the case at ``path``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(path, file=self._process.stdin, flush=True)
        seconds, digest = self._process.stdout.readline().split()
        return float(seconds), digest

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--against", metavar="REVISION", help="a commit whose plant runs beside this one, in turn")
    against = parser.parse_args().against
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        revisions = [Revision(name, folder / "engine") for name in dict.fromkeys((against, None))]
        print(f"{'plant':12s} {'mode':14s} {'requests':>10s} {'CPU s':>8s} {'requests/s':>11s} {'ns/request':>11s}")
        for mode in FLEETS:
            given = case(mode)
            path, count = folder / mode, len(given["requests"][0])  # type: ignore[index]
            path.write_bytes(pickle.dumps(given))
            for revision in revisions:
                revision.run(path)  # compiles
            rounds = [[revision.run(path) for revision in revisions] for _ in range(ROUNDS)]
            best = [min(runs) for runs in zip(*rounds, strict=True)]
            for revision, (seconds, _) in zip(revisions, best, strict=True):
                print(f"{revision.name:12s} {mode:14s} {count:>10,} {seconds:>8.2f} {count / seconds:>11,.0f} "
                      f"{1e9 * seconds / count:>11.0f}")  # fmt: skip
            if against is not None:
                same = "the same" if len({digest for _, digest in best}) == 1 else "different"
                print(f"{'':12s} {mode:14s} {best[0][0] / best[1][0]:.1f} times as fast, outcomes {same} to the bit")
        for revision in revisions:
            revision.close()


if __name__ == "__main__":
    main()

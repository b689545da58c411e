"""Follow docs/tutorial.md to the letter: run every command of it in order, in one empty folder.

A block opened by ```sh is run by bash; when a ```text block follows, that is what it printed and is written anew.
``# exit code 1`` in a block says what it ends with. Blocks opened by ```console are for reading only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```sh\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Told:
    """One command block: what was run and what came of it."""

    code: str
    wanted_exit: int
    exit: int
    output: str


def follow(page: str, folder: Path) -> Iterator[Told]:
    """Run the blocks of ``page`` one after the other in ``folder``."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb"}
    for block in BLOCK.finditer(page):
        code = block["code"]
        wanted = re.search(r"# exit code (\d+)", code)
        ran = subprocess.run(
            ["bash", "-c", code],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        output = "".join(line.rstrip() + "\n" for line in ran.stdout.splitlines())
        yield Told(code, int(wanted[1]) if wanted else 0, ran.returncode, output)


def rewritten(page: str, told: list[Told]) -> str:
    """``page`` with what the commands printed this time."""
    outputs = iter(told)

    def one(block: re.Match[str]) -> str:
        said = next(outputs)
        if block["output"] is None:
            return block[0]
        return f"```sh\n{block['code']}```\n\n```text\n{said.output}```\n"

    return BLOCK.sub(one, page)


def main() -> None:
    """Follow the tutorial; stop at the first command that ends otherwise than the page says."""
    page, told = PAGE.read_text(encoding="utf-8"), []
    with tempfile.TemporaryDirectory() as folder:
        for one in follow(page, Path(folder)):
            print(f"$ {one.code}{one.output}", flush=True)
            if one.exit != one.wanted_exit:
                sys.exit(f"exit code {one.exit}, the tutorial says {one.wanted_exit}")
            told.append(one)
    PAGE.write_text(rewritten(page, told), encoding="utf-8")


if __name__ == "__main__":
    main()

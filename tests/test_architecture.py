"""Promises about structure: the heart is pure, the storeys hold, heavy libraries wait until they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PURE = sorted(path for package in ("planner/core", "predictors") for path in (ROOT / package).rglob("*.py"))
IMPURE = {"asyncio", "datetime", "httpx", "logging", "os", "pydantic", "random", "socket", "subprocess", "threading",
          "time", "uuid"}  # fmt: skip
EXCEPT = {"predictors/fits.py": {"logging"}}  # it quiets the loggers of the libraries that it runs
HEAVY = {"filterpy", "matplotlib", "pandas", "pmdarima", "prophet", "statsmodels", "sklearn"}
"""Seconds to import, each of them: only inside the function that needs it."""
ALL = sorted(path for package in ("planner", "predictors", "profiler") for path in (ROOT / package).rglob("*.py"))


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """Top-level packages that the import statements among ``nodes`` name."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Statements that run when the module is imported; what only type checkers read is left out."""
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from (inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PURE, ids=name)
def test_pure_modules_import_nothing_impure(path: Path) -> None:
    """A clock, a socket or a log in the core would make simulation and replay differ from the live loop."""
    assert not (IMPURE - EXCEPT.get(name(path), set())) & imported(ast.walk(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", ALL, ids=name)
def test_heavy_libraries_are_imported_where_they_are_used(path: Path) -> None:
    """A command that needs no forecast must not wait ten seconds for one."""
    allowed = {"matplotlib"} if "report" in path.parts else set()

    assert not (HEAVY - allowed) & imported(at_import(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", ALL, ids=name)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert not tree.body or ast.get_docstring(tree)


def test_the_storeys_of_the_house_hold() -> None:
    """Run as CI does: import-linter with the contracts of pyproject.toml."""
    linted = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)

    assert linted.returncode == 0, linted.stdout


def test_the_checks_would_notice() -> None:
    """A guard that never fires guards nothing."""
    tree = ast.parse("import numpy\nif True:\n    from time import sleep\ndef f():\n    import prophet.x\n")

    assert imported(ast.walk(tree)) == {"numpy", "time", "prophet"}
    assert imported(at_import(tree)) == {"numpy", "time"}

"""The tutorial can be followed to the letter."""

from __future__ import annotations

from pathlib import Path

from scripts.run_tutorial import PAGE, follow, rewritten

SMALL = """Say it.

```sh
echo hello | tee said
```

```text
old
```

```sh
cat said
exit 3  # exit code 3
```
"""


def test_every_command_of_the_tutorial_ends_as_it_says(tmp_path: Path) -> None:
    told = list(follow(PAGE.read_text(encoding="utf-8"), tmp_path))

    assert len(told) > 10
    assert [one for one in told if one.exit != one.wanted_exit] == []


def test_the_page_gets_what_the_commands_print(tmp_path: Path) -> None:
    told = list(follow(SMALL, tmp_path))

    assert [(one.exit, one.wanted_exit, one.output) for one in told] == [(0, 0, "hello\n"), (3, 3, "hello\n")]
    assert rewritten(SMALL, told) == SMALL.replace("old", "hello")

"""What is raised for a profile that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence


class ProfileError(ValueError):
    """A profile that cannot be used; the message lists every problem found."""

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        told = problems[0] if len(problems) == 1 else f"{len(problems)} problems:\n{listed}"
        super().__init__(f"profile {where}: {told}")
        self.problems = tuple(problems)

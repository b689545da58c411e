"""The shadow target: decisions are made, logged and shown, and nothing is done about them."""

from __future__ import annotations

from planner.core.types import Decision


class Advisory:
    """Carries nothing out. What runs stays in the hands of whoever runs it now."""

    def apply(self, decision: Decision) -> None:
        """Nothing: the decision log has it."""

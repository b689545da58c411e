"""Constants chosen without a trace, judged on it beside the shipped ones, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.simulation.report.standings import SLIGHT_COST, SLIGHT_SHARE, Mean, Standing


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One case and the policy that was chosen on all traces but its own."""

    case: str
    trace: str
    chosen: Standing
    shipped: Standing  # the first policy: what the choice is compared with

    @property
    def changed(self) -> tuple[str, ...]:
        """What differs from the shipped constants' result by more than noise."""
        return tuple(self._changed())

    def _changed(self) -> Iterator[str]:
        if _beyond_noise(self.chosen.more_kept, SLIGHT_SHARE):
            yield "kept"
        if _beyond_noise(self.chosen.dearer, SLIGHT_COST):
            yield "GPU-hours"

    def to_json(self) -> dict[str, Any]:
        """Both results and their differences, paired by seed."""
        both = {"chosen": self.chosen, "shipped": self.shipped}
        return {
            "case": self.case,
            "trace": self.trace,
            **{name: {"policy": s.policy, "kept": s.kept.to_json(), "gpu_hours": s.gpu_hours.to_json()}
               for name, s in both.items()},
            "more_kept": self.chosen.more_kept.to_json(),
            "dearer": self.chosen.dearer.to_json(),
            "changed": list(self.changed),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """Every case with the policy that was chosen without its trace."""

    on_all: str  # what is chosen when no trace is left out
    prices: Mapping[str, Mapping[str, float]]  # by policy and case: GPU-hours × misses over those allowed
    rows: tuple[LeftOut, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it; ``prices`` allow anyone to choose again."""
        return {
            "chosen_on_all": self.on_all,
            "prices": {policy: dict(cases) for policy, cases in self.prices.items()},
            "rows": [row.to_json() for row in self.rows],
        }


def table(found: LeaveOneOut) -> RenderableType:
    """Every case with the choice and, where it is another, the shipped constants; in words what changes."""
    caption = (
        f"chosen on all traces but the case's own; on all of them: {found.on_all}\n"
        f"Δ to {found.rows[0].shipped.policy}, paired by seed: kept in points, GPU-hours in %"
    )
    shown = Table(title="Constants chosen without the trace", caption=caption)
    for name in ("case", "policy", "kept %", "GPU-h", "Δ kept", "Δ GPU-h"):
        left = name in ("case", "policy")
        shown.add_column(name, justify="left" if left else "right", no_wrap=name != "policy",
                         min_width=14 if name == "policy" else None, overflow="fold")  # fmt: skip
    for row in found.rows:
        shown.add_row(
            row.case,
            *_place(row.chosen),
            Text(_signed(row.chosen.more_kept, 2), style="red" if "kept" in row.changed else ""),
            Text(_signed(row.chosen.dearer, 1), style="red" if "GPU-hours" in row.changed else ""),
        )
        if row.chosen.policy != row.shipped.policy:
            shown.add_row("", *_place(row.shipped), style="dim")
    return Group(shown, verdict(found))


def _place(standing: Standing) -> tuple[str, str, str]:
    return standing.policy, f"{100 * standing.kept.value:.2f}", f"{standing.gpu_hours.value:,.1f}"


def verdict(found: LeaveOneOut) -> Text:
    """Whether a result changes by more than noise, and which."""
    changed = [f"{row.case} ({', '.join(row.changed)})" for row in found.rows if row.changed]
    if changed:
        return Text(f"changed by more than noise: {'; '.join(changed)}", style="bold red")
    return Text("no result changes by more than noise", style="bold green")


def _beyond_noise(difference: Mean, slight: float) -> bool:
    """Whether the 95 % interval leaves out 0; with one seed, whether it is more than ``slight``."""
    return abs(difference.value) > (slight if difference.half is None else difference.half)


def _signed(value: Mean, digits: int) -> str:
    shown = f"{100 * value.value:+.{digits}f}"
    return shown if value.half is None else f"{shown} ± {100 * value.half:.{digits}f}"

"""Nothing was found with our labels: what Prometheus has under other ones, so that a person can mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.adapters.prometheus.conditions import Condition
from planner.adapters.prometheus.looks import FRONT
from planner.adapters.prometheus.server import Server
from planner.adapters.prometheus.subject import UP, Question, Selector, Subject
from planner.ports import SourceError

ASK_AGAIN_S = 60.0
"""A label that is wrong stays wrong for a while; asking at every look would be a load for nothing."""
_SHOWN = 6
Labels = Mapping[str, str]


class Elsewhere:
    """Label values of the same metrics without our labels; asked once a minute at most."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._known: dict[tuple[str, str], tuple[float, list[Labels]]] = {}

    def seen(self, subject: Subject, what: str, selector: Selector, at: float) -> list[Labels]:
        """Sets of label values, one for each kind of series there is; empty when it cannot be said."""
        names = frozenset(selector.names - {UP})
        model = (subject.dialect if what == FRONT else subject.engine).model_label
        keys = sorted({"job", *selector.labels, *([model] if model else [])})
        expression = f"count by ({', '.join(keys)}) ({Question(names).promql()})"
        known = self._known.get((what, expression))
        if known is None or not 0 <= at - known[0] < ASK_AGAIN_S:
            try:
                known = (at, [sample.labels for sample in self._server.value(expression, at)])
            except SourceError:
                known = (at, [])
            self._known[what, expression] = known
        return known[1]


def missing(subject: Subject, what: str, selector: Selector, seen: Sequence[Labels] = ()) -> str:
    """The condition of a front door or pool that nothing was found of."""
    dialect = subject.dialect if what == FRONT else subject.engine
    name = f"the {what}" if what == FRONT else f"pool {what}"
    asked = shown(selector.labels) if selector.labels else "any labels"
    if not seen:
        example = next((m.name for ways in dialect.signals.values() for m in ways), dialect.name)
        return Condition.ABSENT.of(f"no series of {dialect.title} for {name} with {asked}, such as {example}")
    there = " | ".join(sorted(shown(labels) for labels in seen)[:_SHOWN])
    return Condition.WRONG_LABELS.of(
        f"no series of {dialect.title} for {name} has {asked}; there are some with {there}"
    )


def shown(labels: Labels) -> str:
    """Labels as PromQL writes them."""
    return "{" + ", ".join(f'{k}="{v}"' for k, v in sorted(labels.items())) + "}"

"""What can be wrong with a measurement, by name. A condition is told; it never becomes a number."""

from __future__ import annotations

from enum import StrEnum


class Condition(StrEnum):
    """Stable names, first word of every problem an observation carries."""

    ABSENT = "absent"  # the series is not there, so nothing is known of the signal
    NAN = "nan"  # it is there and says it is no number
    STALE = "stale"  # its newest sample is older than three scrapes
    PARTIAL_SCRAPE = "partial-scrape"  # a target we count on could not be read, so a sum over targets is unknown
    COUNTER_RESET = "counter-reset"  # a process started anew: what it counted last is lost
    NEW_INSTANCE = "new-instance"  # counts from its first scrape on
    VANISHED = "vanished"  # gone, with what it counted after its last scrape
    NOTHING_NEW = "nothing-new"  # no scrape since the last look; the next window will be longer
    TOO_MANY_SERIES = "too-many-series"  # several where one was expected: the labels choose too little
    WRONG_LABELS = "wrong-labels"  # the metric is there, not with the labels that were asked for
    NOT_A_HISTOGRAM = "not-a-histogram"  # no buckets, or buckets that do not add up
    MIXED_BUCKETS = "mixed-buckets"  # instances cut differently; only the edges they share are used
    NOT_BY_ROLE = "not-by-role"  # split into prefill and decode, engines cannot tell it

    def of(self, detail: str) -> str:
        """The problem in words: the name, then what was met and what would be right."""
        return f"{self.value}: {detail}"

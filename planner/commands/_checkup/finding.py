"""One thing that was looked at, and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is."""

    FINE = "fine"
    WARNING = "warning"  # the planner works, less well or less sure than it could
    PROBLEM = "problem"  # the planner cannot do its work, or would do it wrongly


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the list."""

    area: str  # configuration, profile, prometheus, traffic, metrics, buckets, target, page, files
    severity: Severity
    subject: str  # what was looked at: a setting, a metric, a file
    text: str

    def to_json(self) -> dict[str, str]:
        """The line as the JSON output has it."""
        return {
            "area": self.area,
            "severity": self.severity.value,
            "subject": self.subject,
            "text": self.text,
        }


def fine(area: str, subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(area, Severity.FINE, subject, text)


def warning(area: str, subject: str, text: str) -> Finding:
    """It works, less well."""
    return Finding(area, Severity.WARNING, subject, text)


def problem(area: str, subject: str, text: str) -> Finding:
    """It does not work."""
    return Finding(area, Severity.PROBLEM, subject, text)

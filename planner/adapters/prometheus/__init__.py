"""Prometheus as a source: live, over its history, and a survey of what it can tell."""

from planner.adapters.prometheus.access import Access
from planner.adapters.prometheus.conditions import Condition
from planner.adapters.prometheus.dialect import Dialect
from planner.adapters.prometheus.dialect_files import DialectError
from planner.adapters.prometheus.history import history
from planner.adapters.prometheus.server import Server
from planner.adapters.prometheus.source import PrometheusSource, SharedReader
from planner.adapters.prometheus.subject import PoolSeries, Subject, subject
from planner.adapters.prometheus.survey import Finding, survey

__all__ = ["Access", "Condition", "Dialect", "DialectError", "Finding", "PoolSeries", "PrometheusSource", "Server",
           "SharedReader", "Subject", "history",
           "subject", "survey"]  # fmt: skip

"""What people open afterwards: pictures that are there, a page that needs nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from planner.commands._runs import built, run_policy, start_of
from planner.config import SimulateSettings, load
from planner.simulation.report import figures, html, plots

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def run():
    """Ten minutes of chat traffic."""
    settings = load(
        SimulateSettings,
        None,
        {
            "traffic.source": "step:low=10/s,high=60/s,at=4m,duration=10m",
            "traffic.lengths": "azure2023_conv",
            "profile": "h200-llama31-8b-fp8-tp1",
            "sla.ttft": "500ms",
            "sla.itl": "25ms",
        },
    )
    profile, world = built(settings)
    return run_policy(settings, profile, world, start_of(settings, world))


@pytest.fixture(scope="module")
def page(run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    html.write_report(path, run, figures.summarise(run), {"profile": "h200 <b>&"})
    return path


class Links(HTMLParser):
    """Everything a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_the_report_needs_no_network(page: Path) -> None:
    text, links = page.read_text(encoding="utf-8"), Links()
    links.feed(text)

    assert links.found
    assert [link[:5] for link in links.found if not link.startswith("data:")] == []
    assert not re.search(r"@import|url\(|<script", text)


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_a_browser_without_a_network_shows_the_verdict(page: Path, tmp_path: Path) -> None:
    """The page as a browser builds it, every name resolution refused."""
    shown = subprocess.run(
        [CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND",
         f"--user-data-dir={tmp_path}", "--virtual-time-budget=2000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip

    assert "of requests kept both" in re.sub(r"[\d.,]+ ", "", shown)
    assert "worst hour" in shown
    assert "h200 &lt;b&gt;&amp;" in shown  # settings are text, not markup


def test_every_panel_is_a_picture(run, tmp_path: Path) -> None:
    names = {path.stem for path in plots.plot_run(run, tmp_path)}

    assert names == {
        "overview", "load", "replicas-prefill", "replicas-decode", "ttft", "itl", "attainment", "gpu-hours",
    }  # fmt: skip
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())

"""The page in a real browser: it draws, follows, fits, fetches nothing from elsewhere and runs nothing from a log."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from planner.adapters.decision_log import DecisionLog
from planner.core.policy import Measure
from planner.core.types import PoolReading, Reason
from planner.dashboard.app import app
from planner.dashboard.feed import LogFeed
from planner.dashboard.server import Running, serve
from planner.ports import Step

from .steps import ABOUT, step, steps, window, write

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs a browser: install chromium and chromedriver (Debian: apt install chromium chromium-driver)",
)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--hide-scrollbars")  # fmt: skip
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script><b>bold</b>'
PATIENCE_S = 60.0
"""Only a page that never gets there waits so long."""

Chrome = webdriver.Chrome
Serve = Callable[[Path], Running]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page() -> Iterator[Serve]:
    """Serves a log; closed afterwards."""
    opened: list[tuple[Running, LogFeed]] = []

    def begin(path: Path) -> Running:
        feed = LogFeed(path)
        opened.append((serve(app(feed), "127.0.0.1:0"), feed))
        return opened[-1][0]

    yield begin
    for running, feed in opened:
        running.close()
        feed.close()


def size(browser: Chrome, width: int, height: int = 900, scheme: str = "light") -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def shown(browser: Chrome, width: int, running: Running, scheme: str = "light") -> None:
    """Open the page, tall enough that every chart is in sight, and wait until all are drawn."""
    browser.get("about:blank")  # the page of the test before would go on asking its server, which is gone
    browser.get_log("browser")
    browser.get_log("performance")
    size(browser, width, 9000, scheme)
    browser.get(running.address)
    drawn = "[...document.querySelectorAll('.plot')].every(p => p.querySelector('svg.main-svg'))"
    until(browser, f"return document.querySelectorAll('.plot').length > 4 && {drawn}")


def until(browser: Chrome, script: str) -> None:
    """Wait until the script is true."""
    end = time.monotonic() + PATIENCE_S
    while not browser.execute_script(script):
        assert time.monotonic() < end, f"never true: {script}"
        time.sleep(0.05)


def text(browser: Chrome, selector: str) -> str:
    return str(browser.execute_script("return document.querySelector(arguments[0]).innerText", selector))


def complaints(browser: Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def hosts(browser: Chrome) -> set[str]:
    """Every host that anything was asked of since the log was last read."""
    found = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = urlsplit(message["params"]["request"]["url"])
            if url.scheme not in ("data", "blob", "chrome", "about"):
                found.add(url.netloc)
    return found


def faulty() -> Iterator[Step]:
    """Half an hour with a blind spell, a refusal and a lost worker."""
    for one in steps(360):
        at = one.seen.at
        if 300 < at <= 420:
            yield step(at, None, problems=("connection refused",), reason=Reason.HELD_BLIND, forecast=False)
        elif at == 600:
            yield replace(one, error="403 Forbidden")
        elif 900 < at <= 960:
            pools = {**one.seen.pools, "decode": PoolReading(3, 2)}
            yield replace(one, seen=replace(one.seen, pools=pools))
        else:
            yield one


def test_latencies_that_are_promised_by_themselves_are_judged_by_themselves(
    browser: Chrome, page: Serve, tmp_path: Path
) -> None:
    sla = replace(ABOUT.sla, ttft=Measure(), itl=Measure(0.9))
    shown(browser, 1280, page(write(tmp_path / "log.jsonl", steps(720), replace(ABOUT, sla=sla))))
    cards = text(browser, "#cards").replace("\u00a0", " ")

    assert "mean TTFT ≤ 400 ms and p90 ITL ≤ 25 ms" in text(browser, "#promise").replace("\u00a0", " ")
    assert "target for the mean 400 ms" in cards
    assert "target for the p90 25 ms" in cards
    assert "goal" not in cards
    assert complaints(browser) == []


def test_a_finished_log_is_drawn_without_complaint_and_without_anybody_else(
    browser: Chrome, page: Serve, tmp_path: Path
) -> None:
    running = page(write(tmp_path / "log.jsonl", steps(720)))
    shown(browser, 1280, running)
    charts = browser.execute_script("return [...document.querySelectorAll('.chart')].map(c => c.dataset.chart)")

    assert charts == ["load", "kept", "ttft", "itl", "pool prefill", "pool decode", "gpus", "budget"]
    assert text(browser, "h1") == "chat"
    assert "90 % of requests with TTFT ≤ 400 ms and ITL ≤ 25 ms" in text(browser, "#promise").replace("\u00a0", " ")
    until(browser, "return document.querySelector('.card:last-child b').innerText == '8'")  # 1 h of 2 × 1 + 3 × 2 GPUs
    assert complaints(browser) == []
    assert hosts(browser) == {urlsplit(running.address).netloc}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_its_width(browser: Chrome, page: Serve, tmp_path: Path, width: int, scheme: str) -> None:
    running = page(write(tmp_path / "log.jsonl", faulty(), replace(ABOUT, name="chat-" + "x" * 60)))
    shown(browser, width, running, scheme)
    browser.execute_script("document.querySelector('details').open = true")
    wide = browser.execute_script(
        "return [document.documentElement.scrollWidth, ...[...document.querySelectorAll('body *')]"
        ".filter(e => !e.parentElement.closest('.plot'))"  # a chart cuts off what is beyond its edge
        ".map(e => Math.round(e.getBoundingClientRect().right))]"
    )
    browser.save_screenshot(str(tmp_path / f"page-{width}-{scheme}.png"))

    assert max(wide) <= width
    assert (tmp_path / f"page-{width}-{scheme}.png").stat().st_size > 20_000
    assert complaints(browser) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(browser: Chrome, page: Serve, tmp_path: Path, scheme: str) -> None:
    """WCAG AA: 4.5 to 1 for text, 3 to 1 for lines that carry meaning."""
    shown(browser, 1280, page(write(tmp_path / "log.jsonl", steps(60))), scheme)
    style = "const s = getComputedStyle(document.documentElement); return arguments[0].map(n => s.getPropertyValue(n))"
    words, lines = ["--ink", "--soft", "--good", "--bad", "--target"], ["--prefill", "--decode", "--aggregated",
                    "--other1", "--other2", "--other3", "--forecast", "--faint"]  # fmt: skip
    found = dict(
        zip([*words, *lines, "--card"], browser.execute_script(style, [*words, *lines, "--card"]), strict=True)
    )
    card = found.pop("--card")
    weak = {name: round(contrast(colour, card), 2) for name, colour in found.items()
            if contrast(colour, card) < (4.5 if name in words else 3.0)}  # fmt: skip

    assert weak == {}


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two #rrggbb colours, as WCAG 2 defines it."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour.strip()[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_page_follows_a_growing_log_without_being_reloaded(browser: Chrome, page: Serve, tmp_path: Path) -> None:
    log = list(steps(120))
    path = write(tmp_path / "log.jsonl", log[:61])
    shown(browser, 1280, page(path))
    browser.execute_script("window.stayed = true")
    before = drawn(browser, "load")
    with DecisionLog(path, append=True) as file:
        for one in log[61:]:
            file.record(one.seen, one.decision, one.error)
        grown = step(log[-1].seen.at + 5.0, window(), replicas={"prefill": 2, "decode": 7})
        file.record(grown.seen, grown.decision)
    until(browser, "return document.querySelector('#headline').innerText.includes('decode 3 → 7')")

    assert browser.execute_script("return window.stayed")
    assert (before, drawn(browser, "load")) == (60, 121)
    assert "decode 3 → 7" in text(browser, "#changes")
    assert text(browser, "#status").startswith("live")
    assert complaints(browser) == []


def drawn(browser: Chrome, chart: str) -> int:
    """Points of the line of what arrived."""
    script = ("return document.querySelector(`[data-chart='${arguments[0]}'] .plot`).data"
              ".find(t => t.name == 'arrived').y.filter(v => v != null).length")  # fmt: skip
    return int(browser.execute_script(script, chart))


def test_an_empty_log_waits_and_begins_by_itself(browser: Chrome, page: Serve, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.touch()
    size(browser, 1280)
    browser.get(page(path).address)
    until(browser, "return document.querySelector('#status').innerText == 'waiting for the first step'")
    write(path, steps(30))
    until(browser, "return document.querySelector('.plot svg.main-svg') != null")

    assert text(browser, "h1") == "chat"


def test_faults_are_listed_and_marked_in_every_chart(browser: Chrome, page: Serve, tmp_path: Path) -> None:
    shown(browser, 1280, page(write(tmp_path / "log.jsonl", faulty())))
    marks = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].map(p => p.data.filter(t => t.yaxis == 'y2').length)"
    )
    listed = text(browser, "#faults")

    assert marks == [3] * 8  # blind, refused, lost: one trace of each kind
    for words in ("connection refused", "403 Forbidden", "decode: a ready worker is gone, 2 left of 3 asked for"):
        assert words in listed
    # what was not measured is a hole in the line, not a zero
    assert browser.execute_script(
        "const t = document.querySelector(\"[data-chart='load'] .plot\").data.find(t => t.name == 'arrived');"
        "return t.y.includes(null) && !t.y.includes(0)"
    )


def test_what_is_wrong_now_stands_on_top(browser: Chrome, page: Serve, tmp_path: Path) -> None:
    log = [*steps(60), step(305.0, None, problems=("connection refused",), error="connection refused")]
    shown(browser, 1280, page(write(tmp_path / "log.jsonl", log)))

    assert "Blind since" in text(browser, "#wrong")
    assert "connection refused" in text(browser, "#wrong")


def test_text_of_a_log_is_shown_and_never_run(browser: Chrome, page: Serve, tmp_path: Path) -> None:
    """Names and messages come from metrics, platforms and configuration files: whoever writes those is not us."""
    pools = {HOSTILE: ABOUT.pools["prefill"], "decode": ABOUT.pools["decode"]}
    about = replace(ABOUT, name=HOSTILE, mode=HOSTILE, profile=HOSTILE, pools=pools)
    fleet = {HOSTILE: 2, "decode": 3}
    log = [step(5.0 * k, window(), replicas=fleet, problems=(HOSTILE,), error=HOSTILE) for k in range(60)]
    log.append(step(300.0, window(), replicas={HOSTILE: 4, "decode": 3}, problems=(HOSTILE,)))
    noted = replace(log[-1].decision, at=305.0, notes=(HOSTILE,))
    log.append(replace(log[-1], seen=replace(log[-1].seen, at=305.0), decision=noted))
    shown(browser, 1280, page(write(tmp_path / "log.jsonl", log, about)))
    for chart in ("gpus", f"pool {HOSTILE}"):
        hover(browser, chart)
    state: Any = browser.execute_script(
        "return [window.hacked ?? null, document.querySelectorAll('body img, body script, body td b').length]"
    )

    assert state == [None, 0]
    assert text(browser, "h1") == HOSTILE
    assert HOSTILE in text(browser, "#faults")
    assert HOSTILE in text(browser, "#sentences")
    assert complaints(browser) == []


def hover(browser: Chrome, chart: str) -> None:
    """Move the mouse into a chart, so that it labels what is there."""
    where = browser.execute_script(
        "const box = [...document.querySelectorAll('.chart')].find(c => c.dataset.chart == arguments[0]);"
        "const r = box.querySelector('.plot').getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]",
        chart,
    )
    for shift in (0, 3):
        at = {"type": "mouseMoved", "x": where[0] + shift, "y": where[1]}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", at)
    until(browser, "return [...document.querySelectorAll('.plot .hoverlayer')].some(l => l.textContent.length > 0)")


def test_a_chosen_stretch_of_time_moves_all_charts(browser: Chrome, page: Serve, tmp_path: Path) -> None:
    shown(browser, 1280, page(write(tmp_path / "log.jsonl", steps(360))))
    begins = "return [...new Set([...document.querySelectorAll('.plot')].map(p => p._fullLayout.xaxis.range[0]))]"
    whole = browser.execute_script(begins)
    browser.execute_script("[...document.querySelectorAll('#spans button')].find(b => b.innerText == '15 min').click()")
    part = browser.execute_script(begins)

    assert (whole, part) == (["1970-01-01"], ["1970-01-01 00:15"])


def test_a_lost_planner_is_told_and_found_again(browser: Chrome, page: Serve, tmp_path: Path) -> None:
    feed, anew = (LogFeed(write(tmp_path / "log.jsonl", steps(60))) for _ in range(2))
    first = serve(app(feed), "127.0.0.1:0")
    shown(browser, 1280, first)
    first.close()
    until(browser, "return document.querySelector('#status').innerText.startsWith('connection lost')")
    again = serve(app(anew), urlsplit(first.address).netloc)
    until(browser, "return !document.querySelector('#status').innerText.startsWith('connection lost')")
    until(browser, "return document.querySelector('#headline').innerText.length > 0")

    assert drawn(browser, "load") == 60  # not twice: the new planner's cursor is another one
    for opened in (again, feed, anew):
        opened.close()


def test_a_guarded_page_opens_with_its_token_only(browser: Chrome, tmp_path: Path) -> None:
    token = "correct-horse-battery-staple"
    feed = LogFeed(write(tmp_path / "log.jsonl", steps(30)))
    running = serve(app(feed), "127.0.0.1:0", token)
    size(browser, 1280)
    browser.get(running.address)
    refused = text(browser, "body")
    browser.execute_script("document.querySelector('input').value = arguments[0]; document.forms[0].submit()", token)
    until(browser, "return document.querySelector('h1')?.innerText == 'chat'")

    assert "needs its token" in refused
    assert token not in browser.current_url
    browser.delete_all_cookies()
    running.close()
    feed.close()

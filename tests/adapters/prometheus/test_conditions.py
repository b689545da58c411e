"""Everything that can be wrong with a measurement ends in a named condition, never in a number."""

from __future__ import annotations

import time

import pytest

from planner.adapters.prometheus import Access, Condition, PrometheusSource, Server, SharedReader, Subject, subject
from planner.core.types import Observation, PoolReading, Role
from planner.ports import SourceError
from tests.adapters.prometheus.recorded import Recorded
from tests.adapters.prometheus.stand import Group, Stand, free_port, wait_for

SCRAPE_S = 2.0
STARTED = "dynamo_frontend_requests_started_total"
TTFT = "dynamo_frontend_time_to_first_token_seconds"


def dynamo(front: Group, workers: Group | None = None, scrape_s: float = SCRAPE_S, **labels: str) -> Subject:
    job = workers.job if workers else "none"
    return subject(
        "dynamo", {"aggregated": (Role.AGGREGATED, {"job": job})}, {"job": front.job, **labels}, None, scrape_s
    )


def named(seen: Observation, condition: Condition, *words: str) -> bool:
    """Whether a problem has this name and says these words."""
    own = [problem for problem in seen.problems if problem.startswith(f"{condition.value}: ")]
    return any(all(word in problem for word in words) for problem in own)


def test_a_series_that_is_not_exposed_is_absent_and_not_zero(prometheus_stand: Stand) -> None:
    """A missing request counter read as 0 would scale the fleet to its minimum."""
    stand, front, text = prometheus_stand, prometheus_stand.group(), Recorded("dynamo-frontend.txt")
    text.drop(STARTED)
    source = stand.source(dynamo(front))
    front.targets[0].show(text.text())
    stand.seen(source, front.targets[0])
    text.observe(TTFT, 0.1, 5)
    front.targets[0].show(text.text())
    seen = stand.seen(source, front.targets[0])

    assert seen.window is not None
    assert seen.window.started is None
    assert seen.window.ttft is not None
    assert seen.window.ttft.count == 5  # what is there is told all the same
    assert named(seen, Condition.ABSENT, "started", STARTED)


def test_a_counter_that_comes_back_is_not_counted_from_zero(prometheus_stand: Stand) -> None:
    """One that appears for the first time is: the scrape before proved that there was none."""
    stand, front, text = prometheus_stand, prometheus_stand.group(), Recorded("dynamo-frontend.txt")
    source = stand.source(dynamo(front))

    def tokens(*hidden: str) -> float | None:
        shown = Recorded("dynamo-frontend.txt")
        shown.add("dynamo_frontend_output_tokens_total", text.value("dynamo_frontend_output_tokens_total") - 22291)
        shown.drop(*hidden)
        front.targets[0].show(shown.text())
        window = stand.seen(source, front.targets[0]).window
        return window.generated_tokens if window is not None else -1.0

    told = [tokens()]
    text.add("dynamo_frontend_output_tokens_total", 5)
    told += [tokens("dynamo_frontend_output_tokens_total"), tokens()]
    text.add("dynamo_frontend_output_tokens_total", 7)

    assert [*told, tokens()] == [-1.0, None, None, 7]


def test_silence_beside_a_sign_of_presence_is_zero(prometheus_stand: Stand) -> None:
    """Before the first request a frontend has no counters for the model, but does say that it serves it."""
    stand, front, text = prometheus_stand, prometheus_stand.group(), Recorded("dynamo-frontend.txt")
    source = stand.source(dynamo(front, model="tiny"))
    idle = '# TYPE dynamo_frontend_model_ready gauge\ndynamo_frontend_model_ready{model="tiny"} 1\n'
    front.targets[0].show(idle)
    stand.seen(source, front.targets[0])
    front.targets[0].show(idle + "# again\n")
    quiet = stand.seen(source, front.targets[0])
    front.targets[0].show(text.text())
    first = stand.seen(source, front.targets[0])

    assert quiet.window is not None
    assert (quiet.window.started, quiet.window.ttft) == (0.0, None)
    assert first.window is not None
    assert first.window.started == 325  # all since zero: the scrape before proved that there was nothing
    assert first.window.ttft is not None
    assert first.window.ttft.count == 325


def test_nothing_under_a_job_that_is_up_is_not_idleness(prometheus_stand: Stand) -> None:
    """The wrong dialect finds no series of its own: that is no proof of silence."""
    stand, front = prometheus_stand, prometheus_stand.group()
    source = stand.source(dynamo(front))
    front.targets[0].show("# TYPE other gauge\nother 1\n")
    stand.seen(source, front.targets[0])
    seen = stand.seen(source, front.targets[0])

    assert seen.window is None
    assert any(
        problem.startswith(("absent: ", "wrong-labels: ")) and "front door" in problem for problem in seen.problems
    )


def test_not_a_number_is_not_a_number(prometheus_stand: Stand) -> None:
    stand, front, workers = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    text, worker = Recorded("dynamo-frontend.txt"), Recorded("dynamo-worker.txt")
    source = stand.source(dynamo(front, workers))
    front.targets[0].show(text.text())
    workers.targets[0].show(worker.text())
    stand.seen(source, front.targets[0])
    text.add(STARTED, 5)
    text.set("dynamo_frontend_output_tokens_total", float("nan"))
    worker.set("vllm:kv_cache_usage_perc", float("nan"))
    front.targets[0].show(text.text().replace(" nan", " NaN"))
    workers.targets[0].show(worker.text().replace(" nan", " NaN"))
    seen = stand.seen(source, front.targets[0], workers.targets[0])

    assert seen.window is not None
    assert (seen.window.started, seen.window.generated_tokens) == (5, None)
    assert (seen.pools["aggregated"].running, seen.pools["aggregated"].kv_usage) == (0.0, None)
    assert named(
        seen, Condition.NAN, "generated_tokens", "dynamo_frontend_output_tokens_total", front.targets[0].instance
    )
    assert named(seen, Condition.NAN, "kv_usage", "vllm:kv_cache_usage_perc")

    windows = []
    for tokens in (30_000, 30_011):  # a number again: all that was counted since the start is not this window's
        text.set("dynamo_frontend_output_tokens_total", tokens)
        front.targets[0].show(text.text())
        windows.append(stand.seen(source, front.targets[0]).window)

    assert [window.generated_tokens for window in windows if window is not None] == [None, 11]


def test_a_target_that_answers_no_more_makes_a_partial_scrape_and_the_window_waits_for_it(
    prometheus_stand: Stand,
) -> None:
    """One of two frontends unread: the sum over the other would be half the load. Read again, nothing was lost."""
    stand, front = prometheus_stand, prometheus_stand.group()
    texts = [Recorded("dynamo-frontend.txt"), Recorded("dynamo-frontend.txt")]
    source = stand.source(dynamo(front))

    def count(a: int, b: int) -> None:
        for target, text, more in zip(front.targets, texts, (a, b), strict=False):
            text.add(STARTED, more)
            target.show(text.text())

    count(0, 0)
    stand.seen(source, *front.targets[:2])
    count(10, 7)
    front.targets[1].fail()
    blind = stand.seen(source, *front.targets[:2])
    count(1, 2)
    again = stand.seen(source, *front.targets[:2])

    assert blind.window is None
    assert named(blind, Condition.PARTIAL_SCRAPE, front.targets[1].instance)
    assert again.window is not None
    assert again.window.started == 10 + 7 + 1 + 2
    assert again.window.seconds > 0.5  # the whole time, blind part included


def test_series_that_are_no_longer_scraped_are_stale(prometheus_stand: Stand) -> None:
    stand, front, workers = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    source = stand.source(dynamo(front, workers, scrape_s=0.6))
    front.targets[0].show(Recorded("dynamo-frontend.txt").text())
    workers.targets[0].show(Recorded("dynamo-worker.txt").text())
    stand.seen(source, front.targets[0], workers.targets[0])
    later = source.observe(time.time() + 2.2)  # asked by a clock that runs ahead: three scrapes and more

    assert later.window is None
    assert later.pools["aggregated"] == PoolReading(
        1, 1, requested_known=False
    )  # replicas as last seen, gauges unknown
    assert named(later, Condition.STALE, front.targets[0].instance, "0.6 s")


def test_a_restarted_frontend_ends_the_window_without_a_number(prometheus_stand: Stand) -> None:
    stand, front, text = prometheus_stand, prometheus_stand.group(), Recorded("dynamo-frontend.txt")
    source = stand.source(dynamo(front))
    front.targets[0].show(text.text())
    stand.seen(source, front.targets[0])
    text.restart()
    text.set(STARTED, 4)
    front.targets[0].show(text.text())
    restarted = stand.seen(source, front.targets[0])
    text.add(STARTED, 6)
    front.targets[0].show(text.text())
    after = stand.seen(source, front.targets[0])

    assert restarted.window is None
    assert named(restarted, Condition.COUNTER_RESET, front.targets[0].instance, "325")
    assert after.window is not None
    assert after.window.started == 6


def test_a_restart_that_outruns_its_old_count_is_seen_in_its_other_counters(prometheus_stand: Stand) -> None:
    stand, front, text = prometheus_stand, prometheus_stand.group(), Recorded("dynamo-frontend.txt")
    source = stand.source(dynamo(front))
    text.set(STARTED, 3)
    front.targets[0].show(text.text())
    stand.seen(source, front.targets[0])
    text.restart()
    text.set(STARTED, 40)
    front.targets[0].show(text.text())
    restarted = stand.seen(source, front.targets[0])

    assert restarted.window is None
    assert named(restarted, Condition.COUNTER_RESET, front.targets[0].instance)


def test_a_frontend_that_appears_counts_from_its_first_scrape(prometheus_stand: Stand) -> None:
    """What it has counted since it started is not this window's load."""
    stand, front = prometheus_stand, prometheus_stand.group()
    texts = [Recorded("dynamo-frontend.txt"), Recorded("dynamo-frontend.txt")]
    source = stand.source(dynamo(front))
    front.targets[0].show(texts[0].text())
    stand.seen(source, front.targets[0])
    texts[0].add(STARTED, 3)
    for target, text in zip(front.targets, texts, strict=False):
        target.show(text.text())
    seen = stand.seen(source, *front.targets[:2])
    texts[1].add(STARTED, 2)
    front.targets[1].show(texts[1].text())
    later = stand.seen(source, *front.targets[:2])

    assert seen.window is not None
    assert seen.window.started == 3
    assert named(seen, Condition.NEW_INSTANCE, front.targets[1].instance)
    assert later.window is not None
    assert later.window.started == 2


def test_a_frontend_taken_off_the_list_has_vanished_and_the_rest_is_told(prometheus_stand: Stand) -> None:
    stand, front = prometheus_stand, prometheus_stand.group()
    texts = [Recorded("dynamo-frontend.txt"), Recorded("dynamo-frontend.txt")]
    source = stand.source(dynamo(front, scrape_s=0.6))
    for target, text in zip(front.targets, texts, strict=False):
        target.show(text.text())
    stand.seen(source, *front.targets[:2])
    stand.forget(front.targets[1])
    texts[0].add(STARTED, 9)
    front.targets[0].show(texts[0].text())
    told = []

    def gone() -> bool:
        told.append(stand.seen(source, front.targets[0]))
        return named(told[-1], Condition.VANISHED, front.targets[1].instance)

    wait_for(gone)
    windows = [seen.window for seen in told if seen.window is not None]

    assert sum(window.started or 0 for window in windows) == 9


def test_a_look_without_a_new_scrape_says_so(prometheus_stand: Stand) -> None:
    stand, front, text = prometheus_stand, prometheus_stand.group(), Recorded("dynamo-frontend.txt")
    source = stand.source(dynamo(front))
    front.targets[0].show(text.text())
    seen = stand.seen(source, front.targets[0])
    text.add(STARTED, 5)
    front.targets[0].show(text.text())
    told = []

    def nothing_new() -> bool:  # a scrape on its way while the first look was taken may still be new
        told.append(source.observe(seen.at))
        return named(told[-1], Condition.NOTHING_NEW)

    wait_for(nothing_new)
    same, later = told[-1], stand.seen(source, front.targets[0])
    windows = [window for window in (*(each.window for each in told), later.window) if window is not None]

    assert same.window is None
    assert later.window is not None
    assert sum(window.started or 0 for window in windows) == 5


def test_two_models_where_one_was_expected_are_too_many(prometheus_stand: Stand) -> None:
    stand, front, text = prometheus_stand, prometheus_stand.group(), Recorded("dynamo-frontend.txt")
    other = (
        'dynamo_frontend_requests_started_total{endpoint="chat_completions",model="large",request_type="stream"} 9\n'
    )
    source = stand.source(dynamo(front))
    front.targets[0].show(text.text() + other)
    stand.seen(source, front.targets[0])
    text.observe(TTFT, 0.1)
    front.targets[0].show(text.text() + other)
    seen = stand.seen(source, front.targets[0])

    assert seen.window is not None
    assert seen.window.started is None
    assert named(seen, Condition.TOO_MANY_SERIES, "started", "model (large | tiny)", "adding that label")


def test_labels_that_match_nothing_are_wrong_and_those_seen_are_named(prometheus_stand: Stand) -> None:
    stand, front, workers = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    source = stand.source(dynamo(front, model="llama-3-8b"))
    front.targets[0].show(Recorded("dynamo-frontend.txt").text())
    workers.targets[0].show(Recorded("dynamo-worker.txt").text())
    seen = stand.seen(source, front.targets[0])
    again = stand.seen(source, front.targets[0])

    assert (seen.window, again.window) == (None, None)
    assert named(again, Condition.WRONG_LABELS, 'model="llama-3-8b"', 'model="tiny"', front.job)
    assert named(again, Condition.WRONG_LABELS, "pool aggregated", 'job="none"')


def test_a_summary_is_not_a_histogram(prometheus_stand: Stand) -> None:
    stand, front, text = prometheus_stand, prometheus_stand.group(), Recorded("dynamo-frontend.txt")
    text.drop(f"{TTFT}_bucket")
    source = stand.source(dynamo(front))
    front.targets[0].show(text.text())
    stand.seen(source, front.targets[0])
    seen = stand.seen(source, front.targets[0])

    assert seen.window is not None
    assert (seen.window.started, seen.window.ttft) == (0, None)
    assert named(seen, Condition.NOT_A_HISTOGRAM, TTFT, "_sum")


def test_buckets_that_do_not_add_up_are_no_histogram(prometheus_stand: Stand) -> None:
    stand, front, text = prometheus_stand, prometheus_stand.group(), Recorded("dynamo-frontend.txt")
    text.set(f"{TTFT}_bucket", 5000, le="0.1")
    source = stand.source(dynamo(front))
    front.targets[0].show(text.text())
    seen = stand.seen(source, front.targets[0])

    assert named(seen, Condition.NOT_A_HISTOGRAM, TTFT, "not cumulative")


def test_frontends_that_cut_differently_share_the_edges_they_have_in_common(prometheus_stand: Stand) -> None:
    """During an upgrade two versions stand side by side; their common edges are exact."""
    stand, front = prometheus_stand, prometheus_stand.group()
    texts = [Recorded("dynamo-frontend.txt"), Recorded("dynamo-frontend.txt")]
    source = stand.source(dynamo(front))

    def show() -> None:
        old = "\n".join(line for line in texts[1].text().splitlines() if 'le="0.22"' not in line)
        front.targets[0].show(texts[0].text())
        front.targets[1].show(old + "\n")

    show()
    stand.seen(source, *front.targets[:2])
    texts[0].observe(TTFT, 0.15, 3)
    texts[1].observe(TTFT, 0.3, 1)
    show()
    seen = stand.seen(source, *front.targets[:2])

    assert seen.window is not None
    assert seen.window.ttft is not None
    assert 0.22 not in seen.window.ttft.edges
    assert (seen.window.ttft.count, seen.window.ttft.share_at_most(0.47)) == (4, (1.0, 1.0))
    assert named(seen, Condition.MIXED_BUCKETS, "ttft")


def test_a_worker_that_answers_no_more_leaves_its_pool_without_sums(prometheus_stand: Stand) -> None:
    stand, front, workers = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    source = stand.source(dynamo(front, workers, scrape_s=0.6))
    front.targets[0].show(Recorded("dynamo-frontend.txt").text())
    for target in workers.targets[:2]:
        target.show(Recorded("dynamo-worker.txt").text())
    both = stand.seen(source, *workers.targets[:2])
    workers.targets[1].fail()
    told: list[Observation] = []

    def noticed() -> bool:
        told.append(stand.seen(source, *workers.targets[:2]))
        return told[-1].pools["aggregated"].running is None

    wait_for(noticed)

    assert (both.pools["aggregated"].ready, both.pools["aggregated"].running) == (2, 0.0)
    assert told[-1].pools["aggregated"].ready == 1
    assert named(told[-1], Condition.PARTIAL_SCRAPE, workers.targets[1].instance)


def test_a_worker_that_is_up_and_silent_is_not_idle(prometheus_stand: Stand) -> None:
    stand, front, workers = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    source = stand.source(dynamo(front, workers))
    workers.targets[0].show(Recorded("dynamo-worker.txt").text())
    workers.targets[1].show("# TYPE other gauge\nother 1\n")
    seen = stand.seen(source, *workers.targets[:2])

    assert (seen.pools["aggregated"].ready, seen.pools["aggregated"].running) == (2, None)
    assert named(seen, Condition.ABSENT, workers.targets[1].instance)


def test_a_pool_whose_last_worker_was_taken_off_the_list_has_none(prometheus_stand: Stand) -> None:
    """Workers that are gone serve nobody; what was asked for is another question, and not Prometheus'."""
    stand, front, workers = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    source = stand.source(dynamo(front, workers, scrape_s=0.6))
    front.targets[0].show(Recorded("dynamo-frontend.txt").text())
    workers.targets[0].show(Recorded("dynamo-worker.txt").text())
    first = stand.seen(source, front.targets[0], workers.targets[0])
    stand.forget(*workers.targets)

    assert (first.pools["aggregated"].requested, first.pools["aggregated"].ready) == (1, 1)
    none = PoolReading(0, 0, requested_known=False)
    wait_for(lambda: stand.seen(source, front.targets[0]).pools["aggregated"] == none)


def test_who_runs_the_replicas_says_how_many_there_are(prometheus_stand: Stand) -> None:
    stand, front, workers = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    told = {"aggregated": PoolReading(5, 3, starting_s=(12.0, 4.0), startups_s=(61.0,))}
    source = stand.source(dynamo(front, workers), lambda: told)
    workers.targets[0].show(Recorded("dynamo-worker.txt").text())
    pool = stand.seen(source, workers.targets[0]).pools["aggregated"]

    assert (pool.requested, pool.ready, pool.starting_s, pool.startups_s) == (5, 3, (12.0, 4.0), (61.0,))
    assert pool.running == 0.0


def test_a_relabelled_prefix_is_put_before_every_name(prometheus_stand: Stand) -> None:
    stand, workers, text = prometheus_stand, prometheus_stand.group(), Recorded("vllm.txt")
    prefixed = subject(
        "vllm", {"aggregated": (Role.AGGREGATED, {"job": workers.job})}, scrape_s=SCRAPE_S, prefix="kserve_"
    )
    source = stand.source(prefixed)

    def show() -> None:
        lines = text.text().splitlines()
        workers.targets[0].show("\n".join(f"kserve_{line}" for line in lines if not line.startswith("#")) + "\n")

    show()
    stand.seen(source, workers.targets[0])
    text.add("vllm:request_success_total", 7, finished_reason="stop")
    show()
    seen = stand.seen(source, workers.targets[0])

    assert seen.window is not None
    assert (seen.window.started, seen.window.finished) == (7, 7)


def test_many_policies_share_one_question_for_each_kind_of_series(prometheus_stand: Stand) -> None:
    stand, fronts = prometheus_stand, [prometheus_stand.group() for _ in range(3)]
    server = CountingServer(Access(stand.url, timeout_s=20))
    reader = SharedReader(server)
    sources = [PrometheusSource(reader, dynamo(front)) for front in fronts]
    texts = [Recorded("dynamo-frontend.txt") for _ in fronts]

    def look(*started: int) -> list[Observation]:
        for front, text, more in zip(fronts, texts, started, strict=True):
            text.add(STARTED, more)
            front.targets[0].show(text.text())
        stand.settle(*(front.targets[0] for front in fronts))
        at = time.time()
        return [source.observe(at) for source in sources]

    look(0, 0, 0)
    server.asked = 0
    seen = look(1, 2, 3)

    assert [o.window.started for o in seen if o.window is not None] == [1, 2, 3]
    assert server.asked == 1


def test_a_server_that_cannot_be_read_is_a_source_error_for_all(prometheus_stand: Stand) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    reader = SharedReader(Server(Access(nobody, timeout_s=1)))
    sources = [PrometheusSource(reader, dynamo(prometheus_stand.group())) for _ in range(2)]

    for source in sources:
        with pytest.raises(SourceError, match=rf"{nobody} cannot be reached: .*refused"):
            source.observe(1000.0)


class CountingServer(Server):
    """Counts the questions for samples."""

    asked = 0

    def newest(self, selector: str, at: float, within_s: float) -> list:  # type: ignore[type-arg]
        self.asked += 1
        return super().newest(selector, at, within_s)

"""Real expositions, through a real Prometheus: what the source sees is what was counted, exactly."""

from __future__ import annotations

import pytest

from planner.adapters.prometheus import subject
from planner.core.histogram import Histogram
from planner.core.types import Role
from tests.adapters.prometheus.recorded import Recorded
from tests.adapters.prometheus.stand import Stand

SCRAPE_S = 2.0  # looser than the server's: a busy machine is no stale series
STREAM = {"model": "tiny", "endpoint": "chat_completions", "request_type": "stream"}


def test_dynamos_frontend_tells_offered_load_lengths_and_latencies(prometheus_stand: Stand) -> None:
    stand, front, text = prometheus_stand, prometheus_stand.group(), Recorded("dynamo-frontend.txt")
    source = stand.source(
        subject("dynamo", {"aggregated": (Role.AGGREGATED, {"job": "none"})}, {"job": front.job, "model": "Tiny"},
                scrape_s=SCRAPE_S)
    )  # fmt: skip
    front.targets[0].show(text.text())

    assert stand.seen(source, front.targets[0]).window is None  # one scrape is no window

    text.add("dynamo_frontend_requests_started_total", 12, **STREAM)
    text.add("dynamo_frontend_requests_total", 9, status="success")
    text.observe("dynamo_frontend_input_sequence_tokens", 900.0, 10, model="tiny")
    text.observe("dynamo_frontend_output_sequence_tokens", 64.0, 9, model="tiny")
    text.observe("dynamo_frontend_cached_tokens", 300.0, 10, model="tiny")
    text.observe("dynamo_frontend_time_to_first_token_seconds", 0.15, 7, model="tiny")
    text.observe("dynamo_frontend_time_to_first_token_seconds", 0.9, 3, model="tiny")
    text.observe("dynamo_frontend_inter_token_latency_seconds", 0.02, 500, model="tiny")
    text.observe("dynamo_frontend_request_duration_seconds", 1.5, 9, model="tiny")
    text.add("dynamo_frontend_output_tokens_total", 510, model="tiny")
    front.targets[0].show(text.text())
    window = stand.seen(source, front.targets[0]).window

    assert window is not None
    assert (window.started, window.finished, window.cached_tokens, window.generated_tokens) == (12, 9, 3000, 510)
    assert window.input_tokens is not None
    assert (window.input_tokens.count, window.input_tokens.mean) == (10, 900.0)
    assert window.output_tokens is not None
    assert (window.output_tokens.count, window.output_tokens.mean) == (9, 64.0)
    assert window.ttft is not None
    assert window.ttft.share_at_most(0.47) == (0.7, 0.7)  # 0.15 s is in (0.1, 0.22], 0.9 s beyond 0.47 s
    assert window.ttft.mean == pytest.approx((7 * 0.15 + 3 * 0.9) / 10)
    assert window.itl is not None
    assert (500, pytest.approx(0.02)) == (window.itl.count, window.itl.mean)
    assert window.duration is not None
    assert window.duration.mean == pytest.approx(1.5)
    assert 0.2 < window.seconds < 20  # between the scrapes, not between the looks


def test_several_frontends_are_added_up_and_a_second_model_is_kept_out(prometheus_stand: Stand) -> None:
    stand, front = prometheus_stand, prometheus_stand.group()
    texts = [Recorded("dynamo-frontend.txt") for _ in range(2)]
    other = Recorded("dynamo-frontend.txt")
    other.relabel(model="large")
    source = stand.source(
        subject("dynamo", {"aggregated": (Role.AGGREGATED, {"job": "none"})}, {"job": front.job, "model": "tiny"},
                scrape_s=SCRAPE_S)
    )  # fmt: skip

    def show() -> None:
        for target, text in zip(front.targets, texts, strict=False):
            both = {
                line: None for line in (text.text() + other.text()).splitlines() if line
            }  # one exposition, no doubles
            target.show("\n".join(both) + "\n")

    show()
    stand.seen(source, *front.targets[:2])
    for text, started in zip(texts, (5, 8), strict=True):
        text.add("dynamo_frontend_requests_started_total", started, **STREAM)
    other.add("dynamo_frontend_requests_started_total", 1000, model="large")
    show()
    seen = stand.seen(source, *front.targets[:2])

    assert seen.window is not None
    assert seen.window.started == 13


def test_dynamos_workers_tell_gauges_and_steps_by_worker(prometheus_stand: Stand) -> None:
    stand, front, workers = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    texts = [Recorded("dynamo-worker.txt") for _ in range(2)]
    source = stand.source(
        subject(
            "dynamo", {"aggregated": (Role.AGGREGATED, {"job": workers.job})}, {"job": front.job}, scrape_s=SCRAPE_S
        )
    )
    front.targets[0].show(Recorded("dynamo-frontend.txt").text())
    for target, text, running, usage in zip(workers.targets, texts, (3, 5), (0.25, 0.75), strict=False):
        text.set("vllm:num_requests_running", running)
        text.set("vllm:num_requests_waiting", running - 3)
        text.set("vllm:kv_cache_usage_perc", usage)
        text.set("vllm:gpu_cache_usage_perc", 0.99)  # the older name, beside the newer
        target.show(text.text())
    first = stand.seen(source, front.targets[0], *workers.targets[:2]).pools["aggregated"]

    assert (first.requested, first.ready) == (2, 2)
    assert (first.running, first.waiting, first.backlog) == (8, 2, (0, 2))
    assert (first.kv_usage, first.kv_usage_max) == (0.5, 0.75)
    assert first.worker_steps == ()  # nothing before the first look is news

    for target, text, step_s, gaps in zip(workers.targets, texts, (0.02, 0.06), (100, 300), strict=False):
        text.observe("vllm:inter_token_latency_seconds", step_s, gaps)
        target.show(text.text())
    seen = stand.seen(source, front.targets[0], *workers.targets[:2])
    pool = seen.pools["aggregated"]

    assert pool.request_itl is None  # these workers do not tell it, and need not
    assert not [told for told in seen.problems if "per_output_token" in told or "request_itl" in told]
    assert sorted(pool.worker_steps) == [(pytest.approx(0.02), 100), (pytest.approx(0.06), 300)]
    assert pool.step_seconds is not None
    assert pool.step_seconds.mean == pytest.approx((100 * 0.02 + 300 * 0.06) / 400)


def test_dynamo_split_into_prefill_and_decode_has_a_reading_of_each(prometheus_stand: Stand) -> None:
    """Prefill workers expose no vLLM series; what waits for them stands in the frontend's router queue."""
    stand = prometheus_stand
    front, prefill, decode = stand.group(), stand.group(), stand.group()
    text, p0, d0 = Recorded("dynamo-frontend.txt"), Recorded("dynamo-prefill.txt"), Recorded("dynamo-decode.txt")
    text.set("dynamo_frontend_router_queue_pending_requests", 4, worker_type="decode")
    p0.set("dynamo_component_inflight_requests", 2, dynamo_endpoint="generate")
    p0.set("dynamo_component_inflight_requests", 1, dynamo_endpoint="worker_kv_query_source_1a70b15b8afa9b")
    d0.set("vllm:num_requests_running", 6)
    d0.set("vllm:num_requests_waiting", 1)
    for group, exposition in ((front, text), (prefill, p0), (decode, d0)):
        group.targets[0].show(exposition.text())
    split = {"prefill": (Role.PREFILL, {"job": prefill.job}), "decode": (Role.DECODE, {"job": decode.job})}
    source = stand.source(subject("dynamo", split, {"job": front.job}, scrape_s=SCRAPE_S))
    pools = stand.seen(source, front.targets[0], prefill.targets[0], decode.targets[0]).pools

    assert (pools["prefill"].running, pools["prefill"].waiting, pools["prefill"].kv_usage) == (2, 0, None)
    assert (pools["decode"].running, pools["decode"].waiting, pools["decode"].kv_usage) == (6, 1 + 4, 0.0)


def test_dynamos_router_counts_where_no_frontend_is_scraped(prometheus_stand: Stand) -> None:
    stand, front, text = prometheus_stand, prometheus_stand.group(), Recorded("dynamo-frontend.txt")
    source = stand.source(
        subject(
            "dynamo-router", {"aggregated": (Role.AGGREGATED, {"job": "none"})}, {"job": front.job}, scrape_s=SCRAPE_S
        )
    )
    front.targets[0].show(text.text())
    stand.seen(source, front.targets[0])
    text.add("dynamo_component_router_requests_started_total", 21)
    text.add("dynamo_component_router_requests_total", 20)
    text.observe("dynamo_component_router_input_sequence_tokens", 777.0, 21)
    text.observe("dynamo_component_router_time_to_first_token_seconds", 0.3, 20)
    front.targets[0].show(text.text())
    window = stand.seen(source, front.targets[0]).window

    assert window is not None
    assert (window.started, window.finished, window.itl) == (21, 20, None)
    assert window.input_tokens is not None
    assert window.input_tokens.mean == pytest.approx(777.0)
    assert window.ttft is not None
    assert (20, pytest.approx(0.3)) == (window.ttft.count, window.ttft.mean)


def test_vllm_without_a_router_is_its_own_front_door(prometheus_stand: Stand) -> None:
    """Arrivals are what finished and what is in flight; an abort that is not counted never reads as a restart."""
    stand, workers, texts = prometheus_stand, prometheus_stand.group(), [Recorded("vllm.txt"), Recorded("vllm.txt")]
    targets = workers.targets[:2]
    source = stand.source(
        subject(
            "vllm", {"aggregated": (Role.AGGREGATED, {"job": workers.job})}, {"model_name": "tiny"}, scrape_s=SCRAPE_S
        )
    )

    def show() -> None:
        for target, text in zip(targets, texts, strict=True):
            target.show(text.text())

    show()
    stand.seen(source, *targets)
    for text in texts:
        text.add("vllm:request_success_total", 10, finished_reason="stop")
        text.add("vllm:request_success_total", 1, finished_reason="length")
        text.set("vllm:num_requests_running", 4)
        text.set("vllm:num_requests_waiting", 2)
        text.observe("vllm:request_prompt_tokens", 150.0, 11)
        text.observe("vllm:request_generation_tokens", 30.0, 11)
        text.observe("vllm:time_to_first_token_seconds", 0.07, 14)
        text.observe("vllm:inter_token_latency_seconds", 0.02, 400)
        text.observe("vllm:e2e_request_latency_seconds", 0.9, 11)
        text.add("vllm:prompt_tokens_cached_total", 500)
        text.add("vllm:prefix_cache_hits_total", 400)  # the older way to say it
        text.add("vllm:generation_tokens_total", 420)
    show()
    window = stand.seen(source, *targets).window

    assert window is not None
    assert (window.started, window.finished, window.cached_tokens, window.generated_tokens) == (2 * 17, 22, 1000, 840)
    assert window.ttft is not None
    assert window.input_tokens is not None
    assert (window.ttft.count, window.input_tokens.mean) == (28, 150.0)

    for text in texts:
        text.set("vllm:num_requests_running", 3)  # one client went away
    show()
    seen = stand.seen(source, *targets)

    assert seen.window is not None
    assert (seen.window.started, seen.window.finished) == (0, 0)


def test_vllm_tells_each_answers_own_itl_and_need_not(prometheus_stand: Stand) -> None:
    """Counted from the first look on; a worker that was restarted counts anew; silence is no trouble."""
    stand, workers, texts = prometheus_stand, prometheus_stand.group(), [Recorded("vllm.txt"), Recorded("vllm.txt")]
    pools = {"aggregated": (Role.AGGREGATED, {"job": workers.job})}
    source = stand.source(subject("vllm", pools, {"model_name": "tiny"}, scrape_s=SCRAPE_S))
    split = {"decode": (Role.DECODE, {"job": workers.job}), "prefill": (Role.PREFILL, {"job": "none"})}
    apart = stand.source(subject("vllm", split, {"model_name": "tiny"}, scrape_s=SCRAPE_S))
    own = "vllm:request_time_per_output_token_seconds"

    def look() -> Histogram | None:
        for target, text in zip(workers.targets, texts, strict=False):
            target.show(text.text())
        seen = stand.seen(source, *workers.targets[:2])
        assert not [told for told in seen.problems if "ITL" in told or own in told]
        return seen.pools["aggregated"].request_itl

    first = look()
    assert first is not None
    assert first.count == 0  # what was before the first look is no news
    for text, itl_s, requests in zip(texts, (0.02, 0.03), (9, 1), strict=True):
        text.observe(own, itl_s, requests)
        text.observe("vllm:inter_token_latency_seconds", 0.02, 100)
    told = look()
    assert told is not None
    assert (told.count, told.mean) == (10, pytest.approx(0.021))
    assert told.share_at_most(0.025) == (0.9, 0.9)
    assert stand.seen(apart, *workers.targets[:2]).pools["decode"].request_itl is None  # steps tell it there

    texts[1].restart()
    texts[1].observe(own, 0.03, 2)
    texts[0].observe(own, 0.02, 3)
    again = look()
    assert again is not None
    assert (again.count, again.share_at_most(0.025)) == (5, (0.6, 0.6))

    for text in texts:
        text.drop(own)
    assert look() is None


def test_vllm_split_tells_each_signal_by_the_role_that_knows_it(prometheus_stand: Stand) -> None:
    """A prefill engine's output is one token, a decode engine's prompt is not prefilled: neither may be averaged in."""
    stand, prefill, decode = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    p, d = Recorded("vllm.txt"), Recorded("vllm.txt")
    source = stand.source(
        subject("vllm", {"prefill": (Role.PREFILL, {"job": prefill.job}), "decode": (Role.DECODE, {"job": decode.job})},
                scrape_s=SCRAPE_S)
    )  # fmt: skip

    def show() -> None:
        prefill.targets[0].show(p.text())
        decode.targets[0].show(d.text())

    show()
    stand.seen(source, prefill.targets[0], decode.targets[0])
    for text, prompt, output in ((p, 900.0, 1.0), (d, 901.0, 80.0)):
        text.add("vllm:request_success_total", 10, finished_reason="stop")
        text.observe("vllm:request_prompt_tokens", prompt, 10)
        text.observe("vllm:request_generation_tokens", output, 10)
        text.observe("vllm:time_to_first_token_seconds", 0.05, 10)
        text.observe("vllm:inter_token_latency_seconds", 0.03, 50)
    show()
    seen = stand.seen(source, prefill.targets[0], decode.targets[0])
    window = seen.window

    assert window is not None
    assert (window.started, window.finished) == (10, 10)
    assert window.input_tokens is not None
    assert window.output_tokens is not None
    assert window.itl is not None
    assert (window.input_tokens.mean, window.output_tokens.mean, window.itl.count) == (900.0, 80.0, 50)
    assert (window.ttft, window.duration) == (None, None)
    assert any(p.startswith("not-by-role: ttft") for p in seen.problems)


def test_llama_cpp_tells_gauges_and_the_mean_step(prometheus_stand: Stand) -> None:
    stand, workers, text = prometheus_stand, prometheus_stand.group(), Recorded("llamacpp.txt")
    source = stand.source(
        subject(
            "dynamo", {"aggregated": (Role.AGGREGATED, {"job": workers.job})}, {"job": "none"}, "llamacpp", SCRAPE_S
        )
    )
    workers.targets[0].show(text.text())
    stand.seen(source, workers.targets[0])
    text.set("llamacpp:requests_processing", 2)
    text.set("llamacpp:requests_deferred", 1)
    text.add("llamacpp:tokens_predicted_total", 50)
    text.add("llamacpp:tokens_predicted_seconds_total", 2.5)
    workers.targets[0].show(text.text())
    pool = stand.seen(source, workers.targets[0]).pools["aggregated"]

    assert (2, 1, ((pytest.approx(0.05), 50),)) == (pool.running, pool.waiting, pool.worker_steps)

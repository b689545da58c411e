"""Dialects without a recording here: expositions written with the client library after the project's source.

Names, types, labels and buckets are taken from the file and commit that each writer names, not from our
dialects: a typing error in either shows.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from planner.adapters.prometheus import subject
from planner.core.types import Observation, Role, Window
from tests.adapters.prometheus.recorded import Recorded
from tests.adapters.prometheus.stand import Group, Stand

SCRAPE_S = 2.0


class Written:
    """A registry with one metric for each name it is asked for."""

    def __init__(self, **labels: str) -> None:
        self.registry, self.labels = CollectorRegistry(), labels
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}

    def count(self, name: str, amount: float = 1.0, **extra: str) -> None:
        """A counter."""
        labels = {**self.labels, **extra}
        if name not in self._metrics:
            self._metrics[name] = Counter(name, name, labels, registry=self.registry)
        self._metrics[name].labels(**labels).inc(amount)  # type: ignore[union-attr]

    def gauge(self, name: str, value: float, **extra: str) -> None:
        """A gauge."""
        labels = {**self.labels, **extra}
        if name not in self._metrics:
            self._metrics[name] = Gauge(name, name, labels, registry=self.registry)
        self._metrics[name].labels(**labels).set(value)  # type: ignore[union-attr]

    def spread(self, name: str, buckets: tuple[float, ...], *values: float, **extra: str) -> None:
        """A histogram; without values it is only there."""
        labels = {**self.labels, **extra}
        if name not in self._metrics:
            self._metrics[name] = Histogram(name, name, labels, buckets=buckets, registry=self.registry)
        child = self._metrics[name].labels(**labels)
        for value in values:
            child.observe(value)  # type: ignore[union-attr]

    def text(self) -> str:
        """The exposition."""
        return generate_latest(self.registry).decode()


def looks(
    stand: Stand, dialect: str, labels: Mapping[str, str], written: list[tuple[Group, Written]], step: object,
    pools: Mapping[str, tuple[Role, Mapping[str, str]]] | None = None, engine: str | None = None,
) -> Observation:  # fmt: skip
    """What a source sees of two scrapes with ``step()`` between them."""
    front = written[0][0]
    ours = subject(dialect, pools or {"aggregated": (Role.AGGREGATED, {"job": "none"})},
                   {"job": front.job, **labels}, engine, SCRAPE_S)  # fmt: skip
    source = stand.source(ours)
    targets = [group.targets[0] for group, _ in written]

    def show() -> None:
        for group, text in written:
            group.targets[0].show(text.text())

    show()
    stand.seen(source, *targets)
    assert callable(step)
    step()
    show()
    return stand.seen(source, *targets)


def window_of(seen: Observation) -> Window:
    assert seen.window is not None, seen.problems
    return seen.window


def test_sglang_alone(prometheus_stand: Stand) -> None:
    """python/sglang/srt/observability/metrics_collector.py at 016d8605e458 of sgl-project/sglang."""
    group = prometheus_stand.group()
    one = Written(model_name="qwen", engine_type="unified", tp_rank="0", pp_rank="0", moe_ep_rank="0", priority="")
    ttft = (0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400)
    itl = (0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8,
           1, 2, 4, 6, 8)  # fmt: skip
    tokens = (100, 300, 500, 700, 1000, 1500, 2000, 3000)

    def gauges(running: float, queued: float, **extra: str) -> None:
        one.gauge("sglang:num_running_reqs", running, **extra)
        one.gauge("sglang:num_queue_reqs", queued, **extra)
        one.gauge("sglang:token_usage", 0.4, **extra)
        for queue in ("prefill_bootstrap", "prefill_inflight", "decode_prealloc", "decode_transfer"):
            one.gauge(f"sglang:num_{queue}_queue_reqs", 0, **extra)

    gauges(0, 0)
    gauges(0, 0, tp_rank="1")

    def step() -> None:
        gauges(5, 2)
        gauges(5, 2, tp_rank="1")  # every rank tells the same: not ten running
        gauges(3, 2, priority="7")  # a breakdown beside the total
        for streaming, requests in (("true", 6), ("false", 2)):
            one.count("sglang:num_requests_total", requests, is_streaming=streaming)
            one.count("sglang:prompt_tokens_total", 800 * requests, is_streaming=streaming)
            one.count("sglang:generation_tokens_total", 50 * requests, is_streaming=streaming)
            one.spread("sglang:time_to_first_token_seconds", ttft, *[0.15] * requests, is_streaming=streaming)
            one.spread("sglang:e2e_request_latency_seconds", ttft, *[1.5] * requests, is_streaming=streaming)
        one.count("sglang:cached_tokens_total", 1000, cache_source="device")
        one.count("sglang:cached_tokens_total", 200, cache_source="host")
        one.spread("sglang:inter_token_latency_seconds", itl, *[0.018] * 100)
        one.spread("sglang:prompt_tokens_histogram", tokens, *[800] * 8)
        one.spread("sglang:generation_tokens_histogram", tokens, *[50] * 8)

    pools = {"aggregated": (Role.AGGREGATED, {"job": group.job})}
    seen = looks(prometheus_stand, "sglang", {"model_name": "qwen"}, [(group, one)], step, pools)
    window, pool = window_of(seen), seen.pools["aggregated"]

    assert (window.started, window.finished, window.cached_tokens, window.generated_tokens) == (15, 8, 1200, 400)
    assert (pool.running, pool.waiting, pool.kv_usage, pool.kv_usage_max) == (5, 2, 0.4, 0.4)
    assert window.input_tokens is not None
    assert (window.input_tokens.count, window.input_tokens.mean) == (8, 800)
    assert window.ttft is not None
    assert (window.ttft.count, window.ttft.share_at_most(0.2)) == (8, (1.0, 1.0))
    assert window.itl is not None
    assert (window.itl.count, window.itl.mean) == (100, pytest.approx(0.018))
    assert pool.worker_steps == ((pytest.approx(0.018), 100),)


def test_tensorrt_llm_alone(prometheus_stand: Stand) -> None:
    """tensorrt_llm/metrics/collector.py at 050f80def8df of NVIDIA/TensorRT-LLM."""
    group, one = prometheus_stand.group(), Written(model_name="llama", engine_type="trtllm")
    tpot = (0.01, 0.025, 0.05, 0.075, 0.1)
    for gauge in ("num_requests_running", "num_requests_waiting", "kv_cache_utilization", "kv_cache_max_blocks"):
        one.gauge(f"trtllm_{gauge}", 0)
    one.count("trtllm_num_requests_completed_total", 100)

    def step() -> None:
        one.count("trtllm_num_requests_completed_total", 4)
        one.count("trtllm_request_success_total", 3, finished_reason="stop")
        one.count("trtllm_request_success_total", 1, finished_reason="length")
        one.gauge("trtllm_num_requests_running", 6)
        one.gauge("trtllm_num_requests_waiting", 1)
        one.gauge("trtllm_kv_cache_utilization", 0.3)
        one.count("trtllm_prompt_tokens_total", 4000)
        one.count("trtllm_generation_tokens_total", 480)
        one.count("trtllm_prompt_cached_tokens_total", 900)
        one.spread("trtllm_time_to_first_token_seconds", (0.1, 0.25, 0.5), *[0.2] * 4)
        one.spread("trtllm_time_per_output_token_seconds", tpot, *[0.02] * 4)
        one.spread("trtllm_e2e_request_latency_seconds", (0.3, 0.5, 5.0), *[2.5] * 4)

    pools = {"aggregated": (Role.AGGREGATED, {"job": group.job})}
    seen = looks(prometheus_stand, "trtllm", {}, [(group, one)], step, pools)
    window, pool = window_of(seen), seen.pools["aggregated"]

    assert (window.started, window.finished, window.cached_tokens) == (11, 4, 900)
    assert (pool.running, pool.waiting, pool.kv_usage) == (6, 1, 0.3)
    assert window.input_tokens is not None
    assert window.output_tokens is not None
    assert (window.input_tokens.count, window.input_tokens.mean, window.output_tokens.mean) == (4, 1000, 120)
    assert window.ttft is not None
    assert window.ttft.share_at_most(0.25) == (1.0, 1.0)
    assert window.itl is not None
    assert window.itl.mean == pytest.approx(0.02)
    assert pool.request_itl is not None
    assert (pool.request_itl.count, pool.request_itl.share_at_most(0.025)) == (4, (1.0, 1.0))


EPP = {
    "v0.10": ("llm_d_epp_", {"isl": "request_input_tokens", "osl": "request_output_tokens",
                             "cached": "request_cached_tokens", "itl": "request_streaming_itl_seconds",
                             "ttft": "request_ttft_seconds"}),
    "b64f44e": ("llm_d_router_epp_", {"isl": "input_tokens", "osl": "output_tokens", "cached": "prompt_cached_tokens",
                                      "itl": "request_tpot_seconds", "ttft": "request_ttft_seconds"}),
    "before": ("inference_objective_", {"isl": "input_tokens", "osl": "output_tokens",
                                        "cached": "prompt_cached_tokens"}),
}  # fmt: skip


@pytest.mark.parametrize("version", EPP)
def test_llm_ds_endpoint_picker_under_each_of_its_names(prometheus_stand: Stand, version: str) -> None:
    """pkg/epp/metrics/*.go of llm-d/llm-d-router; each version also registers the oldest names, which count once."""
    prefix, names = EPP[version]
    group, one = prometheus_stand.group(), Written(model_name="llama", target_model_name="llama-lora")
    latency, tokens = (0.005, 0.1, 0.2, 0.4, 1.0, 5.0), (1, 64, 512, 1024, 8192)

    def count(prefix: str, names: Mapping[str, str], requests: int) -> None:
        for priority in ("0", "1"):
            one.count(f"{prefix}request_total", requests, priority=priority)
        one.spread(f"{prefix}request_duration_seconds", latency, *[2.0] * requests)
        for signal, value in (("isl", 700), ("osl", 60), ("cached", 100), ("ttft", 0.15), ("itl", 0.02)):
            if signal in names:
                buckets = latency if signal in ("ttft", "itl") else tokens
                one.spread(prefix + names[signal], buckets, *[value] * requests)

    def step() -> None:
        count(prefix, names, 5)
        if version != "before":
            count(*EPP["before"], 5)

    count(prefix, names, 1)
    if version != "before":
        count(*EPP["before"], 1)
    window = window_of(looks(prometheus_stand, "llm-d", {"model_name": "llama"}, [(group, one)], step))

    assert (window.started, window.finished, window.cached_tokens) == (10, 5, 500)
    assert window.input_tokens is not None
    assert window.output_tokens is not None
    assert (window.input_tokens.mean, window.output_tokens.mean) == (700, 60)
    if version == "before":
        assert (window.ttft, window.itl) == (None, None)
    else:
        assert window.ttft is not None
        assert window.itl is not None
        assert (window.ttft.share_at_most(0.2), window.itl.count) == ((1.0, 1.0), 5)


def test_llm_d_split_flow_control_holds_back_what_prefill_gets_next(prometheus_stand: Stand) -> None:
    """The picker's queue counted for both roles would be twice the backlog."""
    front, prefill, decode = (prometheus_stand.group() for _ in range(3))
    epp = Written(model_name="llama", target_model_name="llama", fairness_id="a", priority="0", inference_pool="pool")
    engines = [Written(model_name="llama", engine="0") for _ in range(2)]
    epp.count("llm_d_epp_request_total")
    for engine in engines:
        engine.gauge("vllm:num_requests_running", 2)
        engine.gauge("vllm:num_requests_waiting", 1)
        engine.gauge("vllm:kv_cache_usage_perc", 0.5)
    split = {"prefill": (Role.PREFILL, {"job": prefill.job}), "decode": (Role.DECODE, {"job": decode.job})}
    written = [(front, epp), (prefill, engines[0]), (decode, engines[1])]
    seen = looks(
        prometheus_stand, "llm-d", {}, written, lambda: epp.gauge("llm_d_epp_flow_control_queue_size", 7), split
    )

    assert (seen.pools["prefill"].waiting, seen.pools["decode"].waiting) == (8, 1)


def test_aibrix_counts_by_range_and_not_cumulatively(prometheus_stand: Stand) -> None:
    """pkg/plugins/gateway/gateway_rsp_body.go of vllm-project/aibrix: ``bucket`` is 100-200ms, 5000ms+, 512-1024."""
    group, one = prometheus_stand.group(), Written(model="llama", gateway_pod="gw-0")
    one.gauge("gateway_model_in_flight_requests", 0)
    one.count("gateway_request_model_success_total", 50, status="200")

    def step() -> None:
        one.gauge("gateway_model_in_flight_requests", 4)
        one.count("gateway_request_model_success_total", 10, status="200")
        for pod, requests in (("p0", 6), ("p1", 3)):
            extra = {"namespace": "ns", "pod": pod, "engine_type": "vllm", "role": "decode"}
            one.count("gateway_input_tokens_total", 700 * requests, **extra)
            one.count("gateway_prompt_token_bucket_total", requests, bucket="512-1024", **extra)
            one.count("gateway_ttft_bucket_total", requests, bucket="100-200ms", **extra)
            one.count("gateway_tpot_bucket_total", requests, bucket="10-20ms", **extra)
        one.count("gateway_input_tokens_total", 40000, namespace="ns", pod="p1", engine_type="vllm", role="decode")
        one.count("gateway_prompt_token_bucket_total", 1, bucket="32768+", namespace="ns", pod="p1", engine_type="vllm",
                  role="decode")  # fmt: skip
        one.count("gateway_ttft_bucket_total", 1, bucket="5000ms+", namespace="ns", pod="p1", engine_type="vllm",
                  role="decode")  # fmt: skip

    window = window_of(looks(prometheus_stand, "aibrix", {"model": "llama"}, [(group, one)], step))

    assert (window.started, window.finished) == (14, 10)
    assert window.ttft is not None
    assert window.input_tokens is not None
    assert (window.ttft.share_at_most(0.2), window.ttft.share_at_most(5.0)) == ((0.9, 0.9), (0.9, 0.9))
    assert window.ttft.share_at_most(0.15) == (0.0, 0.9)
    assert (window.input_tokens.count, window.input_tokens.total) == (10, 700 * 9 + 40000)


def test_kthenas_router_counts_and_its_engines_tell_latency(prometheus_stand: Stand) -> None:
    """pkg/kthena-router/metrics/metrics.go at 325252a9ebbd of volcano-sh/kthena."""
    group, workers, router = prometheus_stand.group(), prometheus_stand.group(), Written(model="llama")
    engine = Recorded("vllm.txt")
    path = {"path": "/v1/chat/completions"}
    where = {"model_route": "r", "backend_type": "model_server", "backend_name": "b", "upstream_model": "llama"}
    router.gauge("kthena_router_active_downstream_requests", 0)

    def step() -> None:
        router.gauge("kthena_router_active_downstream_requests", 3)
        for code, requests in (("200", 7), ("503", 1)):
            error = "" if code == "200" else "upstream"
            router.count("kthena_router_requests_total", requests, status_code=code, error_type=error, **path, **where)
            router.spread("kthena_router_request_duration_seconds", (0.5, 1, 2.5), *[0.8] * requests, status_code=code,
                          **path, **where)  # fmt: skip
        router.count("kthena_router_tokens_total", 4000, token_type="input", **path, **where)
        router.count("kthena_router_tokens_total", 640, token_type="output", **path, **where)
        engine.observe("vllm:time_to_first_token_seconds", 0.07, 7)
        engine.observe("vllm:inter_token_latency_seconds", 0.02, 90)

    pools = {"aggregated": (Role.AGGREGATED, {"job": workers.job})}
    both = [(group, router), (workers, engine)]
    window = window_of(looks(prometheus_stand, "kthena", {"model": "llama"}, both, step, pools))  # type: ignore[arg-type]

    assert (window.started, window.finished) == (11, 8)
    assert window.input_tokens is not None
    assert window.output_tokens is not None
    assert (window.input_tokens.mean, window.output_tokens.mean) == (500, 80)
    assert window.ttft is not None
    assert window.itl is not None
    assert (window.ttft.count, window.itl.count) == (7, 90)


def test_the_production_stacks_router_and_its_engines_share_names_and_not_series(prometheus_stand: Stand) -> None:
    """src/vllm_router/services/metrics_service/__init__.py at 0c740a253d0c of vllm-project/production-stack."""
    group, workers, router, engine = prometheus_stand.group(), prometheus_stand.group(), Written(), Recorded("vllm.txt")
    server = {"server": "http://10.0.0.7:8000"}
    router.gauge("vllm:num_requests_running", 99, **server)
    router.gauge("vllm:healthy_pods_total", 1, **server)
    router.count("vllm:num_incoming_requests", 5, model="llama")

    def step() -> None:
        router.count("vllm:num_incoming_requests", 12, model="llama")
        router.count("vllm:input_tokens", 9000, model="llama", **server)
        router.count("vllm:output_tokens", 900, model="llama", **server)
        router.spread(
            "vllm:request_latency_seconds", (0.5, 1.0, 2.5), *[0.7] * 9, model="llama", status="200", **server
        )
        engine.set("vllm:num_requests_running", 3)
        engine.observe("vllm:time_to_first_token_seconds", 0.07, 9)

    pools = {"aggregated": (Role.AGGREGATED, {"job": workers.job})}
    both = [(group, router), (workers, engine)]
    seen = looks(prometheus_stand, "production-stack", {"model": "llama"}, both, step, pools)  # type: ignore[arg-type]
    window = window_of(seen)

    assert (window.started, window.finished, seen.pools["aggregated"].running) == (12, 9, 3)
    assert window.input_tokens is not None
    assert window.ttft is not None
    assert (window.input_tokens.mean, window.ttft.count) == (1000, 9)


def test_an_engine_behind_the_same_job_as_its_router_keeps_to_its_own_series(prometheus_stand: Stand) -> None:
    """The router repeats ``vllm:num_requests_running`` by server; the engine's carries model_name."""
    group, one = prometheus_stand.group(), Written()
    one.gauge("vllm:healthy_pods_total", 1, server="http://a")
    text = Recorded("vllm.txt")
    text.set("vllm:num_requests_running", 3)
    pools = {"aggregated": (Role.AGGREGATED, {"job": group.job})}
    source = prometheus_stand.source(subject("vllm", pools, scrape_s=SCRAPE_S))
    clash = 'vllm:num_requests_running{server="http://a"} 40\n'
    group.targets[0].show(text.text() + clash)
    seen = prometheus_stand.seen(source, group.targets[0])

    assert seen.pools["aggregated"].running == 3

"""Settings of what runs beside a real stack: where metrics are read, what is scaled, what is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from planner.config.settings import ControlSettings, Settings, setting
from planner.config.values import Address, Duration, File, Replicas, Text, Whole

Labels = Mapping[Text, Text]
"""Label values by name; every one must match."""


class PrometheusSettings(Settings):
    """Where metrics are read, how we show who we are, and whose series are ours."""

    url: Address = setting("Address of the Prometheus server, as in http://prometheus:9090.", flag="--prometheus")
    dialect: Text = setting("How the front door names its metrics.", "dynamo", flag="--dialect")
    engine: Text | None = setting("How the workers name theirs; without it what usually stands behind the front door.",
                                  None, flag="--engine")  # fmt: skip
    labels: Labels = setting("Labels of the front door's series that are ours, as in model: llama.", {})
    pools: Mapping[Text, Labels] = setting(
        "By pool, the labels that tell its workers' series, as in decode: {job: decode}.", {}
    )
    scrape_s: Duration = setting("Prometheus' scrape interval; a series three times as old is stale.", 5.0,
                                 alias="scrape", gt=0)  # fmt: skip
    timeout_s: Duration = setting("An answer that takes longer is none.", 5.0, alias="timeout", gt=0)
    retries: Whole = setting("How often a failed question is asked again within one look.", 2, ge=0, le=10)
    bearer_token_file: File | None = setting("A token to show; read again whenever the file changes.", None)
    username: Text | None = setting("Name for basic authentication.", None)
    password_file: File | None = setting("Password for basic authentication.", None)
    ca_file: File | None = setting("Certificates of authorities to trust instead of the system's.", None)
    client_cert_file: File | None = setting("Our certificate, where the server asks for one.", None)
    client_key_file: File | None = setting("The key to our certificate.", None)
    query: Labels = setting("Parameters to add to every question, as in tenant: blue.", {})


class WorkerSettings(Settings):
    """How one worker of a pool is started as a process here."""

    command: tuple[Text, ...] = setting(
        "Program and arguments; {port} is a free port of its own, {number} its number, {pool} its pool.", min_length=1
    )
    env: Labels = setting("Environment variables to add, with the same placeholders.", {})
    ready_url: Text = setting(
        "Answers 200 once the worker serves, as in http://127.0.0.1:{port}/health.", "http://127.0.0.1:{port}/health"
    )
    metrics: Text = setting("Address that Prometheus scrapes.", "127.0.0.1:{port}")
    delay_s: Duration = setting("Wait before the process is started, in place of loading a model.", 0.0,
                                alias="delay", ge=0)  # fmt: skip
    patience_s: Duration = setting("A worker not ready by then is given up and started anew.", 600.0,
                                   alias="patience", gt=0)  # fmt: skip
    drain_s: Duration = setting("Time to finish what it has after SIGTERM, before it is killed.", 300.0,
                                alias="drain", gt=0)  # fmt: skip


class TargetSettings(Settings):
    """What carries decisions out."""

    kind: Literal["advisory", "processes"] = setting(
        "advisory only says what it would do; processes starts and stops workers on this machine.", "advisory",
        flag="--target")  # fmt: skip
    workers: Mapping[Text, WorkerSettings] = setting("By pool, how a worker is started.", {})
    discovery: File | None = setting(
        "A file that lists the workers for Prometheus (file_sd), rewritten on every change.", None
    )
    logs: File | None = setting("A folder for what the workers print.", None)


class ServerSettings(Settings):
    """What the planner itself answers over HTTP: the page, /metrics, /healthz, /readyz."""

    listen: str = setting("Address and port; port 0 takes a free one, an empty one serves nothing.",
                           "127.0.0.1:9464", flag="--listen")  # fmt: skip
    token_file: File | None = setting("A token that visitors must show; needed for addresses other than loopback.",
                                      None, flag="--token-file")  # fmt: skip


class LiveSettings(ControlSettings):
    """One policy beside a real stack."""

    description: str = setting("What this configuration is for, for people.", "")
    prometheus: PrometheusSettings = setting("Where metrics are read. A plain string is its url.")
    target: TargetSettings = setting("What carries decisions out. A plain string is its kind.", TargetSettings())
    server: ServerSettings = setting("What the planner answers over HTTP.", ServerSettings())
    initial: Replicas = setting("Replicas to start with where nothing runs yet (processes), by pool; without it "
                                "min_replicas.", {}, flag="--initial")  # fmt: skip
    tick_s: Duration = setting("Time between looks.", 5.0, alias="tick", flag="--tick", gt=0)
    warmup_s: Duration = setting("History to learn from at a start without a saved state.", 3600.0, alias="warmup",
                                 flag="--warmup", ge=0)  # fmt: skip
    warmup_timeout_s: Duration = setting("History that is not read by then is left out: to decide comes first.", 120.0,
                                         alias="warmup_timeout", gt=0)  # fmt: skip
    state: File | None = setting("Where the planner's memory survives a restart.", None, flag="--state")
    decisions: File | None = setting("The decision log, one JSON object a line.", None, flag="--decisions")


__all__ = ["Labels", "LiveSettings", "PrometheusSettings", "ServerSettings", "TargetSettings",
           "WorkerSettings"]  # fmt: skip

"""`pushforward serve`: runs deployments at their times, and looks after runs whose process is gone."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from pipelines.embedded_prefect import prepare
from pipelines.local_server import LocalServer
from pipelines.progress import say
from pipelines.schedules import Deployment, load_deployments
from pipelines.settings import Settings

WATCH_SECONDS = 15.0
"""Time between two looks at the runs."""


def serve(file: Path, settings: Settings, limit: int = 1) -> None:
    """Register the deployments of a TOML file and run them until the process is stopped; at most `limit` at a
    time on this machine.

    With PREFECT_API_URL they are registered on that server, else on one of its own on the loopback, whose
    address is printed. Raises InputError where the file or a config of it is wrong, before a server starts.
    """
    stated = load_deployments(file)
    prepare(settings.project)
    os.environ.setdefault("PREFECT_RUNNER_HEARTBEAT_FREQUENCY", "30")
    with _server(settings):
        _serve(stated, settings, limit)


def _serve(stated: list[tuple[Deployment, dict[str, Any]]], settings: Settings, limit: int) -> None:
    # Prefect reads its settings when it is imported, so only now.
    from prefect.runner import Runner

    runner = Runner(name="pushforward", limit=limit, pause_on_shutdown=True)
    retries: dict[UUID, int] = {}
    for one, config in stated:
        made = _deployment(one, config, settings)
        retries[runner.add_deployment(made)] = one.retries  # type: ignore[index]
        say(f"{one.pipeline}/{one.name}: {_when(one)}", settings.quiet)
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(stop, retries, settings), daemon=True)
    watcher.start()
    try:
        _until_stopped(runner)
    finally:
        stop.set()


def _until_stopped(runner: Any) -> None:
    import asyncio

    asyncio.run(runner.start())


def _deployment(one: Deployment, config: dict[str, Any], settings: Settings) -> Any:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import EntrypointType
    from prefect.schedules import Cron, Interval

    from pipelines import flows

    schedule = None
    if one.cron is not None:
        schedule = Cron(one.cron, timezone=one.timezone)
    elif one.interval is not None:
        schedule = Interval(one.interval, timezone=one.timezone)
    where = settings.model_dump(mode="json")
    where["project"] = str(settings.project.resolve())
    queue = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
    return getattr(flows, one.pipeline).to_deployment(
        name=one.name,
        parameters={"config": config, "settings": where},
        schedule=schedule,
        concurrency_limit=queue,
        entrypoint_type=EntrypointType.MODULE_PATH,
        enforce_parameter_schema=False,
    )


def _when(one: Deployment) -> str:
    if one.cron is not None:
        return f"cron {one.cron!r} ({one.timezone})"
    return "when it is started by hand" if one.interval is None else f"every {one.interval:g} s"


def _watch(stop: threading.Event, retries: dict[UUID, int], settings: Settings) -> None:
    from prefect.client.orchestration import get_client

    from pipelines.watch import mark_crashed, retry_crashed

    with get_client(sync_client=True) as client:
        while not stop.wait(0.0):
            try:
                for run in mark_crashed(client, list(retries), settings.project):
                    say(f"run {run} crashed: its process is gone", settings.quiet)
                for run in retry_crashed(client, retries):
                    say(f"run {run} goes on where a crashed one was", settings.quiet)
            except Exception as error:  # noqa: BLE001 - the server may be away for a while; runs go on
                say(f"looking for crashed runs failed, again in {WATCH_SECONDS:g} s: {error}", settings.quiet)
            stop.wait(WATCH_SECONDS)


@contextmanager
def _server(settings: Settings) -> Iterator[None]:
    """The configured server, or one of our own for as long as this lasts."""
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    server = LocalServer(whole=True)
    try:
        os.environ["PREFECT_API_URL"] = server.address()
        say(f"Prefect server: {server.address().removesuffix('/api')} (this machine only)", settings.quiet)
        yield
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        server.stop()

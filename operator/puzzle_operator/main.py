"""The `puzzle-operator` command: reads settings, connects the ports, starts kopf. Wiring only."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import kopf
import prometheus_client
import typer

from puzzle_common.settings import ConfigurationError, list_settings, without_passwords
from puzzle_operator.adapters.clock import SteadyClock
from puzzle_operator.adapters.cluster import KubeCluster
from puzzle_operator.adapters.http import ObservedClient
from puzzle_operator.adapters.kube import Kube
from puzzle_operator.adapters.monitor import HttpMonitor
from puzzle_operator.adapters.prometheus import PrometheusMetrics
from puzzle_operator.adapters.registry import S3Registry
from puzzle_operator.handlers.reconcile import Reconciler
from puzzle_operator.handlers.telemetry import Telemetry
from puzzle_operator.handlers.watch import Watch
from puzzle_operator.handlers.workers import Workers
from puzzle_operator.ports import Forbidden, Ports
from puzzle_operator.settings import PREFIX, Settings

log = logging.getLogger("puzzle_operator")
cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Deploys, judges, promotes and rolls back PuzzleNet models (PuzzleModel resources) on KServe.",
)


def utc_now() -> datetime:
    """The wall clock, as the machine has it. What is decided goes by one that does not jump."""
    return datetime.now(UTC)


def connect(settings: Settings, telemetry: Telemetry) -> Ports:
    """The real world.

    Raises:
        Forbidden: if there is no cluster to talk to.
    """
    clock = SteadyClock(utc_now)
    cluster = KubeCluster(Kube.connect(settings.api_timeout, telemetry.called))
    client = ObservedClient(telemetry.queried, base_url=settings.prometheus_url, timeout=settings.prometheus_timeout)
    metrics = PrometheusMetrics(
        client,
        job=settings.queue_proxy_job,
        window=settings.prometheus_window,
        stale_after=timedelta(seconds=settings.prometheus_stale_after),
        now=clock,
        wall=utc_now,
    )
    registry = S3Registry(cluster, decisions_for=settings.resting_interval)
    return Ports(cluster=cluster, metrics=metrics, registry=registry, clock=clock, monitor=_monitor(settings))


def _monitor(settings: Settings) -> HttpMonitor | None:
    if not settings.monitor_url:
        return None
    client = httpx.AsyncClient(base_url=settings.monitor_url.rstrip("/"), timeout=settings.monitor_timeout)
    return HttpMonitor(client, Path(settings.monitor_token_file) if settings.monitor_token_file else None)


async def operate(settings: Settings) -> None:
    """Watch and work until cancelled."""
    telemetry = Telemetry()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    ports = connect(settings, telemetry)
    if settings.metrics_port:
        prometheus_client.start_http_server(settings.metrics_port, registry=telemetry.registry)
    reconciler = Reconciler(ports, settings, telemetry)
    workers = Workers(reconciler.run, telemetry)
    telemetry.watch_workers(lambda: workers.count)
    registry = kopf.OperatorRegistry()
    Watch(registry, workers)
    kopf.on.probe(registry=registry, id="models")(lambda **_: workers.count)
    kopf.on.startup(registry=registry)(_configure)
    kopf.on.login(registry=registry)(_login)
    probe = f"http://0.0.0.0:{settings.probe_port}/healthz" if settings.probe_port else None
    where = ", ".join(settings.watch_namespaces) or "all namespaces"
    log.info("watching PuzzleModels in %s; metrics from %s", where, without_passwords(settings.prometheus_url))
    sweeping = asyncio.create_task(reconciler.registered.forever(), name="monitor")
    try:
        await kopf.operator(
            registry=registry,
            standalone=True,
            liveness_endpoint=probe,
            clusterwide=not settings.watch_namespaces,
            namespaces=settings.watch_namespaces,
        )
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        await workers.stop()


def _configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False  # events are ours alone
    settings.watching.server_timeout = 270
    settings.watching.client_timeout = 300


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    found: Any = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
    return found if isinstance(found, kopf.ConnectionInfo) else None


@cli.callback()
def _root() -> None:
    """One command may become several; typer needs to know that it is a group."""


@cli.command()
def run() -> None:
    """Run the operator: in a pod with its service account, elsewhere with KUBECONFIG."""
    try:
        settings = Settings.from_environment(os.environ)
    except ConfigurationError as exc:
        print(f"puzzle-operator: {exc}", file=sys.stderr)
        raise typer.Exit(2) from exc
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    for noisy in ("aiohttp.access", "httpx", "httpcore", "urllib3", "kopf.activities", "kopf.objects"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        asyncio.run(operate(settings))
    except Forbidden as exc:
        print(f"puzzle-operator: {exc}", file=sys.stderr)
        raise typer.Exit(2) from exc
    except KeyboardInterrupt:
        log.info("stopped")


@cli.command()
def settings() -> None:
    """Show the environment variables, and what each is set to."""
    try:
        present = Settings.from_environment(os.environ)
    except ConfigurationError as exc:
        print(f"puzzle-operator: {exc}", file=sys.stderr)
        raise typer.Exit(2) from exc
    print(list_settings(present, PREFIX, os.environ))


def main() -> None:
    """Entry point of the package."""
    cli()


if __name__ == "__main__":
    main()

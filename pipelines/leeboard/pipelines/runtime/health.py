"""`/livez`, `/readyz` and `/metrics` of a worker, on the loopback address by default."""

import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

#: a worker whose timer has not run for so long is stuck
TIMER_STUCK_S = 60.0


class PortTaken(Exception):
    """The port for health and metrics is in use."""


class HealthServer:
    """Serves what orchestrators and Prometheus ask for.

    `why_not_ready`: None, or what is missing. The worker's timer calls `note_timer`.
    """

    def __init__(self, registry: CollectorRegistry, why_not_ready: Callable[[], str | None]) -> None:
        self._registry = registry
        self._why_not_ready = why_not_ready
        self._timer_ran_s = time.monotonic()
        self._runner: web.AppRunner | None = None

    def note_timer(self) -> None:
        """The worker's timer has run."""
        self._timer_ran_s = time.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since the timer ran."""
        return time.monotonic() - self._timer_ran_s

    async def start(self, host: str, port: int) -> None:
        """Begin to serve. Raises PortTaken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise PortTaken(f"{host}:{port}: {error.strerror or error}") from None

    async def stop(self) -> None:
        """Serve no longer."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        if self.age_s > TIMER_STUCK_S:
            return web.Response(status=503, text=f"the timer has not run for {self.age_s:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        why = self._why_not_ready()
        return web.Response(text="ok\n") if why is None else web.Response(status=503, text=f"{why}\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

"""The HTTP server, which can say that it is about to stop before it does."""

import signal
from time import monotonic
from types import FrameType

import uvicorn
from fastapi import FastAPI


class Server(uvicorn.Server):
    """On SIGTERM `/readyz` answers 503 for a while, and all else as ever, so that load balancers send nobody here.

    Ctrl-C, or a second SIGTERM, ends it at once.
    """

    def __init__(self, config: uvicorn.Config, *, app: FastAPI, drain_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds
        self._stop_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and self._stop_at is None and self._drain_seconds and not self.should_exit:
            self._app.state.draining = True
            self._stop_at = monotonic() + self._drain_seconds
            self._captured_signals.append(sig)  # raised once more at the end, as for every signal that ends it
            return
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._stop_at is not None and monotonic() >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)

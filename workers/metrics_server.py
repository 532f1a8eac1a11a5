"""The files by which worker processes share their metrics, and the HTTP server that gives the sum of them.

This is prometheus_client's multiprocess mode, but a file belongs to a slot of the supervisor and not to a process: who
comes after a worker that died counts on where it stopped. So no counter ever goes back, and however many workers die,
there are never more files than seats.
"""

import logging
import os
import tempfile
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, start_http_server, values
from prometheus_client.multiprocess import MultiProcessCollector

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MetricsFile:
    """Where one worker process keeps its figures; of two that live at the same time, each has its own."""

    folder: str
    slot: int

    def use(self) -> None:
        """Keep all figures of this process there. To be called before the first metric is made."""
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = self.folder
        values.ValueClass = values.MultiProcessValue(process_identifier=lambda: self.slot)


class MetricsServer:
    """Serves, from a thread, what the worker processes of one supervisor have counted, and how many of them died."""

    def __init__(self, host: str, port: int) -> None:
        """Listen.

        Args:
            host: address to listen on.
            port: port to listen on; 0 for any that is free, which the log then names.

        Raises:
            OSError: it cannot be listened on, or there is no place for temporary files.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="costcurve-metrics-")
        disable_created_metrics()  # workers have none either
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=self._folder.name)
        self._deaths = Counter(
            "costcurve_worker_deaths", "Worker processes that died, hung, or could not be started.", registry=registry
        )
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError:
            self._folder.cleanup()
            raise
        log.info("metrics are served at http://%s:%d/metrics", host, self._server.server_port)

    def file(self, slot: int) -> MetricsFile:
        """Where the worker in this slot keeps its figures."""
        return MetricsFile(self._folder.name, slot)

    def died(self) -> None:
        """One more worker process has died."""
        self._deaths.inc()

    def close(self) -> None:
        """Serve no more, and forget all figures."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._folder.cleanup()

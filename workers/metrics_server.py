"""The workers' shared metrics files and the HTTP server that sums them.

This is prometheus_client's multiprocess mode, but a file belongs to a slot of the supervisor, not to a process. The
successor of a dead worker continues with its file. So no counter ever decreases, and there are never more files than
slots, however many workers die.
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
    """The place where one worker process keeps its metrics.

    No two living processes share one.
    """

    folder: str
    slot: int

    def use(self) -> None:
        """Keep all metrics of this process in this file.

        Call it before the first metric is created.
        """
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = self.folder
        values.ValueClass = values.MultiProcessValue(process_identifier=lambda: self.slot)


class MetricsServer:
    """An HTTP server for the metrics of one supervisor's workers.

    It runs in a thread and exports the workers' sums and the number of workers that died.
    """

    def __init__(self, host: str, port: int) -> None:
        """Start to listen and to serve.

        Args:
            host: address to listen on.
            port: port to listen on; 0 for any free port, which is logged.

        Raises:
            OSError: the address cannot be used, or there is no place for temporary files.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="costcurve-metrics-")
        disable_created_metrics()  # workers export no `_created` series either
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
        """Return the metrics file for the worker in this slot."""
        return MetricsFile(self._folder.name, slot)

    def died(self) -> None:
        """Count one more dead worker process."""
        self._deaths.inc()

    def close(self) -> None:
        """Stop serving and delete all metrics."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._folder.cleanup()

"""A real HTTP server that does what a script says, however wrong: what may stand between a client and the service."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JOB = {
    "id": "job_1",
    "status": "running",
    "is_terminal": False,
    "spec": {"experiment": "neuron"},
    "progress": {"epoch": 1, "epochs": 2, "step": 1, "steps": 2, "fraction": 0.5},
    "created_at": "2026-01-01T00:00:00Z",
    "version": 7,
}
ENDED = {**JOB, "status": "succeeded", "is_terminal": True, "version": 8}
Answer = Callable[[BaseHTTPRequestHandler], None]


def answers(
    document: object, status: int = 200, content_type: str = "application/json", headers: dict[str, str] | None = None
) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def hangs_up(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


UNAVAILABLE = answers(
    {"code": "store_unavailable", "title": "The job store is unavailable", "detail": "locked", "errors": []}, 503
)
NOT_FOUND = answers(
    {"code": "job_not_found", "title": "No such job", "detail": "there is no job job_1", "errors": []}, 404
)


@contextmanager
def a_server(*script: Answer) -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """A server that gives these answers, one after the other, the last one for ever, and notes what it was asked."""
    left, asked = list(script), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            asked.append((self.command, self.path, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
            answer = left.pop(0) if len(left) > 1 else left[0]
            answer(self)

        do_GET = do_POST = do_DELETE = do_PATCH = handle_any  # noqa: N815 - http.server's names

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()

"""A web server on this machine that serves MNIST as a mirror does, well or with one fault."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LAST_FETCHED = "t10k-images-idx3-ubyte"  # most faults show here, when the other three files were served well


class Mirror(ThreadingHTTPServer):
    """Serves /<manner>/<name>.gz; each manner is a method below, and what is asked for is kept in `requests`."""

    def __init__(self, packed):
        super().__init__(("127.0.0.1", 0), MirrorHandler)
        self.packed = packed
        self.requests = []
        self.stopping = threading.Event()
        self.both_are_here = threading.Barrier(2, timeout=120)

    def url(self, manner):
        return f"http://127.0.0.1:{self.server_port}/{manner}/"


class MirrorHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        manner, name = self.path.strip("/").split("/")
        body = self.server.packed[name.removesuffix(".gz")]
        is_faulty = manner.startswith("slow") or name == f"{LAST_FETCHED}.gz"
        try:
            getattr(self, manner if is_faulty or manner == "meet" else "good")(body)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *args):
        pass

    def good(self, body, *, length=None):
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def meet(self, body):
        if "train-labels" in self.path:
            self.server.both_are_here.wait()
        self.good(body)

    def missing(self, _body):
        self.send_error(404)

    def broken(self, _body):
        self.send_error(500, "Out of order")

    def moved(self, _body):
        self.send_response(302)
        self.send_header("Location", f"/missing/{LAST_FETCHED}.gz")
        self.end_headers()

    def moved_in_circles(self, _body):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.end_headers()

    def hung_up(self, _body):
        pass

    def cut_off(self, body):
        self.good(body[: len(body) // 2], length=len(body))

    def cut_off_unsaid(self, body):
        self.good(body[: len(body) // 2])

    def corrupt(self, body):
        middle = len(body) // 2
        self.good(body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :])

    def other_digits(self, body):
        self.good(gzip.compress(gzip.decompress(body)[:-1] + b"\1", compresslevel=1))

    def a_web_page(self, _body):
        self.good(b"<html>Please log in to the Wi-Fi</html>")

    def bomb(self, _body):
        self.good(gzip.compress(bytes(100_000_000), compresslevel=1))

    def endless(self, _body):
        self.send_response(200)
        self.end_headers()
        for _ in range(200):
            self.wfile.write(bytes(1_000_000))

    def slow_body(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._trickle(bytes([each]) for each in body)

    def slow_headers(self, _body):
        self._trickle(b"HTTP/1.1 200 OK\r\n" if at == 0 else b"X: y\r\n" for at in range(100_000))

    def slow_to_answer(self, _body):
        self.server.stopping.wait(30)

    def _trickle(self, pieces):
        for piece in pieces:
            self.wfile.write(piece)
            if self.server.stopping.wait(0.02):
                return

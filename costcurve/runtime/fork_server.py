"""Start processes in milliseconds: fork them from a process that has done their imports.

Importing torch takes seconds of CPU. The fork server imports it once. It computes nothing and has one thread, so a fork
of it is safe; a fork of the program that asks for processes would not be.

Python's own `multiprocessing.forkserver` is not used. It dies if a request is cut short, as by a lack of descriptors,
and takes the exit codes of all its processes with it; and a start blocks for as long as the server imports.
"""

import errno
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

# Exit code of a process whose end is unknown, because the fork server died.
UNKNOWN = 255
# Seconds to hand over a request. The server takes requests while it imports, too: the socket's buffer keeps them.
_SEND_TIMEOUT = 1.0
# Seconds that `terminate` waits for the process to exist.
_FORK_TIMEOUT = 1.0
_HEADER = struct.Struct("=I")
_NUMBER = struct.Struct("=q")
_MAX_DESCRIPTORS = 16


class ForkedProcess:
    """A process that a fork server was asked for.

    Attributes:
        pid: None until it has been forked.
        exitcode: None while it lives, and before it is forked; negative for a signal, as in `multiprocessing`.
        error: why it was not forked; None if it was, and while that is unknown.
        sentinel: descriptor that is readable when there is news: the process was forked, or has ended.
    """

    def __init__(self, server: "ForkServer", sentinel: int) -> None:
        self._server = server
        self.sentinel = sentinel
        self.pid: int | None = None
        self.exitcode: int | None = None
        self.error: OSError | None = None
        os.set_blocking(sentinel, False)

    def is_alive(self) -> bool:
        """Return False if the process has ended or was not forked."""
        while self.exitcode is None:
            try:
                news = os.read(self.sentinel, _NUMBER.size)
            except BlockingIOError:
                break
            self._read(news)
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        """Wait until the process has ended, or `timeout` seconds are over."""
        deadline = None if timeout is None else monotonic() + timeout
        while self.is_alive():
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return
            select.select([self.sentinel], [], [], left)

    def terminate(self) -> None:
        """Send SIGTERM."""
        deadline = monotonic() + _FORK_TIMEOUT
        while self.is_alive() and self.pid is None and monotonic() < deadline:
            select.select([self.sentinel], [], [], deadline - monotonic())
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL. If the process is not forked yet, kill the fork server: it hangs."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if not self.is_alive():
            return
        if self.pid is None:
            self._server.kill()
            return
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def _read(self, news: bytes) -> None:
        if not news:
            # The server is gone, and can tell nothing of a process that may still run.
            self.exitcode = UNKNOWN
            if self.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            elif self.error is None:
                self.error = OSError("the fork server has ended or could not receive the request")
        elif self.pid is not None:
            self.exitcode = os.waitstatus_to_exitcode(*_NUMBER.unpack(news))
        else:
            [number] = _NUMBER.unpack(news)
            if number > 0:
                self.pid = number
                return
            self.error = OSError(-number, os.strerror(-number))
            self.exitcode = UNKNOWN
        if self.exitcode is not None:
            os.close(self.sentinel)


class ForkServer:
    """Forks processes on request. Started at the first request, and again if it has died."""

    def __init__(self, preload: Sequence[str]) -> None:
        """Prepare a fork server that imports these modules first."""
        self._preload = preload
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def start(
        self, function: Callable[..., object], *arguments: object, descriptors: Sequence[int] = ()
    ) -> ForkedProcess:
        """Ask for a process; return at once.

        Args:
            function: what the process calls; its exit code is that of an interpreter after the call.
            arguments: anything that can be pickled.
            descriptors: open files of this process. The function gets the process's own numbers of them as its last
                argument, a list.

        Raises:
            OSError: no descriptors, processes or memory are left, or the server does not take the request.
        """
        requests = self._running()
        work = pickle.dumps((function, arguments))
        sentinel, news = os.pipe()
        try:
            message = _HEADER.pack(len(work)) + work
            try:
                sent = socket.send_fds(requests, [message], [news, *descriptors])
                requests.sendall(message[sent:])
            except OSError as error:
                if error.errno not in (errno.ETOOMANYREFS, errno.EMFILE, errno.ENOMEM, errno.ENOBUFS):
                    self.kill()  # part of a message may have been sent
                raise
        except BaseException:
            os.close(sentinel)
            raise
        finally:
            os.close(news)
        return ForkedProcess(self, sentinel)

    def kill(self) -> None:
        """End the server with SIGKILL; the processes that it forked live on until their end is read."""
        process, requests = self._process, self._requests
        self._process = self._requests = None
        if requests is not None:
            requests.close()
        if process is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Let the server end. The processes that it forked live on."""
        process, requests = self._process, self._requests
        self._process = self._requests = None
        if requests is not None:
            requests.close()
        if process is not None:
            process.wait()

    def _running(self) -> socket.socket:
        if self._process is not None and self._process.poll() is not None:
            self.kill()
        if self._requests is None:
            self._process, self._requests = self._launch()
            self._requests.settimeout(_SEND_TIMEOUT)
        return self._requests

    def _launch(self) -> "tuple[subprocess.Popen[bytes], socket.socket]":
        """Start the server; return its process and the socket that takes its requests."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-m", __name__, str(theirs.fileno()), *self._preload],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                )
        except BaseException:
            ours.close()
            raise
        return process, ours


def main() -> None:
    """Import the modules, and serve."""
    # numpy's BLAS would start threads at import.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    descriptor, *modules = sys.argv[1:]
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:  # noqa: BLE001 - the process that needs the module fails in the same way, and is handled
            traceback.print_exc()
    serve(socket.socket(fileno=int(descriptor)))


def serve(requests: socket.socket) -> None:
    """Fork on request, and in a forked process do what was asked for."""
    # A process manager may signal the whole group. The server ends with the program that started it: without it
    # the ends of its processes would be lost.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    asked = _Server(requests).serve()
    if asked is not None:
        gc.unfreeze()
        work, descriptors = asked
        function, arguments = pickle.loads(work)  # noqa: S301 - from the program that started this server
        function(*arguments, descriptors)


class _Server:
    """The loop of a fork server."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        # Where to report the end of each process, by its pid.
        self._news: dict[int, int] = {}
        self._wakeup, self._waker = os.pipe()

    def serve(self) -> tuple[bytes, list[int]] | None:
        """Fork processes until the other end is closed.

        Returns:
            In a forked process its work and its descriptors; None at the end.
        """
        for end in (self._wakeup, self._waker):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        while True:
            readable, _, _ = select.select([self._requests.fileno(), self._wakeup], [], [])
            if self._wakeup in readable:
                with suppress(BlockingIOError):
                    os.read(self._wakeup, 1 << 16)
                self._reap()
            if self._requests.fileno() in readable:
                request = self._receive()
                if request is None:
                    return None
                work, received = request
                asked = self._fork(work, received)
                if asked is not None:
                    return asked

    def _receive(self) -> tuple[bytes, list[int]] | None:
        """Return a request and its descriptors; None if the other end is closed."""
        header, received, _, _ = socket.recv_fds(self._requests, _HEADER.size, _MAX_DESCRIPTORS)
        if len(header) < _HEADER.size:
            return None
        [size] = _HEADER.unpack(header)
        work = bytearray()
        while len(work) < size:
            part = self._requests.recv(size - len(work))
            if not part:
                return None
            work += part
        return bytes(work), received

    def _fork(self, work: bytes, received: list[int]) -> tuple[bytes, list[int]] | None:
        if not received:  # this process may open no more files
            return None
        news, *descriptors = received
        # A SIGTERM that comes before the process has its own handlers waits for them: the server's would ignore it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        gate: tuple[int, ...] = ()
        try:
            gate = may_begin, begin = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(begin)
                if not os.read(may_begin, 1):
                    os._exit(UNKNOWN)
                os.close(may_begin)
                return self._forked(news, work, descriptors)
            _tell(news, pid)
            self._news[pid] = news
            # Only now may the process begin: if this server died before, no other process would know of it and end it.
            _tell(begin, pid)
        except OSError as error:
            _tell(news, -(error.errno or errno.EAGAIN))
            os.close(news)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        for descriptor in (*descriptors, *gate):
            os.close(descriptor)
        return None

    def _forked(self, news: int, work: bytes, descriptors: list[int]) -> tuple[bytes, list[int]]:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._requests.close()
        # An end that stays open here would hide the server's death.
        for descriptor in (news, self._wakeup, self._waker, *self._news.values()):
            os.close(descriptor)
        return work, descriptors

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            news = self._news.pop(pid)
            _tell(news, status)
            os.close(news)


def _tell(news: int, number: int) -> None:
    with suppress(BrokenPipeError):
        os.write(news, _NUMBER.pack(number))


if __name__ == "__main__":
    # The module under its own name: what is pickled by reference is then the same class here and there.
    from costcurve.runtime import fork_server

    fork_server.main()

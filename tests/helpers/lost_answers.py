"""Commits that take effect, and whose answers are lost: between PostgreSQL and its clients, or behind SQLite's driver.

A client cannot tell such a commit from one that never happened. What it repeats must come to the same either way.
"""

import re
import socket
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, event, make_url

from costcurve.store.database import Database

# Kinds of transactions, each by how one of its statements begins; the first that fits names it.
KINDS = {
    "claim": "INSERT INTO attempts",
    "sweep": "INSERT INTO sweeps",
    "submission": "INSERT INTO jobs",
    "registration": "INSERT INTO workers",
    "renewal": "UPDATE workers SET heartbeat_at",
    "retirement": "UPDATE workers SET stopped_at",
    "end": "UPDATE attempts",
    "request": "INSERT INTO events",
    "deletion": "DELETE FROM jobs",
    "change": "UPDATE jobs",
}
_SSL_REQUEST = 80877103


def kind_of(statements: list[str]) -> str | None:
    """Return the kind of the transaction that made these statements; None if it wrote nothing of ours."""
    made = [" ".join(statement.split()) for statement in statements]
    return next((kind for kind, start in KINDS.items() if any(each.startswith(start) for each in made)), None)


class Loses(Protocol):
    """Decides, given the kind of a transaction that is committed, whether its answer is lost."""

    def __call__(self, kind: str) -> bool: ...


class Losses:
    """Which answers are to be lost, and which were."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._loses: Loses = lambda _kind: False
        self._lock = threading.Lock()

    def lose(self, loses: Loses) -> None:
        """Ask this of each transaction from now on."""
        self._loses = loses

    def lose_next(self, kind: str) -> None:
        """Lose the answer to the next transaction of this kind, and no other."""
        before = self.seen[kind]
        self.lose(lambda found: found == kind and self.seen[kind] == before)

    def takes(self, statements: list[str]) -> bool:
        """Return True if the answer to the commit of these statements is to be lost now."""
        kind = kind_of(statements)
        with self._lock:
            if kind is None or not self._loses(kind):
                return False
            self.seen[kind] += 1
            return True


def behind_the_driver(database: Database, losses: Losses) -> None:
    """Let commits on this SQLite database fail just after they were made."""
    engine: Engine = database.engine
    commit = engine.dialect.do_commit

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.info["made"] = []

    @event.listens_for(engine, "before_cursor_execute")
    def _note(connection: Connection, _cursor: Any, statement: str, *_: object) -> None:
        connection.info.setdefault("made", []).append(statement)

    def commit_and_fail(connection: Any) -> None:
        commit(connection)
        if losses.takes(connection.info["made"]):
            raise engine.dialect.dbapi.OperationalError("disk I/O error")  # type: ignore[union-attr]

    engine.dialect.do_commit = commit_and_fail  # type: ignore[method-assign]


class Proxy:
    """Stands before a PostgreSQL server on a Unix socket, and breaks a connection instead of answering its COMMIT."""

    def __init__(self, server_url: str, folder: Path, losses: Losses) -> None:
        """Listen in this folder; `url` is where the server is to be reached through it."""
        given = make_url(server_url)
        port = given.port or 5432
        self._server = str(Path(str(given.query["host"])) / f".s.PGSQL.{port}")
        self.url = given.update_query_dict({"host": str(folder)}).render_as_string(hide_password=False)
        self._losses = losses
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / f".s.PGSQL.{port}"))
        self._listener.listen(64)
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Break all connections and listen no more."""
        for each in (self._listener, *tuple(self._open)):
            _break(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self._server)
                except OSError:  # the server is being restarted
                    _break(client)
                    continue
                self._open |= {client, server}
                conversation = _Conversation(client, server, self._losses)
                for work in (conversation.ask, conversation.answer):
                    threading.Thread(target=self._until_broken, args=(work, client, server), daemon=True).start()

    def _until_broken(self, work: Callable[[], None], *ends: socket.socket) -> None:
        with suppress(OSError, EOFError):
            work()
        for end in ends:
            _break(end)
            self._open.discard(end)


class _Conversation:
    """One connection, of which the messages of the client are read (PostgreSQL's protocol, version 3)."""

    def __init__(self, client: socket.socket, server: socket.socket, losses: Losses) -> None:
        self._client, self._server, self._losses = client, server, losses
        self._prepared: dict[bytes, str] = {}
        self._made: list[str] = []
        self._loses = False

    def ask(self) -> None:
        """Pass on what the client says."""
        self._begin()
        while True:
            kind = self._receive(1)
            size = self._receive(4)
            body = self._receive(struct.unpack("!i", size)[0] - 4)
            self._note(kind, body)
            self._server.sendall(kind + size + body)

    def answer(self) -> None:
        """Pass on what the server says, up to an answer that is to be lost."""
        while True:
            said = self._server.recv(1 << 16)
            if not said or self._loses:
                raise EOFError
            self._client.sendall(said)

    def _begin(self) -> None:
        """Pass on the messages without a type, with which a connection starts."""
        while True:
            size = self._receive(4)
            body = self._receive(struct.unpack("!i", size)[0] - 4)
            self._server.sendall(size + body)
            if struct.unpack("!i", body[:4])[0] != _SSL_REQUEST:
                return

    def _note(self, kind: bytes, body: bytes) -> None:
        match kind:
            case b"Q":
                statement = body.rstrip(b"\0").decode()
                if re.match("BEGIN", statement):
                    self._made = []
                elif statement == "COMMIT":
                    self._loses = self._losses.takes(self._made)
                else:
                    self._made.append(statement)
            case b"P":
                name, statement_, _ = body.split(b"\0", 2)
                self._prepared[name] = statement_.decode()
            case b"B":
                _portal, name, _ = body.split(b"\0", 2)
                self._made.append(self._prepared.get(name, ""))

    def _receive(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self._client.recv(count - len(found))
            if not part:
                raise EOFError
            found += part
        return found


def _break(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def proxied(server_url: str, losses: Losses) -> Iterator[str]:
    """Yield the URL of this PostgreSQL database behind a proxy that loses answers."""
    with tempfile.TemporaryDirectory(prefix="costcurve-proxy-") as folder:
        proxy = Proxy(server_url, Path(folder), losses)
        try:
            yield proxy.url
        finally:
            proxy.close()

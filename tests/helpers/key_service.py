"""A service that requires keys, in this process, with two projects and one key for each purpose."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import update

from costcurve.core.access import Scope
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.schema import api_keys
from service.app import create_app
from service.key_limits import KeyRules

# Limits that no test reaches by accident.
GENEROUS = KeyRules(requests_per_second=100_000, heavy_requests=1000, failures_per_minute=100_000)
ALL = frozenset(Scope)


class KeyService:
    """A store with the projects `ours` and `theirs`, and a service on it.

    Attributes:
        store: of the service; without a caller of its own.
        url: of the service.
        keys: the secrets, by purpose.
    """

    def __init__(self, database: Database, app: FastAPI, url: str) -> None:
        self.app = app
        self._database = database
        self.store = JobStore(database)
        self.url = url
        self.store.create_project("ours")
        self.store.create_project("theirs")
        self.keys = {name: self.key(name, scopes=frozenset({Scope(name)})) for name in Scope}
        self.keys |= {"ours": self.key("ours"), "theirs": self.key("theirs", project="theirs")}
        self.keys["revoked"] = self.key("revoked", is_revoked=True)
        self.keys["expired"] = self.key("expired", has_expired=True)
        self.keys["unknown"] = f"{self.keys['ours'][:-5]}AAAAA"
        self.http = httpx.Client(base_url=url, timeout=120)

    def key(
        self,
        name: str,
        *,
        project: str = "ours",
        scopes: frozenset[Scope] = ALL,
        is_revoked: bool = False,
        has_expired: bool = False,
    ) -> str:
        """Create a key; its secret."""
        key, secret = self.store.create_key(project, name=name, scopes=scopes)
        if is_revoked:
            self.store.revoke_key(key.id)
        if has_expired:
            with self._database.write() as tx:
                past = datetime.now(UTC) - timedelta(seconds=1)
                tx.execute(update(api_keys).where(api_keys.c.id == key.id).values(expires_at=past))
        return secret

    def ask(self, who: str | None, method: str, path: str, **options: object) -> httpx.Response:
        """Send a request with the key of this purpose, or without one."""
        headers = dict(options.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {self.keys[who]}"
        return self.http.request(method, path, headers=headers, **options)


@contextmanager
def key_service(folder: Path, migrated: Path, rules: KeyRules = GENEROUS) -> Iterator[KeyService]:
    """A service with keys on an SQLite database of its own in this folder."""
    file = folder / "costcurve.db"
    shutil.copy(migrated, file)
    database = Database(f"sqlite:///{file}")
    app = create_app(database, keys=rules)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        service = KeyService(database, app, f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            yield service
        finally:
            service.http.close()
            server.should_exit = True
            thread.join()
            database.close()

"""The store's methods for projects and API keys.

A key is `cck_`, 12 hexadecimal digits, `_` and 256 random bits. The part before the second `_` is its prefix, by which
it is found; of the whole key only the SHA-256 is stored.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from costcurve.core.access import ApiKey, Caller, NewKey, NewProject, Project, ProjectLimits, Scope
from costcurve.core.errors import KeyNotFound, ProjectExists, ProjectNotFound, invalid_fields
from costcurve.core.validation import FieldError, field_errors
from costcurve.store.base import OnDatabase, strip_nul
from costcurve.store.schema import api_keys, projects

# Seconds between two writes of a key's last use.
_USE_SECONDS = 60
_PREFIX_LENGTH = len("cck_") + 12
# Compared with the key when its prefix is unknown, so that the response takes the same time.
_NO_KEY = hashlib.sha256(b"").hexdigest()
_keys = select(api_keys, projects.c.name.label("project")).join(projects, projects.c.pk == api_keys.c.project_pk)


class ForAccess(OnDatabase):
    """Store methods for projects and keys, which operators and the service call."""

    def create_project(self, name: str, *, limits: ProjectLimits | None = None) -> Project:
        """Create a project.

        Raises:
            InvalidRequest: the name is not valid.
            ProjectExists: there is a project of this name.
        """
        try:
            new = NewProject(name=name, limits=limits or ProjectLimits())
        except ValidationError as error:
            raise invalid_fields(field_errors(error.errors())) from error
        kept = new.limits.model_dump(exclude_none=True)
        try:
            with self._database.write() as tx:
                tx.execute(insert(projects).values(name=new.name, limits=kept, created_at=self._now(tx)))
                return _project_of(_project(tx, new.name))
        except IntegrityError as error:
            raise ProjectExists(f"there is already a project {new.name!a}") from error

    def projects(self) -> Sequence[Project]:
        """Return all projects, the oldest first."""
        with self._read() as tx:
            return [_project_of(row) for row in tx.execute(select(projects).order_by(projects.c.pk))]

    def project(self, name: str) -> Project:
        """Return a project. Raises ProjectNotFound."""
        with self._read() as tx:
            return _project_of(_project(tx, name))

    def update_project(self, name: str, changes: ProjectLimits) -> Project:
        """Change the limits that are set in `changes`; None returns one to the service's default.

        Raises ProjectNotFound.
        """
        with self._database.write() as tx:
            row = _project(tx, name, lock=True)
            given = {field: getattr(changes, field) for field in changes.model_fields_set}
            kept = {field: value for field, value in {**row.limits, **given}.items() if value is not None}
            tx.execute(update(projects).where(projects.c.pk == row.pk).values(limits=kept))
            return _project_of(_project(tx, name))

    def create_key(
        self,
        project: str,
        *,
        name: str,
        scopes: Collection[Scope] = (Scope.READ, Scope.SUBMIT),
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key of a project; return it and its secret, which is not stored.

        Raises:
            ProjectNotFound: there is no such project.
            InvalidRequest: the name, the scopes or the time of expiry is not valid.
        """
        try:
            new = NewKey(name=name, scopes=tuple(scopes), expires_at=expires_at)
        except ValidationError as error:
            raise invalid_fields(field_errors(error.errors())) from error
        prefix = f"cck_{secrets.token_hex(6)}"
        secret = f"{prefix}_{secrets.token_urlsafe(32)}"
        with self._database.write() as tx:
            owner, now = _project(tx, project), self._now(tx)
            if expires_at is not None and expires_at <= now:
                raise invalid_fields(
                    [FieldError("/expires_at", f"must be in the future, not {expires_at.isoformat()}")]
                )
            values = {
                "id": f"key_{secrets.token_hex(10)}",
                "project_pk": owner.pk,
                "name": new.name,
                "prefix": prefix,
                "sha256": _digest(secret),
                "scopes": " ".join(sorted(set(new.scopes))),
                "created_at": now,
                "expires_at": expires_at,
            }
            tx.execute(insert(api_keys).values(values))
            return _key_of(_key(tx, values["id"])), secret

    def keys(self, project: str | None = None) -> Sequence[ApiKey]:
        """Return the keys of one project or of all, the oldest first; also those that are not valid any more.

        Raises:
            ProjectNotFound: there is no such project.
        """
        found = _keys.order_by(api_keys.c.pk)
        with self._read() as tx:
            if project is not None:
                found = found.where(api_keys.c.project_pk == _project(tx, project).pk)
            return [_key_of(row) for row in tx.execute(found)]

    def revoke_key(self, key_id: str) -> ApiKey:
        """Revoke a key; calling it twice is no error. Raises KeyNotFound."""
        with self._database.write() as tx:
            row = _key(tx, key_id)
            if row.revoked_at is None:
                tx.execute(update(api_keys).where(api_keys.c.pk == row.pk).values(revoked_at=self._now(tx)))
            return _key_of(_key(tx, key_id))

    def authenticate(self, secret: str) -> Caller | None:
        """Return the caller that a key belongs to; None if the key is unknown, revoked or expired."""
        prefix = strip_nul(secret[:_PREFIX_LENGTH])
        with self._read() as tx:
            row = tx.execute(_keys.where(api_keys.c.prefix == prefix)).one_or_none()
            now = self._now(tx)
        is_equal = hmac.compare_digest(_digest(secret), _NO_KEY if row is None else row.sha256)
        if row is None or not is_equal or not _is_valid(row, now):
            return None
        unused_since = now - timedelta(seconds=_USE_SECONDS)
        if row.last_used_at is None or row.last_used_at <= unused_since:
            self._note_use(row.pk, now, unused_since)
        return Caller(row.project_pk, row.project, row.id, row.name, _scopes_of(row))

    def has_admin_key(self) -> bool:
        """Return True if there is a valid key with the scope `admin`."""
        with self._read() as tx:
            now = self._now(tx)
            found = tx.execute(select(api_keys).where(api_keys.c.revoked_at.is_(None))).all()
        return any(Scope.ADMIN in _scopes_of(row) and _is_valid(row, now) for row in found)

    def _note_use(self, key_pk: int, now: datetime, unused_since: datetime) -> None:
        is_old = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at <= unused_since)
        with self._database.write() as tx:
            tx.execute(update(api_keys).where(api_keys.c.pk == key_pk, is_old).values(last_used_at=now))


def _project(tx: Connection, name: str, *, lock: bool = False) -> Row[Any]:
    found = select(projects).where(projects.c.name == strip_nul(name))
    row = tx.execute(found.with_for_update() if lock else found).one_or_none()
    if row is None:
        raise ProjectNotFound(f"there is no project {name!a}")
    return row


def _project_of(row: Row[Any]) -> Project:
    return Project(row.name, ProjectLimits(**row.limits), row.created_at)


def _key(tx: Connection, key_id: str) -> Row[Any]:
    row = tx.execute(_keys.where(api_keys.c.id == strip_nul(key_id))).one_or_none()
    if row is None:
        raise KeyNotFound(f"there is no key {key_id!a}")
    return row


def _key_of(row: Row[Any]) -> ApiKey:
    times = row.created_at, row.expires_at, row.revoked_at, row.last_used_at
    return ApiKey(row.id, row.project, row.name, row.prefix, _scopes_of(row), *times)


def _scopes_of(row: Row[Any]) -> frozenset[Scope]:
    return frozenset(Scope(scope) for scope in row.scopes.split())


def _is_valid(row: Row[Any], now: datetime) -> bool:
    return row.revoked_at is None and not (row.expires_at is not None and row.expires_at <= now)


def _digest(secret: str) -> str:
    """Return the SHA-256 of a key. Its 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

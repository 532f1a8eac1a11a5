"""Routes of keys and projects, for `admin` keys, and of the caller itself."""

from fastapi import APIRouter, Response

from costcurve.core.access import NewProject, Project, ProjectLimits
from costcurve.core.errors import (
    InvalidRequest,
    KeyNotFound,
    ProjectExists,
    ProjectNotFound,
    StoreUnavailable,
)
from service.dependencies import KnownKeys, RequestCaller, Store
from service.http.strict_routes import StrictRoute
from service.problems import documents
from service.responses import BODY_ERRORS, TEXT_HEADER
from service.schemas.access import (
    CallerOut,
    CreatedKeyOut,
    KeyIn,
    KeyList,
    ProjectList,
    ProjectOut,
)

router = APIRouter(route_class=StrictRoute, tags=["access"], responses=documents(InvalidRequest, StoreUnavailable))


@router.get("/me")
def get_caller(caller: RequestCaller) -> CallerOut:
    """Return the project, the name and the scopes of the key that the request has."""
    return CallerOut.of(caller)


@router.post(
    "/keys",
    status_code=201,
    responses=documents(*BODY_ERRORS, ProjectNotFound) | {201: {"headers": {"Location": TEXT_HEADER}}},
)
def create_key(body: KeyIn, store: Store, response: Response) -> CreatedKeyOut:
    """Create a key of a project. The response is the only one that has its secret."""
    key, secret = store.create_key(body.project, name=body.name, scopes=body.scopes, expires_at=body.expires_at)
    response.headers["Location"] = f"/v1/keys/{key.id}"
    return CreatedKeyOut.of(key, secret)


@router.get("/keys", responses=documents(ProjectNotFound))
def list_keys(store: Store, project: str | None = None) -> KeyList:
    """Return all keys without their secrets, or those of one project, the oldest first."""
    return KeyList.of(store.keys(project))


@router.delete("/keys/{key_id}", status_code=204, responses=documents(KeyNotFound))
def revoke_key(key_id: str, store: Store, known: KnownKeys) -> None:
    """Revoke a key, at once in this process and within 5 s in others. Repeating the request is not an error."""
    store.revoke_key(key_id)
    if known is not None:
        known.forget()


@router.post(
    "/projects",
    status_code=201,
    response_model=ProjectOut,
    responses=documents(*BODY_ERRORS, ProjectExists),
)
def create_project(body: NewProject, store: Store) -> Project:
    """Create a project, with limits of its own or the defaults."""
    return store.create_project(body.name, limits=body.limits)


@router.get("/projects")
def list_projects(store: Store) -> ProjectList:
    """Return all projects with their limits, the oldest first."""
    return ProjectList.of(store.projects())


@router.patch(
    "/projects/{project}",
    response_model=ProjectOut,
    responses=documents(*BODY_ERRORS, ProjectNotFound),
)
def update_project(project: str, body: ProjectLimits, store: Store) -> Project:
    """Change limits of a project: those in the body; null is the default of the settings."""
    return store.update_project(project, body)

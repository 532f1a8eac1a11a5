"""What routes are given."""

from typing import Annotated

from fastapi import Depends, Request

from jobs.database import Database
from jobs.store import JobStore
from service.caching import Pictures


def _store(request: Request) -> JobStore:
    store: JobStore = request.app.state.store
    return store


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _is_draining(request: Request) -> bool:
    draining: bool = request.app.state.draining
    return draining


def _pictures(request: Request) -> Pictures:
    pictures: Pictures = request.app.state.pictures
    return pictures


Store = Annotated[JobStore, Depends(_store)]
OpenDatabase = Annotated[Database, Depends(_database)]
IsDraining = Annotated[bool, Depends(_is_draining)]
DrawnPictures = Annotated[Pictures, Depends(_pictures)]

"""A database that is away: clients learn that it is, and nothing of where it is."""

import logging
from pathlib import Path

import pytest
from sqlalchemy import event

from tests.helpers.problems import problem


@pytest.mark.parametrize("path", ["/v1/jobs", "/readyz", "/v1/workers"])
def test_a_503_names_no_path_host_or_user(store, http, caplog, path):
    database = store._database
    with caplog.at_level(logging.WARNING, logger="service.problems"):
        database.engine.dispose()
        _move_away(database)
        body = problem(http.get(path), 503, "store_unavailable")

    assert body["detail"] == "the database cannot be reached or written; nothing was lost, try again"
    assert len(caplog.records) == 1
    assert body["detail"] not in caplog.text  # the log has the cause


def _move_away(database) -> None:
    """Make the store unreachable: the file of SQLite is renamed, and PostgreSQL's port answers no more."""
    url = database.engine.url
    if url.get_backend_name() == "sqlite":
        file = Path(url.database)
        file.rename(file.with_suffix(".away"))
    else:

        @event.listens_for(database.engine, "do_connect")
        def elsewhere(_dialect, _record, _arguments, parameters) -> None:
            parameters["host"] = "/nowhere"

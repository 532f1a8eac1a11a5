"""Projects and API keys."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from costcurve.core.access import LOCAL, ProjectLimits, Scope
from costcurve.core.errors import InvalidRequest, KeyNotFound, ProjectExists, ProjectNotFound
from costcurve.store.schema import api_keys


def test_a_key_names_its_project_and_scopes(store):
    store.create_project("physics")
    key, secret = store.create_key("physics", name="lab", scopes=[Scope.READ])

    caller = store.authenticate(secret)

    assert (caller.project, caller.key_id, caller.key_name) == ("physics", key.id, "lab")
    assert caller.scopes == {Scope.READ}
    assert caller.project_pk != LOCAL.project_pk
    assert secret.startswith(f"{key.prefix}_")
    assert len(secret) == 60


def test_the_secret_of_a_key_is_not_stored(store):
    key, secret = store.create_key("default", name="mine")

    with store._database.read() as tx:
        [row] = tx.execute(select(api_keys)).all()
    assert secret[len(key.prefix) :] not in repr(row)


def test_keys_that_are_wrong_revoked_or_expired_are_not_accepted(store, clock):
    _, good = store.create_key("default", name="good")
    revoked, gone = store.create_key("default", name="revoked")
    _, short = store.create_key("default", name="short", expires_at=clock.now + timedelta(hours=1))
    assert store.authenticate(short) is not None
    store.revoke_key(revoked.id)
    assert store.revoke_key(revoked.id).revoked_at == clock.now
    clock.advance(3600)

    assert store.authenticate(good) is not None
    wrong = good[:-1] + ("A" if good[-1] != "A" else "B")
    for secret in (gone, short, wrong, good[:16], good + "A", "", "\0", "cck_", "\ud800", "cck_0123456789ab_x"):
        assert store.authenticate(secret) is None


def test_the_last_use_is_written_once_a_minute(store, clock):
    key, secret = store.create_key("default", name="mine")
    first = clock.now

    def last_used():
        store.authenticate(secret)
        return next(each.last_used_at for each in store.keys("default") if each.id == key.id)

    assert last_used() == first
    clock.advance(59)
    assert last_used() == first
    clock.advance(1)
    assert last_used() == clock.now


def test_only_a_valid_key_with_the_scope_admin_is_an_admin_key(store, clock):
    store.create_key("default", name="reader")
    assert not store.has_admin_key()
    key, _ = store.create_key("default", name="a", scopes=[Scope.ADMIN], expires_at=clock.now + timedelta(hours=1))
    assert store.has_admin_key()
    clock.advance(3600)
    assert not store.has_admin_key()
    key, _ = store.create_key("default", name="b", scopes=[Scope.ADMIN])
    store.revoke_key(key.id)
    assert not store.has_admin_key()


@pytest.mark.parametrize("name", ["", "A", "a b", "a_b", "é", "a" * 64, "a\n", "²"])
def test_a_project_needs_a_plain_name(store, name):
    with pytest.raises(InvalidRequest) as refused:
        store.create_project(name)
    assert refused.value.errors[0].pointer == "/name"


def test_projects_are_unique_and_their_limits_change_one_by_one(store):
    store.create_project("physics", limits=ProjectLimits(queued_jobs=4, priority=50))
    with pytest.raises(ProjectExists):
        store.create_project("physics")
    with pytest.raises(ProjectNotFound):
        store.update_project("art", ProjectLimits())

    changed = store.update_project("physics", ProjectLimits(queued_jobs=None, sweep_cells=10))

    assert changed.limits == ProjectLimits(priority=50, sweep_cells=10)
    assert [project.name for project in store.projects()] == ["default", "physics"]


def test_keys_are_made_for_projects_that_exist(store, clock):
    with pytest.raises(ProjectNotFound):
        store.create_key("art", name="a")
    with pytest.raises(KeyNotFound):
        store.revoke_key("key_\0")
    with pytest.raises(InvalidRequest) as refused:
        store.create_key("default", name="late", expires_at=clock.now)
    assert refused.value.errors[0].pointer == "/expires_at"
    with pytest.raises(InvalidRequest) as refused:
        store.create_key("default", name="a", scopes=())
    assert refused.value.errors[0].pointer == "/scopes"
    assert store.keys() == []

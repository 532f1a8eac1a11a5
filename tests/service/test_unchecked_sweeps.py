"""Sweeps that earlier versions stored without a look at fields that the grid overrides."""

import pytest
from sqlalchemy import select, update

from costcurve.store.schema import sweeps

NEURON = {"experiment": "neuron"}


@pytest.mark.parametrize("value", ["\ud800", [[[]]] * 3])
def test_a_sweep_with_an_unchecked_value_is_shown_without_it(store, http, value):
    made = http.post("/v1/sweeps", json={"spec": NEURON, "grid": {"loss": ["quadratic"]}}).json()
    with store._database.write() as tx:
        [stored] = tx.execute(select(sweeps.c.submission)).scalars()
        tx.execute(update(sweeps).values(submission={**stored, "spec": {**stored["spec"], "loss": value}}))

    assert http.get("/v1/sweeps").json()["items"] == [made]
    assert http.get(f"/v1/sweeps/{made['id']}").json()["spec"] == NEURON
    assert http.post(f"/v1/sweeps/{made['id']}/cancel").status_code == 202

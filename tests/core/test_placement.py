"""Fields of a job outside its spec: each role has the same ones."""

from dataclasses import fields

from costcurve.core.placement import (
    STORED_BY_NAME,
    Placed,
    PlacedAnswer,
    PlacedOut,
    Placement,
    PlacementFields,
    PlacementOverrides,
)
from costcurve.store.schema import jobs


def test_every_role_has_the_fields_of_a_placement():
    names = {*Placement.model_fields}

    assert names == {field.name for field in fields(Placed)}
    assert names == PlacementFields.__annotations__.keys() == PlacementOverrides.__annotations__.keys()
    for response in (PlacedOut, PlacedAnswer):
        assert {*response.model_fields} == {"id", *names}


def test_the_store_has_a_column_for_each_field_that_it_stores_by_name():
    assert {"priority", "max_runtime_seconds"} < {*STORED_BY_NAME} <= {*jobs.c.keys()}

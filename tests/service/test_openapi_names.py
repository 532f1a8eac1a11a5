"""Names in the OpenAPI document: generated clients have them as classes and functions."""

import re

from service.app import create_app


def test_schemas_and_operations_have_plain_names(store):
    document = create_app(store._database).openapi()
    operations = [each["operationId"] for path in document["paths"].values() for each in path.values()]

    assert [
        name for name in document["components"]["schemas"] if not re.fullmatch(r"[A-Za-z]+(-(Input|Output))?", name)
    ] == []
    assert [name for name in operations if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name) or "v1" in name] == []
    assert len(set(operations)) == len(operations)
    assert {"submit_job", "get_job", "list_jobs", "submit_sweep", "get_curve", "predict"} <= set(operations)

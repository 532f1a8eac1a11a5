"""The dashboard as Grafana will take it."""

from itertools import combinations

import yaml
from published import DASHBOARD, DOCUMENTED, GRAFANA, PANELS, metrics_in, queries


def test_every_panel_has_an_id_of_its_own_a_title_and_a_unit():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]

    assert len(set(ids)) == len(ids)
    assert all(panel["title"] and panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def test_panels_lie_in_the_grid_and_on_no_other():
    squares = {
        panel["id"]: {
            (x, y)
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        }
        for panel in DASHBOARD["panels"]
    }

    assert all(0 <= x < 24 for square in squares.values() for x, _ in square)
    assert [(one, two) for one, two in combinations(squares, 2) if squares[one] & squares[two]] == []


def test_every_panel_asks_the_data_source_that_is_provisioned():
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())
    [source] = provisioned["datasources"]
    [variable] = DASHBOARD["templating"]["list"]
    asked = [each["datasource"] for panel in PANELS for each in (panel, *panel["targets"])]

    assert variable["current"] == {"text": source["name"], "value": source["uid"]}
    assert all(each == {"type": source["type"], "uid": f"${{{variable['name']}}}"} for each in asked)


def test_queries_ask_for_documented_metrics_and_no_metric_is_left_out():
    asked = set().union(*(metrics_in(query) for _, query in queries()))

    assert asked == set(DOCUMENTED)

"""What is published: the documented metrics, and the queries of the alerts and of the dashboard."""

import json
import re

import yaml

from tests.conftest import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text()
DASHBOARD = json.loads((GRAFANA / "dashboards" / "costcurve.json").read_text())
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# Each row of the tables: name, type, labels.
DOCUMENTED = {
    name: (kind, frozenset(re.findall(r"`(\w+)`", labels)))
    for name, kind, labels in re.findall(
        r"^\| `(costcurve_\w+)` \| (counter|gauge|histogram) \| ([^|]*)\|", DOCUMENT, re.MULTILINE
    )
}


def queries() -> list[tuple[str, str]]:
    """Every query, as Prometheus takes it, with where it is from."""
    of_panels = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
    of_alerts = [(alert["alert"], alert["expr"]) for alert in ALERTS]
    return [(where, query.replace("$__rate_interval", "1m")) for where, query in of_panels + of_alerts]


def metrics_in(query: str) -> set[str]:
    """The documented names of the metrics that a query asks for."""
    names = set(re.findall(r"costcurve_\w+", re.sub(r'"[^"]*"', "", query)))
    return {name if name in DOCUMENTED else re.sub(r"_(bucket|count|sum)$", "", name) for name in names}

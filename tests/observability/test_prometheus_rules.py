"""Prometheus takes the configuration and the alerts, and each alert fires when it should and only then."""

import re
import subprocess
from pathlib import Path

import yaml
from published import ALERTS, DOCUMENT, PROMETHEUS


def promtool(tools: Path, *arguments: str) -> None:
    done = subprocess.run(
        [tools / "promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_configuration(prometheus_tools):
    promtool(prometheus_tools, "check", "config", "prometheus.yml")


def test_the_alerts_pass_their_tests(prometheus_tools):
    promtool(prometheus_tools, "check", "rules", "alerts.yml")
    promtool(prometheus_tools, "test", "rules", "alerts_test.yml")


def test_every_alert_is_tested_firing_and_quiet():
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    tested = {(check["alertname"], bool(check["exp_alerts"])) for case in cases for check in case["alert_rule_test"]}

    assert tested == {(alert["alert"], fires) for alert in ALERTS for fires in (True, False)}


def test_every_alert_says_what_it_is_how_bad_and_what_to_do():
    headings = {heading.lower() for heading in re.findall(r"^### (\w+)$", DOCUMENT, re.MULTILINE)}

    assert {alert["annotations"]["runbook"] for alert in ALERTS} == {f"docs/metrics.md#{name}" for name in headings}
    assert all(alert["annotations"]["summary"] for alert in ALERTS)
    assert {alert["labels"]["severity"] for alert in ALERTS} <= {"warning", "critical"}

"""The short form of every scenario, on each database in turn; `make chaos` runs each of them on both."""

import pytest

from tests.chaos.arena import arena
from tests.chaos.auditor import Auditor
from tests.chaos.scenarios import SCENARIOS

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

# Other tests run at the same time. What is told apart takes longer by more: leases, the rest of a training.
SLACK = 10.0
# What the scenarios before have learnt in this process.
AUDITOR = Auditor()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, scenario.databases[turn % len(scenario.databases)])
        for turn, (name, scenario) in enumerate(SCENARIOS.items())
    ],
)
def test_what_must_hold_holds_when_things_go_wrong(name, kind, mnist_dir):
    scenario = SCENARIOS[name]
    environment = {**scenario.environment, **scenario.in_short}
    with arena(
        kind,
        mnist_dir,
        seed=1,
        environment=environment,
        tight=scenario.tight,
        lossy=scenario.lossy,
        slack=SLACK,
        auditor=AUDITOR,
    ) as ground:
        ground.small = ground.small[::4]
        outcome = scenario.run(ground, count=scenario.short)

    assert outcome.problems == [], outcome.figures

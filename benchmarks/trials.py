"""Trials of a spec against itself: how often a verdict says that there is a difference.

Both cells of a trial have the same spec, under two names. With the same seeds all differences are 0. With other seeds
in the second cell they are those of chance. Both are trained for real, with the fastest engine, as a worker would.
"""

import argparse
from collections import Counter
from collections.abc import Callable

import record
import torch
from engines import load_images, mnist, reports

from costcurve.analysis.trial_verdict import Run, Verdict, accuracy_measure, verdict_of
from costcurve.core.errors import Diverged
from costcurve.core.spec import MnistSpec
from costcurve.core.trial_limits import REPEATS
from workers.engines import fused_cpu
from workers.training.network import ImageSets

SILENT = frozenset({"no_difference", "undecided"})
UPDATES = 300
# The second cell of a trial with other seeds counts from here.
OTHER_SEEDS = 1_000_000
# Networks whose results spread little, somewhat and widely from seed to seed.
SPECS = {
    "sound": {"init": "xavier", "learning_rate": 10.0},
    "slow": {"init": "normal", "learning_rate": 3.0},
    "loses digits": {"loss": "quadratic", "init": {"scheme": "normal", "output_bias": 3.0}, "learning_rate": 3.0},
    "learns on some seeds": {"loss": "quadratic", "init": {"scheme": "normal", "output_bias": 6.0}},
}


def main() -> None:
    """Train `--trials` trials of each kind, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=60, help="trials of each spec")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="seeds of each trial")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = load_images()
    rows, found_different, count = [], 0, 0
    for name, fields in SPECS.items():
        spec = mnist(epochs=1, steps_per_epoch=UPDATES, layers=[784, 15, 10], **fields)
        for seeds, shift in (("the same", 0), ("others", OTHER_SEEDS)):
            verdicts = [trial(images, spec, number, arguments.repeats, shift) for number in range(arguments.trials)]
            outcomes = Counter(verdict.outcome for verdict in verdicts)
            wrong = sum(found for outcome, found in outcomes.items() if outcome not in SILENT)
            if shift:
                found_different, count = found_different + wrong, count + len(verdicts)
            shown = ", ".join(f"{outcome} {found}" for outcome, found in sorted(outcomes.items()))
            rows.append([name, seeds, spread(verdicts), shown, f"{wrong / len(verdicts):.1%}"])
    text = [
        f"{arguments.trials} trials of each spec against itself, {arguments.repeats} seeds each; {UPDATES} updates of "
        "a [784, 15, 10] network.",
        f"With other seeds in the second cell {found_different} of {count} trials ({found_different / count:.1%}) say "
        "anything but `no_difference` or `undecided`.",
        "",
        *record.table(
            ["spec", "seeds of the second cell", "mean accuracies of the first cell", "outcomes", "found different"],
            rows,
        ),
    ]
    record.write("trials", "Verdicts on a spec against itself", text)


def trial(images: ImageSets, spec: MnistSpec, number: int, repeats: int, shift: int) -> Verdict:
    """Return the verdict of one trial; no seed is in two trials."""
    seeds = range(number * repeats, (number + 1) * repeats)
    run = runner(images, spec)
    return verdict_of([(run(seed), run(seed + shift)) for seed in seeds], accuracy_measure())


def runner(images: ImageSets, spec: MnistSpec) -> Callable[[int], Run]:
    """Return a function that trains the spec with a seed."""

    def run(seed: int) -> Run:
        try:
            trained = [*reports(spec.model_copy(update={"seed": seed}), images, fused_cpu.NAME)]
        except Diverged:
            return Run(None, has_diverged=True)
        return Run(trained[-1].curve.series["accuracy"][-1])

    return run


def spread(verdicts: list[Verdict]) -> str:
    """Return the lowest and the highest mean accuracy of the first cell."""
    means = [verdict.means[0] for verdict in verdicts if verdict.means is not None]
    return f"{min(means):.1%} … {max(means):.1%}"


if __name__ == "__main__":
    main()

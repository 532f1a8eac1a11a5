"""The slow start on MNIST, seed by seed.

It shows how long the quadratic loss learns nothing while cross-entropy learns: with the presets `mnist-slow-…`, and
with their predecessors, `mnist-biased-…`.
"""

import argparse

import record
import torch
from engines import load_images, reports

from costcurve.core.presets import PRESETS
from workers.engines import fused_cpu
from workers.training.network import ImageSets

# Correct test images of 10,000: under the one a network has learnt nothing, from the other on it has learnt.
STILL, LEARNT, LEARNT_WELL = 2_000, 8_800, 9_300


def main() -> None:
    """Train both losses from both bad starts for each seed.

    Write the record.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    images = load_images()
    text = ["Correct test images of 10,000."]
    for start in ("mnist-slow", "mnist-biased"):
        text += ["", *part(images, start, seeds)]
    record.write("slow_start", "The slow start on MNIST for each seed", text)


def part(images: ImageSets, start: str, seeds: int) -> list[str]:
    """Return the part of the record on one start."""
    rows, slow, fast, well = [], 0, 0, 0
    for seed in range(seeds):
        quadratic = correct(images, f"{start}-quadratic", seed, epochs=30)
        cross_entropy = correct(images, f"{start}-cross-entropy", seed, epochs=1)
        slow += quadratic[2] < STILL
        well += quadratic[-1] >= LEARNT_WELL
        fast += cross_entropy[0] > LEARNT
        left = next((epoch for epoch, count in enumerate(quadratic) if count >= STILL), None)
        shown = [*quadratic[:4], "never" if left is None else left, quadratic[-1], cross_entropy[0]]
        rows.append([str(seed), *map(str, shown)])
    header = ["seed", *(f"quadratic, epoch {epoch}" for epoch in range(4)), f"first epoch of {STILL:,}"]
    header += ["quadratic, at the end", "cross-entropy, epoch 0"]
    return [
        f"`{start}-quadratic` is still under {STILL:,} after its third epoch for {slow} of {seeds} seeds, and ends at "
        f"{LEARNT_WELL:,} or more for {well} of {seeds}. `{start}-cross-entropy` is over {LEARNT:,} after its first "
        f"epoch for {fast} of {seeds}.",
        "",
        *record.table(header, rows),
    ]


def correct(images: ImageSets, preset: str, seed: int, *, epochs: int) -> list[int]:
    """Return the number of correct test images after each epoch of a preset."""
    spec = PRESETS[preset].spec.model_copy(update={"seed": seed, "epochs": epochs})
    trained = reports(spec, images, fused_cpu.NAME)
    return [int(value) for report in trained for value in report.curve.series.get("correct", [])]


if __name__ == "__main__":
    main()

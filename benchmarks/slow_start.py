"""The slow start on MNIST, seed by seed.

It shows how long the quadratic loss learns nothing while cross-entropy learns.
"""

import argparse

import record
import torch
from engines import CPU, load_images, mnist

from workers.engines.autograd import train_mnist
from workers.training.network import ImageSets, initial_network, logits

WRONG = {"scheme": "normal", "output_bias": 10.0}


def main() -> None:
    """Train both losses from the same bad start for each seed.

    Write the record.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    images = load_images()
    rows, slow, fast = [], 0, 0
    for seed in range(seeds):
        quadratic = correct(images, loss="quadratic", init=WRONG, epochs=4, seed=seed)
        cross_entropy = correct(images, loss="cross_entropy", init=WRONG, epochs=1, seed=seed)
        z = logits(initial_network(mnist(init=WRONG, seed=seed), CPU), images.test.pixels)
        largest = z.max(dim=1).values.mean().item()
        slow += quadratic[2] < 2000
        fast += cross_entropy[0] > 8800
        rows.append([str(seed), f"{largest:.1f}", *(f"{value}" for value in quadratic), f"{cross_entropy[0]}"])
    header = ["seed", "mean of an image's largest z at the start"]
    header += [f"quadratic, epoch {epoch}" for epoch in range(4)] + ["cross-entropy, epoch 0"]
    text = [
        "Correct test images of 10,000, with `output_bias` 10 and otherwise default values.",
        f"Quadratic is still under 2,000 after its third epoch for {slow} of {seeds} seeds. "
        f"Cross-entropy is over 8,800 after its first epoch for {fast} of {seeds}.",
        "",
        *record.table(header, rows),
    ]
    record.write("slow_start", "The slow start on MNIST for each seed", text)


def correct(images: ImageSets, **fields: object) -> list[int]:
    """Return the number of correct test images after each epoch."""
    reports = train_mnist(mnist(**fields), images, device=CPU)
    return [int(value) for report in reports for value in report.curve.series.get("correct", [])]


if __name__ == "__main__":
    main()

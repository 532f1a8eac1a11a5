"""`python -m peers TASK.npz MODULE [OPTION…]`: one peer as a process that trains an epoch each time it is asked to.

It answers with JSON, a line each: first `{"ready": true}`, or `{"unavailable": "why"}` and no more; then, for each
number of epochs that it reads, `{"seconds": …, "accuracy": …}`: how long they took together, and the share of the test
images that the network then reads correctly.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter

from .task import Task, Training, Unavailable, accuracy


def main() -> None:
    """Serve until the input ends."""
    path, module, *options = sys.argv[1:]
    # What libraries print must not get between the answers.
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        task = Task.load(Path(path))
        try:
            training: Training = import_module(f".{module}", __package__).start(task, *options)
        except Unavailable as reason:
            print(json.dumps({"unavailable": str(reason)}), file=answers)
            return
        print(json.dumps({"ready": True}), file=answers)
        for line in sys.stdin:
            started = perf_counter()
            for _ in range(int(line)):
                training.train_epoch()
            seconds = perf_counter() - started
            reached = accuracy(training.layers(), task.test_pixels, task.test_labels)
            print(json.dumps({"seconds": seconds, "accuracy": reached}), file=answers)


if __name__ == "__main__":
    main()

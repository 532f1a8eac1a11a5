"""`python -m peers TASK.npz MODULE [OPTION…]`: one peer as a process that trains on request.

It reads one number of epochs per line and writes one line of JSON per response. The first line is `{"ready": true}`, or
`{"unavailable": "why"}`, after which it ends. Then each request gets `{"seconds": …, "accuracy": …}`: the seconds of
its epochs together, and the share of the test images that the network then classifies correctly.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter

from .task import Task, Training, Unavailable, accuracy


def main() -> None:
    """Serve requests until standard input ends."""
    path, module, *options = sys.argv[1:]
    # Output of the libraries must not mix with the responses.
    with os.fdopen(os.dup(1), "w", buffering=1) as responses:
        os.dup2(2, 1)
        task = Task.load(Path(path))
        try:
            training: Training = import_module(f".{module}", __package__).start(task, *options)
        except Unavailable as reason:
            print(json.dumps({"unavailable": str(reason)}), file=responses)
            return
        print(json.dumps({"ready": True}), file=responses)
        for line in sys.stdin:
            started = perf_counter()
            for _ in range(int(line)):
                training.train_epoch()
            seconds = perf_counter() - started
            reached = accuracy(training.layers(), task.test_pixels, task.test_labels)
            print(json.dumps({"seconds": seconds, "accuracy": reached}), file=responses)


if __name__ == "__main__":
    main()

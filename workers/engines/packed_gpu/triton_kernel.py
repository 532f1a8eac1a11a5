"""Packs of networks with one small hidden layer: one Triton program for each network.

A program makes many steps in one launch. It reads all weights of its network once, keeps them in registers while it
trains, and writes them back. W1 is 784 × 32 numbers of 4 bytes, 98 KiB of the 256 KiB of registers of a
multiprocessor. Each of the 8 · 32 threads may have 255 registers: 98 hold W1, and about 135 hold everything else that
lives through a step. Nothing spills into memory (tests/engines/test_packed_gpu.py compiles it for an H100). With 16
warps a thread has 128 registers, and they do spill. So a multiprocessor trains one network at a time, and its shared
memory holds only partial sums.

A product with W1 is a sum over 784 pixels of 32 columns, for one image after the other, in W1's layout: every thread
multiplies the weights that it holds, and passes on only sums. `tl.dot` would move W1 through shared memory in each
step, and spill. Block sizes must be powers of two, and 784 = 3 · 256 + 16.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from costcurve.core.spec import DIGITS, PIXELS
from workers.engines.packed_gpu.networks import Networks, padded
from workers.training.network import Images

# A wider network or a larger batch does not fit into registers.
MOST_HIDDEN = 32
MOST_BATCH = 16
OPTIONS = {"num_warps": 8, "enable_fp_fusion": True}

_PIXELS = tl.constexpr(PIXELS)
_DIGITS = tl.constexpr(DIGITS)
_MAIN = tl.constexpr(256)
_REST = tl.constexpr(16)


def fits(widths: Sequence[int], batch_size: int) -> bool:
    """Return True if the kernel can train networks of this shape and batch size."""
    return len(widths) == 3 and widths[1] <= MOST_HIDDEN and batch_size <= MOST_BATCH


class KernelTrainer:
    """Trainer for any number of networks of one shape and batch size that fit."""

    def __init__(self, widths: tuple[int, ...], batch_size: int, images: Images) -> None:
        self._images = images
        self._constants = constants(widths, batch_size)

    def train(self, networks: Networks, lanes: Sequence[int], batches: Sequence[Tensor]) -> Sequence[Tensor]:
        """Make one step of each lane's network for each row of its batches.

        A lane's batches are (steps, batch_size), int64 on the CPU. Lanes may take different numbers of steps. Return
        each lane's costs before the updates, (steps,) float64.
        """
        counts = torch.tensor([len(rows) for rows in batches])
        plan = torch.stack([torch.tensor(lanes), counts.cumsum(0) - counts, counts])
        # The program reads up to two image numbers ahead, also at the end of the last network's batches.
        numbers = torch.cat([*(rows.flatten() for rows in batches), counts.new_zeros(2)])
        # Two tensors, so that their alignment is always the same: a kernel is compiled for its arguments' alignment.
        plan, numbers = (given.to(torch.int32).to(self._images.pixels.device) for given in (plan, numbers))
        costs = torch.empty(int(counts.sum()), dtype=torch.float64, device=plan.device)
        # Triton launches on the current device.
        with torch.cuda.device_of(plan):  # type: ignore[no-untyped-call]
            train_networks[(len(lanes),)](
                plan,
                numbers,
                self._images.pixels,
                self._images.labels,
                networks.weights[0],
                networks.biases[0],
                networks.weights[1],
                networks.biases[1],
                costs,
                networks.factors,
                networks.scales,
                networks.quadratic,
                **self._constants,
                **OPTIONS,
            )
        return torch.split(costs, counts.tolist())


def constants(widths: Sequence[int], batch_size: int) -> dict[str, int]:
    """Return the constants that the kernel is compiled for."""
    units = widths[1]
    return {
        "BATCH": batch_size,
        "ROWS": MOST_BATCH,
        "UNITS": units,
        "HIDDEN": padded(units),
        "OUTPUTS": padded(DIGITS),
    }


@triton.jit
def train_networks(
    plan,  # (3, programs) int32: each program's lane, its first batch, and its number of batches
    batches,  # (steps of all programs, BATCH) int32: numbers of images
    pixels,  # (images, 784) float32
    labels,  # (images,) int64
    weights_1,  # of all lanes, laid out as in `Networks`
    biases_1,
    weights_2,
    biases_2,
    costs,  # (steps of all programs,) float64
    factors,  # this and the next two: one number for each lane
    scales,
    quadratic,
    BATCH: tl.constexpr,  # images of a batch
    ROWS: tl.constexpr,  # the same, rounded up to a block
    UNITS: tl.constexpr,  # of the hidden layer
    HIDDEN: tl.constexpr,  # the same, padded
    OUTPUTS: tl.constexpr,  # digits, padded
):
    """Train one network by SGD in each program.

    Names follow Nielsen's book: W, b, z, a, δ. The targets are y, one image is x.
    """
    program = tl.program_id(0)
    programs = tl.num_programs(0)
    lane = tl.load(plan + program).to(tl.int64)
    first = tl.load(plan + programs + program)
    batches += first * BATCH
    costs += first
    steps = tl.load(plan + 2 * programs + program)
    factor = tl.load(factors + lane)
    scale = tl.load(scales + lane) / BATCH
    is_quadratic = tl.load(quadratic + lane) == 1

    hidden = tl.arange(0, HIDDEN)
    outputs = tl.arange(0, OUTPUTS)
    rows = tl.arange(0, ROWS)
    main = weights_1 + lane * _PIXELS * HIDDEN + tl.arange(0, _MAIN)[:, None] * HIDDEN + hidden[None, :]
    rest = weights_1 + (lane * _PIXELS + 3 * _MAIN + tl.arange(0, _REST)[:, None]) * HIDDEN + hidden[None, :]
    second = weights_2 + (lane * HIDDEN + hidden[:, None]) * OUTPUTS + outputs[None, :]
    w1_0, w1_1, w1_2 = tl.load(main), tl.load(main + _MAIN * HIDDEN), tl.load(main + 2 * _MAIN * HIDDEN)
    w1_3 = tl.load(rest)
    b1 = tl.load(biases_1 + lane * HIDDEN + hidden)
    w2 = tl.load(second)
    b2 = tl.load(biases_2 + lane * OUTPUTS + outputs)
    is_real = (rows[:, None] < BATCH) & (outputs[None, :] < _DIGITS)

    # Reading an image takes as long as many multiplications, so the next one is read ahead.
    x_0, x_1, x_2, x_3 = _image(pixels, tl.load(batches))
    next_image = tl.load(batches + 1)
    for _ in range(steps):
        z1 = tl.zeros((ROWS, HIDDEN), tl.float32) + b1[None, :]
        for sample in range(BATCH):
            next_0, next_1, next_2, next_3 = _image(pixels, next_image)
            next_image = tl.load(batches + sample + 2)
            z = tl.sum(x_0[:, None] * w1_0 + x_1[:, None] * w1_1 + x_2[:, None] * w1_2, 0)
            z += tl.sum(x_3[:, None] * w1_3, 0)
            z1 += tl.where(rows[:, None] == sample, z[None, :], 0.0)
            x_0, x_1, x_2, x_3 = next_0, next_1, next_2, next_3

        a1 = tl.where(hidden[None, :] < UNITS, _sigmoid(z1), 0.0)
        z2 = tl.dot(a1, w2, input_precision="ieee") + b2[None, :]
        a2, rest2 = _sigmoid(z2), _sigmoid(-z2)
        images = tl.load(batches + rows, mask=rows < BATCH, other=0)
        y = tl.where(tl.load(labels + images)[:, None] == outputs[None, :], 1.0, 0.0)
        error = tl.where(y > 0, -rest2, a2)
        cost = tl.where(is_quadratic, 0.5 * error * error, _cross_entropy(tl.where(y > 0, -z2, z2)))
        tl.store(costs, tl.sum(tl.sum(tl.where(is_real, cost, 0.0), 1), 0).to(tl.float64) * scale)

        # δ here is −η ∂C/∂z. In the padding it and the activations are zero, so that the padding does not learn.
        delta_2 = tl.where(is_quadratic, error * (a2 * rest2), error) * factor
        delta_2 = tl.where(is_real, delta_2, 0.0)
        delta_1 = tl.dot(delta_2, tl.trans(w2), input_precision="ieee") * a1 * (1.0 - a1)
        w2 = tl.dot(tl.trans(a1), delta_2, w2, input_precision="ieee")
        b2 += tl.sum(delta_2, 0)
        b1 += tl.sum(delta_1, 0)
        for sample in range(BATCH):
            again_0, again_1, again_2, again_3 = _image(pixels, tl.load(batches + sample))
            delta = tl.sum(tl.where(rows[:, None] == sample, delta_1, 0.0), 0)
            w1_0 += again_0[:, None] * delta[None, :]
            w1_1 += again_1[:, None] * delta[None, :]
            w1_2 += again_2[:, None] * delta[None, :]
            w1_3 += again_3[:, None] * delta[None, :]
        batches += BATCH
        costs += 1

    tl.store(main, w1_0)
    tl.store(main + _MAIN * HIDDEN, w1_1)
    tl.store(main + 2 * _MAIN * HIDDEN, w1_2)
    tl.store(rest, w1_3)
    tl.store(biases_1 + lane * HIDDEN + hidden, b1)
    tl.store(second, w2)
    tl.store(biases_2 + lane * OUTPUTS + outputs, b2)


@triton.jit
def _image(pixels, number):
    """Return an image's pixels in four parts, split like W1."""
    first = pixels + number.to(tl.int64) * _PIXELS
    main, rest = tl.arange(0, _MAIN), tl.arange(0, _REST)
    return (
        tl.load(first + main),
        tl.load(first + _MAIN + main),
        tl.load(first + 2 * _MAIN + main),
        tl.load(first + 3 * _MAIN + rest),
    )


@triton.jit
def _sigmoid(z):
    """Return 1 / (1 + e^-z), without overflow at any z."""
    e = tl.exp(-tl.abs(z))
    return tl.where(z >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def _cross_entropy(z):
    """Return −ln(1 − σ(z)), the cost of an output whose target is 0.

    It is computed as max(z, 0) + ln(1 + e^-|z|), which is exact for large |z| too.
    """
    e = tl.exp(-tl.abs(z))
    u = 1.0 + e
    # ln(1 + e), by Kahan: the quotient corrects the rounding error of u.
    log1p = tl.where(u == 1.0, e, tl.log(u) * (e / tl.where(u == 1.0, 1.0, u - 1.0)))
    return tl.maximum(z, 0.0) + log1p

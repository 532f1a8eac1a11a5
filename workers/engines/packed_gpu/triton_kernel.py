"""Packs of networks with one small hidden layer: a Triton program for each, which makes many steps in one launch.

The program reads all weights of its network once, keeps them in registers while it trains, and writes them back. W1 is
784 × 32 numbers of 4 bytes, 98 KiB of the 256 KiB of registers of a multiprocessor. Of the 255 registers that each of
8 · 32 threads may have it takes 98, and all else that lives through a step some 135: nothing spills into memory
(tests/engines/test_packed_gpu.py compiles it for an H100). With 16 warps a thread has 128, and they do spill. So a
multiprocessor trains one network at a time, and its shared memory holds no more than partial sums.

A product with W1 is a sum over 784 pixels of 32 columns, for one image after the other, in the layout in which W1 lies:
every thread multiplies the weights that it has, and only sums are passed on. `tl.dot` would bring W1 through shared
memory in each step, and spill. Blocks must have powers of two as sizes, and 784 = 3 · 256 + 16.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from costcurve.core.spec import DIGITS, PIXELS
from workers.engines.packed_gpu.networks import Networks, padded
from workers.training.network import Images

# Of a wider network or a larger batch not all fits into registers.
MOST_HIDDEN = 32
MOST_BATCH = 16
OPTIONS = {"num_warps": 8, "enable_fp_fusion": True}

_PIXELS = tl.constexpr(PIXELS)
_DIGITS = tl.constexpr(DIGITS)
_MAIN = tl.constexpr(256)
_REST = tl.constexpr(16)


def fits(widths: Sequence[int], batch_size: int) -> bool:
    """Whether there is a kernel for this shape."""
    return len(widths) == 3 and widths[1] <= MOST_HIDDEN and batch_size <= MOST_BATCH


class KernelTrainer:
    """Trains networks of one shape that fits, and one batch size, any number of them."""

    def __init__(self, widths: tuple[int, ...], batch_size: int, images: Images) -> None:
        self._images = images
        self._constants = constants(widths, batch_size)

    def train(self, networks: Networks, lanes: Sequence[int], batches: Sequence[Tensor]) -> Sequence[Tensor]:
        """One step of the network of each lane for each row of its batches (steps, batch_size), int64 on the CPU.

        The lanes may take different numbers of steps. Returns the cost of each, before its update, (steps,) float64.
        """
        counts = torch.tensor([len(rows) for rows in batches])
        plan = torch.stack([torch.tensor(lanes), counts.cumsum(0) - counts, counts])
        # The program looks up to two images ahead, also at the end of the last network's batches.
        numbers = torch.cat([*(rows.flatten() for rows in batches), counts.new_zeros(2)])
        # Two tensors: a kernel is compiled for the alignment of what it is given, and that is so the same always.
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
    """What the kernel is compiled for."""
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
    plan,  # (3, programs) int32: each program's lane, where its batches begin, and how many it has
    batches,  # (steps of all programs, BATCH) int32: numbers of images
    pixels,  # (images, 784) float32
    labels,  # (images,) int64
    weights_1,  # of all lanes, as `Networks` has them
    biases_1,
    weights_2,
    biases_2,
    costs,  # (steps of all programs,) float64
    factors,  # this and all below: one number for each lane
    scales,
    quadratic,
    BATCH: tl.constexpr,  # images of a batch
    ROWS: tl.constexpr,  # the same, rounded up to a block
    UNITS: tl.constexpr,  # of the hidden layer
    HIDDEN: tl.constexpr,  # the same, padded
    OUTPUTS: tl.constexpr,  # digits, padded
):
    """SGD of one network for each program. Names: W, b, z, a, δ as in Nielsen's book, y the targets, x one image."""
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

    # Reading an image takes as long as many multiplications: the next is always on its way.
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

        # δ here is −η ∂C/∂z. It is zero in the padding, as are the activations there, so that nothing there learns.
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
    """The pixels of an image, in the parts in which W1 lies."""
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
    """1 / (1 + e^-z), without an overflow at any z."""
    e = tl.exp(-tl.abs(z))
    return tl.where(z >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def _cross_entropy(z):
    """−ln(1 − σ(z)), the cost where the target is 0: max(z, 0) + ln(1 + e^-|z|), exact for large |z| as well."""
    e = tl.exp(-tl.abs(z))
    u = 1.0 + e
    # ln(1 + e), by Kahan: the error of u is made up for.
    log1p = tl.where(u == 1.0, e, tl.log(u) * (e / tl.where(u == 1.0, 1.0, u - 1.0)))
    return tl.maximum(z, 0.0) + log1p

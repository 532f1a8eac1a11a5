"""The article's claims about one neuron: good start, slow start, cure."""

from costcurve.article.claims import Claim, Figure, Plot
from costcurve.article.evidence import Evidence, Run, Start
from costcurve.core.losses import Loss

# Updates after which the article's slow neuron has hardly moved: two thirds of its training.
_LONG = 200
# Findings of the service's diagnosis for a neuron that crawls (learns very slowly).
_CRAWLING = ("plateau", "output_saturated_quadratic")
# Slowdown factor of a unit 0.95 away from its target: the quadratic loss leaves it a twentieth of its error to learn
# from.
_SLOWDOWN = 20


def _good(evidence: Evidence) -> Run:
    return evidence.neuron(Start.GOOD, "quadratic")


def _slow(evidence: Evidence) -> Run:
    return evidence.neuron(Start.BAD, "quadratic")


def _cured(evidence: Evidence) -> Run:
    return evidence.neuron(Start.BAD, "cross_entropy")


def _crawling(run: Run) -> float:
    return sum(run.has(code) for code in _CRAWLING)


def _plot(name: str, title: str, *runs: tuple[Start, Loss]) -> Plot:
    return Plot(name, title, lambda evidence: [evidence.neuron(*run) for run in runs], "output,cost")


GOOD_START = Claim(
    "good-start",
    "From a good start a neuron learns at once",
    says="With the quadratic loss, a neuron that starts at weight 0.6 and bias 0.9 moves its output from 0.82 to 0.09 "
    "in 300 updates; the target is 0. It learns fast from the first update.",
    measured="One neuron, input 1, target 0, quadratic loss, learning rate 0.15, 300 updates, from (0.6, 0.9).",
    figures=(
        Figure("output_start", "output before the first update", lambda e: [_good(e).series("output")[0]]),
        Figure(
            "output_end",
            "output after the last update",
            lambda e: [_good(e).series("output")[-1]],
            at_most=0.1,
            why="within a tenth of the target: rounded to one digit, it is 0",
        ),
        Figure(
            "half_way",
            "updates until the error has halved",
            lambda e: [_good(e).half_way()],
            "updates",
            at_most=100,
            why="in the first third of its training; a neuron that crawls has hardly moved by then",
        ),
        Figure(
            "crawling",
            "findings of the diagnosis that report crawling",
            lambda e: [_crawling(_good(e))],
            at_most=0,
            why="the service itself looks for a plateau and for a saturated output",
        ),
    ),
    key="output_end",
    holds="The output goes from {output_start} to {output_end}. The error has halved after {half_way} updates. The "
    "diagnosis finds nothing that slows the neuron down.",
    fails="The output only goes from {output_start} to {output_end}. Updates until the error has halved: {half_way}.",
    plots=(_plot("good-start", "One neuron from (0.6, 0.9), quadratic loss", (Start.GOOD, "quadratic")),),
)

SLOW_START = Claim(
    "slow-start",
    "From a bad start it crawls, though it is more wrong",
    says="The same neuron with the same loss starts at (2, 2), with the output 0.98. It hardly learns during its first "
    "updates, because the gradient has the factor σ′(z), which is almost 0 there. It catches up only later.",
    measured="The same neuron from (2, 2): its curve, the slowdown factor 1/σ′(z), and the findings of the service's "
    "diagnosis.",
    figures=(
        Figure("output_start", "output before the first update", lambda e: [_slow(e).series("output")[0]]),
        Figure(
            "output_200",
            "output after 200 updates",
            lambda e: [_slow(e).series("output")[_LONG]],
            at_least=0.75,
            why="less than a quarter of the way in two thirds of the time",
        ),
        Figure("output_end", "output after the last update", lambda e: [_slow(e).series("output")[-1]]),
        Figure(
            "slowdown",
            "slowdown factor before the first update",
            lambda e: [_slow(e).series("slowdown_factor")[0]],
            "times",
            at_least=_SLOWDOWN,
            why="less than a twentieth of the error is left to learn from",
        ),
        Figure(
            "later",
            "updates until the error has halved, as a multiple of those from the good start",
            lambda e: [_slow(e).half_way() / _good(e).half_way()],
            "times",
            at_least=2,
            why="slower than the good start by more than the longer way (0.98 instead of 0.82) explains",
        ),
        Figure(
            "plateau",
            "the diagnosis finds a plateau",
            lambda e: [_slow(e).has("plateau")],
            "yes",
            at_least=1,
            why="the service itself looks for one",
        ),
        Figure("steepest", "update at which the cost falls most", lambda e: [_slow(e).steepest()], "updates"),
    ),
    key="output_200",
    holds="The output starts at {output_start} and is still {output_200} after 200 updates: at first the gradient is "
    "{slowdown} times smaller than the error. Until the error has halved, it takes {later} times as long as from the "
    "good start. The cost falls fastest only at update {steepest}.",
    fails="It does not crawl: the output is {output_200} after 200 updates, and the slowdown factor at the start is "
    "{slowdown}.",
    plots=(_plot("slow-start", "One neuron from (2, 2), quadratic loss", (Start.BAD, "quadratic")),),
)

CURE = Claim(
    "cure",
    "Cross-entropy takes the slowdown away",
    says="From the same bad start, a neuron with cross-entropy learns at once. Its gradient is the error itself, "
    "without the factor σ′(z): the larger the error, the faster it learns.",
    measured="One neuron from (2, 2) with cross-entropy, everything else as before.",
    figures=(
        Figure(
            "output_end",
            "output after the last update",
            lambda e: [_cured(e).series("output")[-1]],
            at_most=0.1,
            why="the same bound as for the good start",
        ),
        Figure("half_way", "updates until the error has halved", lambda e: [_cured(e).half_way()], "updates"),
        Figure(
            "sooner",
            "the same, as a share of the time that the good start needs",
            lambda e: [_cured(e).half_way() / _good(e).half_way()],
            at_most=1,
            why="the slowdown is gone only if the bad start takes no longer than the good one",
        ),
        Figure(
            "gradient",
            "first gradient, as a multiple of the quadratic loss's",
            lambda e: [abs(_cured(e).series("gradient")[0] / _slow(e).series("gradient")[0])],
            "times",
            at_least=_SLOWDOWN,
            why="the gain must be the factor by which the quadratic loss is slowed down",
        ),
        Figure(
            "steepest",
            "update at which the cost falls most",
            lambda e: [_cured(e).steepest()],
            "updates",
            at_most=5,
            why="the larger the error, the faster: the cost must fall most at the start",
        ),
        Figure(
            "plateau",
            "the diagnosis finds a plateau",
            lambda e: [_cured(e).has("plateau")],
            "yes",
            at_most=0,
            why="the service itself looks for one",
        ),
    ),
    key="half_way",
    holds="The error has halved after {half_way} updates, {sooner} of the time that the good start needs with the "
    "quadratic loss. The first gradient is {gradient} times as large. The output ends at {output_end}.",
    fails="The slowdown is still there. Updates until the error has halved: {half_way}. The output ends at "
    "{output_end}.",
    plots=(
        _plot(
            "cure",
            "One neuron from (2, 2): both losses",
            (Start.BAD, "quadratic"),
            (Start.BAD, "cross_entropy"),
        ),
    ),
)

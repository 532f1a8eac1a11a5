"""The article's claims about one neuron: good start, slow start, cure."""

from costcurve.article.claims import Claim, Figure, Plot
from costcurve.article.evidence import Evidence, Loss, Run, Start

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
    says="With the quadratic loss, a neuron that starts at weight 0.6 and bias 0.9 goes from the output 0.82 to 0.09, "
    "where 0 is wanted, in 300 updates, and fast from the first one on.",
    measured="One neuron, input 1, target 0, quadratic loss, learning rate 0.15, 300 updates, from (0.6, 0.9).",
    figures=(
        Figure("output_start", "output before the first update", lambda e: [_good(e).series("output")[0]]),
        Figure(
            "output_end",
            "output after the last update",
            lambda e: [_good(e).series("output")[-1]],
            at_most=0.1,
            why="a tenth from the target: read as 0 by whoever asks for one digit",
        ),
        Figure(
            "half_way",
            "update after which half of the way is made",
            lambda e: [_good(e).half_way()],
            "updates",
            at_most=100,
            why="in the first third of its training; a neuron that crawls has hardly begun by then",
        ),
        Figure(
            "crawling",
            "findings of the diagnosis that speak of crawling",
            lambda e: [_crawling(_good(e))],
            at_most=0,
            why="the service looks for a plateau and for a saturated output by itself",
        ),
    ),
    key="output_end",
    holds="It goes from {output_start} to {output_end}, has made half of the way after {half_way} updates, and the "
    "diagnosis finds nothing that holds it up.",
    fails="It only goes from {output_start} to {output_end}, and has made half of the way after {half_way} updates.",
    plots=(_plot("good-start", "One neuron from (0.6, 0.9), quadratic loss", (Start.GOOD, "quadratic")),),
)

SLOW_START = Claim(
    "slow-start",
    "From a bad start it crawls, though it is more wrong",
    says="The same neuron with the same loss, started at (2, 2) and so at the output 0.98, hardly learns anything for "
    "its first updates, since the gradient has the factor σ′(z), which is next to nothing there; only then it catches "
    "up.",
    measured="The same from (2, 2); beside the curve the slowdown factor 1/σ′(z), and what the service's diagnosis "
    "finds.",
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
            "how many times as long as from the good start half of the way takes",
            lambda e: [_slow(e).half_way() / _good(e).half_way()],
            "times",
            at_least=2,
            why="slower than the good start by more than its longer way (0.98 instead of 0.82) explains",
        ),
        Figure(
            "plateau",
            "the diagnosis finds a plateau",
            lambda e: [_slow(e).has("plateau")],
            "yes",
            at_least=1,
            why="the service looks for one by itself",
        ),
        Figure("steepest", "update at which the cost falls most", lambda e: [_slow(e).steepest()], "updates"),
    ),
    key="output_200",
    holds="It starts at {output_start} and is still at {output_200} after 200 updates: at first the gradient is "
    "{slowdown} times smaller than its error. Half of the way takes {later} times as long as from the good start, and "
    "the cost falls fastest only at update {steepest}.",
    fails="It does not crawl: after 200 updates it is at {output_200}, and the slowdown factor at the start is "
    "{slowdown}.",
    plots=(_plot("slow-start", "One neuron from (2, 2), quadratic loss", (Start.BAD, "quadratic")),),
)

CURE = Claim(
    "cure",
    "Cross-entropy takes the slowdown away",
    says="From the same bad start cross-entropy learns at once, since its gradient is the error itself, without the "
    "factor σ′(z): the more wrong, the faster.",
    measured="One neuron from (2, 2) with cross-entropy, everything else as before.",
    figures=(
        Figure(
            "output_end",
            "output after the last update",
            lambda e: [_cured(e).series("output")[-1]],
            at_most=0.1,
            why="what the good start came to",
        ),
        Figure("half_way", "update after which half of the way is made", lambda e: [_cured(e).half_way()], "updates"),
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
            why="the factor by which the quadratic loss crawls has to be what is won",
        ),
        Figure(
            "steepest",
            "update at which the cost falls most",
            lambda e: [_cured(e).steepest()],
            "updates",
            at_most=5,
            why="the more wrong, the faster: it has to be steepest at its start",
        ),
        Figure(
            "plateau",
            "the diagnosis finds a plateau",
            lambda e: [_cured(e).has("plateau")],
            "yes",
            at_most=0,
            why="the service looks for one by itself",
        ),
    ),
    key="half_way",
    holds="Half of the way is made after {half_way} updates, {sooner} of the time that the good start needs with the "
    "quadratic loss. The first gradient is {gradient} times as large, and the neuron ends at {output_end}.",
    fails="The slowdown is still there: half of the way takes {half_way} updates, and it ends at {output_end}.",
    plots=(
        _plot(
            "cure",
            "One neuron from (2, 2): both losses",
            (Start.BAD, "quadratic"),
            (Start.BAD, "cross_entropy"),
        ),
    ),
)

"""Responses about trials as typed objects."""

from costcurve.client.types import Answer


class Judgement(Answer):
    """Findings of the pairs of runs about one figure.

    `mean_difference` and `interval` are changed minus as it is, in the unit of `metric`. `means` are the two means, as
    it is first. They are None where too few runs can be compared.
    """

    outcome: str
    metric: str
    mean_difference: float | None = None
    interval: tuple[float, float] | None = None
    means: tuple[float, float] | None = None
    won_back: float | None = None
    attainable: float


class Verdict(Judgement):
    """Result of a trial that has ended, over `n` seeds.

    `outcome` is `cured`, `helped`, `no_difference`, `harmful` or `undecided`, and `statement` says it in words. The
    figures are those of the judgement that decides. `judgements` has all: the end of the trainings first, then how soon
    they learn, if that is judged. `level` is that of each interval.
    """

    level: float
    method: str
    n: int
    judgements: tuple[Judgement, ...] = ()
    statement: str


class EarlierTrial(Answer):
    """An earlier trial of a finding; `outcome` is None until it has ended."""

    sweep_id: str
    outcome: str | None = None


class FindingTrial(Answer):
    """The newest trial of a finding, and those before it; `verdict` is None until the newest has ended."""

    sweep_id: str
    verdict: Verdict | None = None
    earlier: tuple[EarlierTrial, ...] = ()


class TrialLink(Answer):
    """The job and the finding that a sweep tests.

    `looks` is the most looks at the verdict, and `look` the number of the current one, from 1.
    """

    job_id: str
    finding: str | None = None
    looks: int = 1
    look: int = 1

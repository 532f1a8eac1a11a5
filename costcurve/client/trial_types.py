"""Responses about trials as typed objects."""

from costcurve.client.types import Answer


class Verdict(Answer):
    """Result of a trial that has ended.

    `outcome` is `cured`, `helped`, `no_difference`, `harmful` or `undecided`, and `statement` says it in words.
    `mean_difference` and `interval` are changed minus as it is, in the unit of `metric`, over `n` seeds. `level` is
    that of the interval. `means` are the two means, as it is first. They are None where too few runs can be compared.
    """

    outcome: str
    metric: str
    mean_difference: float | None = None
    interval: tuple[float, float] | None = None
    level: float
    method: str
    n: int
    means: tuple[float, float] | None = None
    won_back: float | None = None
    attainable: float
    statement: str


class FindingTrial(Answer):
    """The newest trial of a finding; `verdict` is None until it has ended."""

    sweep_id: str
    verdict: Verdict | None = None


class TrialLink(Answer):
    """The job and the finding that a sweep tests.

    `looks` is the most looks at the verdict, and `look` the number of the current one, from 1.
    """

    job_id: str
    finding: str | None = None
    looks: int = 1
    look: int = 1

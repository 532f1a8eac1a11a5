"""The JSON of trials and their verdicts."""

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from costcurve.analysis.trial_statement import statement_of
from costcurve.analysis.trial_verdict import Method, Metric, Outcome, Verdict
from costcurve.store.trials import Trial


class JudgementOut(BaseModel):
    """Findings of the pairs of runs with the same seed about one figure."""

    model_config = ConfigDict(from_attributes=True)

    outcome: Outcome
    metric: Metric = Field(
        description="`final_accuracy`, and `mean_accuracy` over all epochs, higher is better; for neurons "
        "`target_distance`, |final_output − target|, and `mean_target_distance` over all updates, lower is better."
    )
    mean_difference: float | None = Field(
        description="Mean of changed minus as it is, in the unit of the metric; null if no pair can be compared."
    )
    interval: tuple[float, float] | None = Field(
        description="Confidence interval of the mean difference; null for one pair of random runs."
    )
    means: tuple[float, float] | None = Field(description="Mean of the runs as it is, and of the changed runs.")
    won_back: float | None = Field(
        description="Share of the loss that the change wins back, measured against `attainable`; null if nothing was "
        "lost."
    )
    attainable: float = Field(description="Value of the metric that a sound training is expected to reach.")


class VerdictOut(JudgementOut):
    """Result of a trial that has ended: the judgement of the figure that decides, and all judgements."""

    level: float = Field(
        description="Level of each interval: 0.95, or more if two figures or several looks share the error."
    )
    method: Method = Field(description="`t`: Student's t; `exact`: no number depends on the seed.")
    n: int = Field(description="Number of pairs.")
    diverged: tuple[int, int] = Field(
        description="Runs that diverged, as it is and changed. They count as chance, or as the largest distance."
    )
    left_out: int = Field(description="Seeds without two comparable runs.")
    judgements: list[JudgementOut] = Field(
        description="The figure at the end, and its mean over the training if that is judged, too: how soon it learns."
    )
    statement: str = Field(description="The verdict in words.")

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        deciding, *judgements = (JudgementOut.model_validate(each) for each in (verdict.deciding, *verdict.judgements))
        return cls(
            **deciding.model_dump(),
            level=verdict.level,
            method=verdict.method,
            n=verdict.n,
            diverged=verdict.diverged,
            left_out=verdict.left_out,
            judgements=judgements,
            statement=statement_of(verdict),
        )


class EarlierTrialOut(BaseModel):
    """An earlier trial of a finding."""

    sweep_id: str
    outcome: Outcome | None = Field(description="Null until all jobs of the trial have ended.")


class FindingTrialOut(BaseModel):
    """The newest trial of a finding, and what came out of those before it."""

    sweep_id: str
    verdict: VerdictOut | None = Field(description="Null until all jobs of the trial have ended.")
    earlier: list[EarlierTrialOut] = Field(
        description="The trials of this finding before the newest, the oldest first. Each may have tested another "
        "change, or other seeds."
    )

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> Self:
        """Return the response for the trials of one finding, at least one, the oldest first."""
        *earlier, newest = trials
        return cls(
            sweep_id=newest.sweep_id,
            verdict=None if newest.verdict is None else VerdictOut.of(newest.verdict),
            earlier=[
                EarlierTrialOut(
                    sweep_id=trial.sweep_id, outcome=None if trial.verdict is None else trial.verdict.outcome
                )
                for trial in earlier
            ],
        )

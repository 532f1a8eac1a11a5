"""The JSON of trials and their verdicts."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from costcurve.analysis.trial_statement import statement_of
from costcurve.analysis.trial_verdict import Method, Metric, Outcome, Verdict
from costcurve.store.trials import Trial


class VerdictOut(BaseModel):
    """Result of a trial that has ended, from its pairs of runs with the same seed."""

    model_config = ConfigDict(from_attributes=True)

    outcome: Outcome
    metric: Metric = Field(
        description="`final_accuracy`, higher is better; for neurons `target_distance`, |final_output − target|, lower "
        "is better."
    )
    mean_difference: float | None = Field(
        description="Mean of changed minus as it is, in the unit of the metric; null if no pair can be compared."
    )
    interval: tuple[float, float] | None = Field(
        description="Confidence interval of the mean difference; null for one pair of random runs."
    )
    level: float = Field(description="Level of the interval: 0.95, or more if several looks share the error.")
    method: Method = Field(description="`t`: Student's t; `exact`: no number depends on the seed.")
    n: int = Field(description="Number of pairs.")
    means: tuple[float, float] | None = Field(description="Mean of the runs as it is, and of the changed runs.")
    won_back: float | None = Field(
        description="Share of the loss that the change wins back, measured against `attainable`; null if nothing was "
        "lost."
    )
    attainable: float = Field(description="Value of the metric that a sound training is taken to reach.")
    diverged: tuple[int, int] = Field(
        description="Runs that diverged, as it is and changed. They count as chance, or as the largest distance."
    )
    left_out: int = Field(description="Seeds without two comparable runs.")
    statement: str = Field(description="The verdict in words.")

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        figures = {name: getattr(verdict, name) for name in cls.model_fields if name != "statement"}
        return cls(**figures, statement=statement_of(verdict))


class FindingTrialOut(BaseModel):
    """The newest trial of a finding."""

    sweep_id: str
    verdict: VerdictOut | None = Field(description="Null until all jobs of the trial have ended.")

    @classmethod
    def of(cls, trial: Trial) -> Self:
        return cls(sweep_id=trial.sweep_id, verdict=None if trial.verdict is None else VerdictOut.of(trial.verdict))

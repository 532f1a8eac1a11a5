"""The page: claims with verdicts, figures and pictures in one self-contained file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template
from typing import Any

from costcurve.article.claims import Judgement, Measured, Verdict
from costcurve.article.evidence import start_of
from costcurve.article.svg import inlined
from costcurve.client.types import Job

_SIGNS = {Verdict.HOLDS: "✓", Verdict.IN_PART: "≈", Verdict.FAILS: "✗"}
_CLASSES = {Verdict.HOLDS: "holds", Verdict.IN_PART: "in-part", Verdict.FAILS: "fails"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot drawn by the service, and the ids of its jobs."""

    name: str
    title: str
    jobs: Sequence[str]
    svg: bytes


def page(judgements: Sequence[Judgement], pictures: Sequence[Picture], jobs: Sequence[Job], *, version: str) -> str:
    """Return the page with all claims, pictures and jobs as HTML."""
    by_name = {picture.name: picture for picture in pictures}
    template = Template(resources.files("costcurve.article").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        summary="".join(map(_summary_row, judgements)),
        claims="".join(_claim(number, each, by_name) for number, each in enumerate(judgements, 1)),
        jobs="".join(map(_job_row, jobs)),
        counts=escape(_counts(judgements)),
        training=escape(_training(jobs)),
        version=escape(version),
    )


def document(
    judgements: Sequence[Judgement], pictures: Sequence[Picture], jobs: Sequence[Job], *, version: str
) -> dict[str, Any]:
    """Return the page's content as plain values for JSON.

    In place of pictures it has the ids of the jobs in each.
    """
    shown = {picture.name: picture.jobs for picture in pictures}
    return {
        "version": version,
        "claims": [each.document(shown) for each in judgements],
        "jobs": [
            {
                "id": job.id,
                "start": start_of(job.spec).value,
                "spec": job.spec,
                "engine": job.engine,
                "result": job.result,
            }
            for job in jobs
        ],
    }


def _counts(judgements: Sequence[Judgement]) -> str:
    counted = {verdict: sum(each.verdict is verdict for each in judgements) for verdict in Verdict}
    parts = [f"{verdict.value}: {count}" for verdict, count in counted.items() if count]
    return f"Of {len(judgements)} claims — {'; '.join(parts)}."


def _training(jobs: Sequence[Job]) -> str:
    seeds = sorted({job.spec["seed"] for job in jobs if job.spec["experiment"] == "mnist"})
    engines = sorted({f"{job.engine} on {job.device}" for job in jobs})
    word = "seed" if len(seeds) == 1 else "seeds"
    return f"{len(jobs)} trainings; MNIST with the {word} {', '.join(map(str, seeds))}; trained by {', '.join(engines)}"


def _summary_row(judgement: Judgement) -> str:
    claim = judgement.claim
    return (
        f'<tr><td><a href="#{claim.name}">{escape(claim.title)}</a></td><td>{_badge(judgement.verdict)}</td>'
        f"<td>{escape(judgement.key_figure)}</td></tr>\n"
    )


def _badge(verdict: Verdict) -> str:
    return f'<span class="verdict {_CLASSES[verdict]}">{_SIGNS[verdict]} {verdict.value}</span>'


def _claim(number: int, judgement: Judgement, pictures: Mapping[str, Picture]) -> str:
    claim = judgement.claim
    others = [each for each in judgement.measured if not each.figure.is_criterion]
    return (
        f'<section id="{claim.name}">\n<h2>{number}. {escape(claim.title)} {_badge(judgement.verdict)}</h2>\n'
        f'<p class="sentence">{escape(judgement.sentence)}</p>\n'
        f"<dl><dt>The article says</dt><dd>{escape(claim.says)}</dd>"
        f"<dt>Measured</dt><dd>{escape(claim.measured)}</dd></dl>\n"
        f"{_criteria(judgement.criteria)}{_figures(others)}"
        f"{''.join(_figure(pictures[plot.name]) for plot in claim.plots)}</section>\n"
    )


def _criteria(criteria: Sequence[Measured]) -> str:
    rows = "".join(
        f"<tr><td>{escape(each.figure.label)}<small>{escape(each.figure.why)}</small></td>"
        f"<td>{escape(each.figure.bound)}</td><td>{_values(each)}</td><td>{_met(each)}</td></tr>\n"
        for each in criteria
    )
    return _table("criteria", ("Criterion", "required", "measured", "met"), rows)


def _figures(figures: Sequence[Measured]) -> str:
    rows = "".join(f"<tr><td>{escape(each.figure.label)}</td><td>{_values(each)}</td></tr>\n" for each in figures)
    return _table("figures", ("Other figure", "measured"), rows) if rows else ""


def _table(kind: str, headings: Sequence[str], rows: str) -> str:
    cells = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    head = f"<thead><tr>{cells}</tr></thead>"
    return f'<div class="wide"><table class="{kind}">{head}<tbody>\n{rows}</tbody></table></div>\n'


def _values(measured: Measured) -> str:
    spread = f"<small>{escape(measured.spread)}</small>" if measured.spread else ""
    return f"{escape(measured.text)}{spread}"


def _met(measured: Measured) -> str:
    count = len(measured.values)
    if measured.met == count:
        return "✓ yes"
    return f"✗ in {measured.met} of {count}" if measured.met else "✗ no"


def _figure(picture: Picture) -> str:
    svg = inlined(picture.svg, name=picture.name, label=picture.title)
    return f"<figure>{svg}<figcaption>{escape(picture.title)}</figcaption></figure>\n"


def _job_row(job: Job) -> str:
    result = job.result or {}
    outcome = f"best {result['best_correct']}" if "best_correct" in result else f"output {result['final_output']:.4g}"
    rate, took = f"{job.spec['effective_learning_rate']:.3g}", f"{result['train_seconds']:.2g} s"
    losses = " → ".join([job.spec["loss"], *(change["loss"] for change in job.spec.get("schedule") or ())])
    cells = (job.id, start_of(job.spec).value, losses, rate, str(job.spec["seed"]), took, outcome)
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"

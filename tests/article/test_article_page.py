"""The article's page: complete, well-formed, and in need of nothing else."""

import re
from collections import Counter

import pytest

from costcurve.article.claims import Verdict
from costcurve.article.contents import CLAIMS
from costcurve.article.evidence import Start
from costcurve.article.page import Picture, page
from costcurve.article.svg import inlined
from tests.article.article_evidence import as_the_article_says, with_series
from tests.helpers.pages import Parsed, needs_nothing_else

SVG = b"""<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="460pt" height="345pt" viewBox="0 0 460 345"
     xmlns="http://www.w3.org/2000/svg" version="1.1">
 <metadata><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></metadata>
 <defs><path id="m1" d="M 0 3"/><clipPath id="p1"><rect/></clipPath></defs>
 <g id="figure_1" clip-path="url(#p1)" style="clip-path: url(#p1); fill: #ffffff"><use xlink:href="#m1" x="3"/></g>
</svg>"""


@pytest.fixture(scope="module")
def evidence():
    return with_series(as_the_article_says(), Start.ORDINARY, "quadratic", [1], correct=[9000, 9100])


@pytest.fixture(scope="module")
def judgements(evidence):
    return [claim.judge(evidence) for claim in CLAIMS]


@pytest.fixture(scope="module")
def html(evidence, judgements):
    pictures = [
        Picture(plot.name, plot.title, [run.job.id for run in plot.runs(evidence)], SVG)
        for claim in CLAIMS
        for plot in claim.plots
    ]
    return page(judgements, pictures, [run.job for run in evidence.runs], version="0.1.0 <b>")


def test_every_claim_is_there_with_its_verdict_its_figures_and_its_pictures(html, judgements):
    for judgement in judgements:
        section = re.search(rf'<section id="{judgement.claim.name}">.*?</section>', html, re.DOTALL)[0]
        assert judgement.verdict.value in section
        for each in judgement.measured:
            assert each.text in section
            assert each.figure.bound in section
        assert section.count("<svg") == len(judgement.claim.plots)
        assert f'href="#{judgement.claim.name}"' in html
    counts = Counter(judgement.verdict for judgement in judgements)
    assert counts[Verdict.IN_PART] >= 1
    assert f"Of {len(CLAIMS)} claims — holds: {counts[Verdict.HOLDS]}; holds in part: {counts[Verdict.IN_PART]}" in html


def test_the_page_is_well_formed_and_no_id_is_there_twice(html):
    ids = Parsed(html).values("id")

    assert len(ids) > len(CLAIMS)
    assert [name for name, count in Counter(ids).items() if count > 1] == []


def test_the_page_needs_nothing_else(html):
    assert needs_nothing_else(html)
    assert not needs_nothing_else('<img src="https://example.org/x.png">')
    assert not needs_nothing_else('<script>alert("x")</script>')


def test_what_others_wrote_is_text(html):
    assert "0.1.0 &lt;b&gt;" in html


def test_all_trainings_are_listed(html, evidence):
    assert html.count("</tr>") > len(evidence.runs)
    assert f"{len(evidence.runs)} trainings; MNIST with the seeds 0, 1, 2; trained by autograd on cpu" in html


def test_a_picture_in_a_page_has_ids_of_its_own_and_the_page_s_width():
    drawn = inlined(SVG, name="cure", label='both "losses"')

    assert drawn.startswith("<svg")
    assert set(re.findall(r'id="([^"]+)"', drawn)) == {"cure-m1", "cure-p1", "cure-figure_1"}
    assert 'xlink:href="#cure-m1"' in drawn
    assert drawn.count("url(#cure-p1)") == 2
    assert "fill: #ffffff" in drawn
    assert "metadata" not in drawn
    assert ' width="460pt"' not in drawn
    assert 'viewBox="0 0 460 345"' in drawn
    assert 'aria-label="both &quot;losses&quot;"' in drawn

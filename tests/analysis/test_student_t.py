"""The quantiles of Student's t, against published tables and exact arithmetic."""

from math import pi, sqrt, tan

import mpmath
import pytest

from costcurve.analysis.student_t import two_sided_quantile


@pytest.mark.parametrize(
    ("level", "degrees", "quantile"),
    # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
    [
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.95, 3, 3.182),
        (0.95, 4, 2.776),
        (0.95, 9, 2.262),
        (0.95, 10, 2.228),
        (0.95, 30, 2.042),
        (0.95, 100, 1.984),
        (0.99, 4, 4.604),
        (0.99, 19, 2.861),
        (0.80, 5, 1.476),
    ],
)
def test_quantiles_are_those_of_the_tables(level, degrees, quantile):
    assert two_sided_quantile(level, degrees) == pytest.approx(quantile, abs=5e-4)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.9875, 0.999])
def test_one_and_two_degrees_of_freedom_have_closed_forms(level):
    assert two_sided_quantile(level, 1) == pytest.approx(tan(pi / 2 * level), rel=1e-12)
    assert two_sided_quantile(level, 2) == pytest.approx(level * sqrt(2 / (1 - level**2)), rel=1e-12)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 8, 39, 40, 999])
@pytest.mark.parametrize("level", [0.95, 0.9875])
def test_the_distribution_holds_the_level_between_the_quantiles(level, degrees):
    t = two_sided_quantile(level, degrees)
    # P(|T| > t) is the regularized incomplete beta function I_x(ν/2, 1/2) at x = ν / (ν + t²).
    beyond = mpmath.betainc(degrees / 2, 0.5, 0, degrees / (degrees + t**2), regularized=True)

    assert float(beyond) == pytest.approx(1 - level, rel=1e-9)


@pytest.mark.parametrize(("level", "degrees"), [(0.0, 1), (1.0, 1), (0.95, 0)])
def test_what_has_no_quantile_is_refused(level, degrees):
    with pytest.raises(ValueError, match="level"):
        two_sided_quantile(level, degrees)

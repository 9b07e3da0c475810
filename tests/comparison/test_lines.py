"""Equations of lines."""

# The public face shows sentences among others; counts and signs are easier to see alone.
from counterground.comparison._tables import equation
from counterground.metrics import fit_line


def test_a_sign_is_written_once():
    falling = equation(fit_line([0.5, 0.6, 0.7, 0.8], [0.52, 0.5, 0.48, 0.47]))
    assert "+ (−0." in falling
    assert "] × probit(common)" not in falling
    assert "]) × probit(common)" in falling
    flat = equation(fit_line([0.5, 0.6, 0.7, 0.8], [0.5, 0.5, 0.5, 0.5 - 1e-6], scale="logit"))
    assert "−0.000" not in flat
    assert "+ 0.000 [" in flat

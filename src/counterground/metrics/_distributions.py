"""Quantiles and probabilities of the normal, the logistic and Student's distribution.

SciPy takes half a second to load, so it is loaded on first use: reading a benchmark does not need it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Floats


def normal_cdf(value: npt.ArrayLike) -> Floats:
    """Return the probability that a standard normal variable is at most ``value``."""
    from scipy.special import ndtr

    return np.asarray(ndtr(value), dtype=np.float64)


def normal_quantile(probability: npt.ArrayLike) -> Floats:
    """Return the standard normal quantile (probit) of a probability."""
    from scipy.special import ndtri

    return np.asarray(ndtri(probability), dtype=np.float64)


def logistic_cdf(value: npt.ArrayLike) -> Floats:
    """Return the inverse of the logit."""
    from scipy.special import expit

    return np.asarray(expit(value), dtype=np.float64)


def logistic_quantile(probability: npt.ArrayLike) -> Floats:
    """Return the logit of a probability."""
    from scipy.special import logit

    return np.asarray(logit(probability), dtype=np.float64)


def t_cdf(degrees: npt.ArrayLike, value: npt.ArrayLike) -> Floats:
    """Return the probability that Student's t with ``degrees`` of freedom is at most ``value``."""
    from scipy.special import stdtr

    return np.asarray(stdtr(degrees, value), dtype=np.float64)


def t_quantile(degrees: npt.ArrayLike, probability: npt.ArrayLike) -> Floats:
    """Return the quantile of Student's t with ``degrees`` of freedom."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(degrees, probability), dtype=np.float64)


def noncentral_t_sf(degrees: float, shift: float, value: float) -> float:
    """Return the probability that a noncentral t variable (noncentrality ``shift``) is above ``value``."""
    from scipy.special import nctdtr

    found = 1 - float(nctdtr(degrees, shift, value))
    # Far from 0 the series fails, and the variable is nearly normal with the scatter of the error.
    if not np.isfinite(found) or abs(shift) > 30:
        spread = np.sqrt(1 + value**2 / (2 * degrees))
        return float(normal_cdf((shift - value) / spread))
    return found

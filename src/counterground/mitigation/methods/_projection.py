"""Matrices that remove directions from rows, and double others."""

from __future__ import annotations

import numpy as np


def basis(directions: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis ``[d, r]`` of the span of the rows ``[m, d]``; r is its dimension."""
    from scipy.linalg import orth

    return np.asarray(orth(np.asarray(directions, dtype=np.float64).T, rcond=1e-6))


def rejection(directions: np.ndarray) -> np.ndarray:
    """Return the projection ``[d, d]`` onto what is orthogonal to all rows ``[m, d]``; it is symmetric."""
    q = basis(directions)
    return np.asarray(np.eye(len(q)) - q @ q.T)


def increase(directions: np.ndarray) -> np.ndarray:
    """Return the matrix ``[d, d]`` that doubles the part in the span of the rows ``[m, d]``."""
    q = basis(directions)
    return np.asarray(np.eye(len(q)) + q @ q.T)

"""A mitigation: the model's own head after the mean of each background is subtracted from the features."""

from __future__ import annotations

import numpy as np

from counterground.mitigation import FitData, MitigatedHead, Mitigation


def _fit(data: FitData, *, strength: float) -> MitigatedHead:
    """Subtract ``strength`` times the mean of the photos on the nearest background."""
    labels = np.array(data.background, dtype=str)
    means = np.stack([data.features[labels == name].mean(axis=0) for name in data.background_names])
    away = strength * (means - means.mean(axis=0))

    def centre(features: np.ndarray) -> np.ndarray:
        nearest = (features @ means.T - (means**2).sum(axis=1) / 2).argmax(axis=1)
        return features - away[nearest]

    return MitigatedHead(weight=data.scale * data.head, feature_hook=centre)


CENTRED = Mitigation(
    name="centred",
    title="means of backgrounds subtracted",
    source="an example",
    fit=_fit,
    group_labels="fit",
    needs=frozenset({"backgrounds"}),
    settings={"strength": (0.5, 1.0)},
)

"""Features of the parts of a photo, if there are masks: of the object alone, of the background alone."""

from __future__ import annotations

import numpy as np

from counterground.mitigation._method import FitData, Input, MitigatedHead, Mitigation


def background_subtraction(data: FitData, *, alpha: float) -> MitigatedHead:
    """Subtract ``alpha`` times the features of the photo with its object removed.

    The head is linear, so this subtracts ``alpha`` times the scores that the background alone gets. The
    method is ours; Peng et al. 2025, "Representation-level counterfactual calibration for debiased zero-shot
    recognition" (arXiv 2510.26466), also subtract such scores, estimated from embeddings; ours are measured.
    """
    return _read(data, {"photo": 1.0, "background": -alpha})


def foreground(data: FitData, *, share: float) -> MitigatedHead:
    """Read ``share`` of the features from the object alone, masked or cropped, and the rest from the photo.

    With share 1 this is the "Only-FG" input of Xiao et al. 2021, "Noise or signal: the role of image
    backgrounds in object recognition".
    """
    return _read(data, {"photo": 1.0 - share, "foreground": share} if share < 1 else {"foreground": 1.0})


def _read(data: FitData, inputs: dict[Input, float]) -> MitigatedHead:
    return MitigatedHead(weight=(data.scale * data.head).astype(np.float32), inputs=inputs)


BACKGROUND_SUBTRACTION = Mitigation(
    name="background-subtraction",
    title="features of the background alone subtracted from each photo's",
    source="ours, close to Peng et al. 2025 (arXiv 2510.26466)",
    fit=background_subtraction,
    group_labels="choose",
    needs=frozenset({"masks"}),
    settings={"alpha": (0.25, 0.5, 0.75, 1.0)},
)
FOREGROUND = Mitigation(
    name="foreground",
    title="features of the object alone, masked or cropped",
    source="Xiao et al. 2021, Only-FG",
    fit=foreground,
    group_labels="choose",
    needs=frozenset({"masks"}),
    settings={"share": (0.5, 1.0)},
)

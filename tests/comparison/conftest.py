"""Runs of the paper's size, and a small one on another benchmark."""

import numpy as np
import pytest
from paper_sized import OPEN_CLIP_REFEREE, make_paper_run, printed_accuracies


@pytest.fixture(scope="session")
def make_run():
    """Function: (accuracies by spec, **what is to differ) -> Run."""
    return make_paper_run


@pytest.fixture(scope="session")
def referee_run(make_run):
    """The paper's referee, right on as many photos of each class and group as Table 15 prints."""
    return make_run({OPEN_CLIP_REFEREE: printed_accuracies("CLIP-LAION400M-ViT/B/32")}, path="runs/referee")


@pytest.fixture(scope="session")
def small_run(make_run):
    """Three ImageNet models and a CLIP on another benchmark of 6 classes."""
    levels = {
        "efficientnet-lite0": (0.7, 0.55),
        "efficientnet-lite1": (0.8, 0.65),
        "efficientnet-lite2": (0.85, 0.75),
        "open_clip:ViT-B-32/laion2b_s34b_b79k": (0.8, 0.4),
    }
    sizes = np.full((6, 2), 40)
    return make_run(levels, sizes=sizes, name="stamps", path="runs/small")

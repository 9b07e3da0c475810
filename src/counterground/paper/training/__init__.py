"""Training: one loop, and the recipes of the small CLIPs."""

from counterground.paper.training._loop import DivergedError, Schedule, train
from counterground.paper.training._stamps import (
    LARGEST_LOGIT_SCALE,
    RECIPES,
    Draw,
    Planting,
    StampsPlan,
    plan_stamps,
    planted_labels,
    planting_of,
    random_place,
    train_stamps,
)

__all__ = [
    "LARGEST_LOGIT_SCALE",
    "RECIPES",
    "DivergedError",
    "Draw",
    "Planting",
    "Schedule",
    "StampsPlan",
    "plan_stamps",
    "planted_labels",
    "planting_of",
    "random_place",
    "train",
    "train_stamps",
]

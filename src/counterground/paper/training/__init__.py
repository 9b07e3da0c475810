"""Training: one loop, and the recipes of the small CLIPs."""

from counterground.paper.training._loop import DivergedError, Schedule, train
from counterground.paper.training._planted_accuracy import (
    HeldOutPhotos,
    PlantedAccuracy,
    class_head,
    encode_photos,
    held_out_photos,
    planted_accuracy,
)
from counterground.paper.training._planting import Draw, Planting, planted_labels
from counterground.paper.training._stamps import RECIPES, StampsPlan, plan_stamps, planting_of, train_stamps

__all__ = [
    "RECIPES",
    "DivergedError",
    "Draw",
    "HeldOutPhotos",
    "PlantedAccuracy",
    "Planting",
    "Schedule",
    "StampsPlan",
    "class_head",
    "encode_photos",
    "held_out_photos",
    "plan_stamps",
    "planted_accuracy",
    "planted_labels",
    "planting_of",
    "train",
    "train_stamps",
]

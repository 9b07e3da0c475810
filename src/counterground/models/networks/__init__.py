"""Encoders made from PyTorch networks: of images, of both images and texts, and of texts that begin alike."""

from counterground.models.networks._network import (
    TOKENS,
    NetworkEncoder,
    TextEncoder,
    TorchDualEncoder,
    checked_scale,
    image_tower,
    texts_are_cut,
    unit_length,
)
from counterground.models.networks._token_tree import Block, CausalTower, TreeEncoder

__all__ = [
    "TOKENS",
    "Block",
    "CausalTower",
    "NetworkEncoder",
    "TextEncoder",
    "TorchDualEncoder",
    "TreeEncoder",
    "checked_scale",
    "image_tower",
    "texts_are_cut",
    "unit_length",
]

"""Encoders made from PyTorch networks: of images, of both images and texts, and of texts that begin alike."""

from counterground.models.networks._network import (
    TOKENS,
    NetworkEncoder,
    TextEncoder,
    TorchDualEncoder,
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
    "unit_length",
]

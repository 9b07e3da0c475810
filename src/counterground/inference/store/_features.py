"""Features of a benchmark's photos, read from the store in chunks: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from counterground.inference.store._store import ReadStatus


@dataclass(frozen=True)
class Features(ReadStatus):
    """Features of ``n`` photos in manifest order, and which of them could be read.

    Attributes:
        dim: how many features each photo has.
        block_size: contents in each block but the last.
        read_block: returns the features ``[block_size, dim]`` of a block, by its number.
        places: ``[n]``, where each photo lies among the contents of all blocks.
    """

    dim: int
    block_size: int
    read_block: Callable[[int], np.ndarray]
    places: np.ndarray

    @property
    def status(self) -> ReadStatus:
        """Which photos could be read; it does not keep the model in memory."""
        return ReadStatus(self.readable, self.converted, self.reasons)

    @property
    def matrix(self) -> np.ndarray:
        """All features in memory: ``[n, dim]`` float32, zero rows for unreadable photos."""
        return self.rows(np.arange(len(self.places)))

    def rows(self, index: np.ndarray) -> np.ndarray:
        """Return the features ``[m, dim]`` of these rows of the manifest.

        Raises:
            CounterGroundError: a block was lost since, and its photos cannot be encoded again.
        """
        places = self.places[index]
        blocks = places // self.block_size
        found = np.empty((len(places), self.dim), dtype=np.float32)
        for number in np.unique(blocks).tolist():
            here = blocks == number
            found[here] = self.read_block(number)[places[here] - number * self.block_size]
        return found

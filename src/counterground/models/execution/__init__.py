"""Where and how a network runs: device, precision, runtime, and the two halves of its preprocessing."""

from counterground.models.execution._device import (
    autocast,
    check_precision,
    for_inference,
    freed_memory_kept,
    out_of_memory,
    own_arithmetic,
    resolve_device,
)
from counterground.models.execution._runtime import Forward, Runtime, own_layers, runtimes_for

__all__ = [
    "Forward",
    "Runtime",
    "autocast",
    "check_precision",
    "for_inference",
    "freed_memory_kept",
    "out_of_memory",
    "own_arithmetic",
    "own_layers",
    "resolve_device",
    "runtimes_for",
]

"""Which runtime encodes a model's photos: ONNX Runtime for many on a CPU, if it agrees with eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from counterground.errors import CounterGroundError, UsageError, error_message, install_command
from counterground.inference.encoding._decode import prepared
from counterground.inference.encoding._encode import encode_fn

if TYPE_CHECKING:
    from PIL import Image

    from counterground.models import Encoder, Runtime, RuntimeChoice

TOLERANCE = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 2e-2}
"""By precision: largest allowed difference from eager PyTorch in any number of any image, relative to the
largest number. The order of two names can change only if they are closer than twice that."""

ENOUGH = 256
"""Photos from which ``auto`` tries ONNX Runtime. Exporting a network takes about 2 s, which a forward pass
1.6 times as fast has saved after 5 s: 256 photos at 50 a second."""

_PROBE_SIZES = ((320, 240), (240, 320), (500, 375), (256, 256), (64, 96), (640, 480), (375, 500), (33, 47))
_NEEDS = {
    "onnx": "ONNX Runtime runs networks of PyTorch on the CPU in fp32, where its packages are installed: "
    + install_command("onnx"),
    "compile": "torch.compile runs networks of PyTorch on the CPU and on CUDA",
}


def choose_runtime(
    model: Encoder,
    photos: int,
    wanted: RuntimeChoice = "auto",
    is_needed: Callable[[], bool] = lambda: True,
) -> None:
    """Choose what encodes the model's photos, and note it in ``model.description``.

    Another runtime than eager PyTorch must give the same numbers for a few made-up images.

    Args:
        model: what encodes.
        photos: how many there are; ``auto`` uses eager PyTorch for fewer than `ENOUGH`.
        wanted: ``auto``, ``eager``, or the runtime that must be used.
        is_needed: called once the model is set to its runtime; where nothing is left to encode, the runtime
            agreed before.

    Raises:
        UsageError: the wanted runtime cannot run the model.
        CounterGroundError: the wanted runtime fails or gives other numbers.
    """
    model.run_by(None)
    described = {"runtime": str(model.runs_by)}
    choice = "onnx" if wanted == "auto" else wanted
    runtime = None
    if choice != model.runs_by and (wanted != "auto" or photos >= ENOUGH):
        runtime = next((each for each in model.runtimes if each.choice == choice), None)
        if runtime is None and wanted in _NEEDS:
            raise UsageError(f"{model.display_name} cannot be run by --runtime {wanted}: {_NEEDS[wanted]}.")
    if runtime is not None:
        model.run_by(runtime)
        refused = _refused(model, runtime) if is_needed() else None
        if refused is None:
            described = {"runtime": runtime.name}
        elif wanted == "auto":
            described["runtime_refused"] = f"{runtime.name}: {refused}"
        else:
            raise CounterGroundError(
                f"{model.display_name} cannot be run by --runtime {wanted}: {refused}. Use --runtime auto."
            )
    model.description = {**model.description, **described}


def _refused(model: Encoder, runtime: Runtime) -> str | None:
    """Return why the model's runtime may not encode, leaving it without one; None if it agrees."""
    try:
        function = encode_fn(model, len(_PROBE_SIZES))
        images = [prepared(function, image, "a made-up image") for image in _probe()]
        model.run_by(None)
        expected = function.encode(images)
        model.run_by(runtime)  # and it stays started
        made = function.encode(images)
    except CounterGroundError as error:
        model.run_by(None)
        return error_message(error.__cause__ or error)
    difference = float(np.abs(made - expected).max() / np.abs(expected).max())
    if difference <= TOLERANCE[model.dtype]:
        return None
    model.run_by(None)
    return f"differs by {difference:.2g} of the largest number on made-up images"


def _probe() -> list[Image.Image]:
    """Return smooth noise in several sizes, the same every time."""
    from PIL import Image

    noise = np.random.default_rng(0)
    coarse = noise.integers(0, 256, (len(_PROBE_SIZES), 12, 16, 3), dtype=np.uint8)
    return [
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
        for pixels, size in zip(coarse, _PROBE_SIZES, strict=True)
    ]

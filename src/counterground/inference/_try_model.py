"""Before photos are encoded: which runtime does it, and does the model work on one photo?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.errors import CounterGroundError, UsageError, error_message, install_command
from counterground.inference._encode import (
    Decoded,
    EncodeFn,
    EncodingJob,
    PhotoFile,
    decode_photo,
    encode_block,
    encode_fn,
    feature_store,
    plan_encoding,
    prepared,
    require_readable,
    run_encoding,
)
from counterground.inference._store import Features
from counterground.models import probe_images
from counterground.photos import Benchmark

if TYPE_CHECKING:
    from counterground.models import Encoder
    from counterground.settings import RuntimeChoice


TOLERANCE = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 2e-2}
"""By precision: largest allowed difference from eager PyTorch in any number of any image, relative to the
largest number. The order of two names can change only if they are closer than twice that."""

ENOUGH = 256
"""Photos from which ``auto`` tries ONNX Runtime. Exporting a network takes about 2 s, which a forward pass
1.6 times as fast has saved after 5 s: 256 photos at 50 a second."""


def choose_runtime(
    model: Encoder,
    photos: int,
    wanted: RuntimeChoice = "auto",
    is_needed: Callable[[Encoder], bool] = lambda _: True,
) -> tuple[Encoder, str | None]:
    """Return the model run by what encodes its photos, and why another runtime was refused, if one was.

    Another runtime than eager PyTorch must give the same numbers for a few made-up images.

    Args:
        model: what encodes.
        photos: how many there are; ``auto`` uses eager PyTorch for fewer than `ENOUGH`.
        wanted: ``auto``, ``eager``, or the runtime that must be used.
        is_needed: called with the model run by another runtime; where nothing is left to encode, the runtime
            agreed before.

    Raises:
        UsageError: the wanted runtime cannot run the model.
        CounterGroundError: the wanted runtime fails or gives other numbers.
    """
    if wanted in ("eager", model.runtime) or (wanted == "auto" and photos < ENOUGH):
        return model, None
    runtime = next(iter(model.runtimes), None)
    if runtime is None:
        if wanted == "auto":
            return model, None
        raise UsageError(
            f"{model.display_name} cannot be run by -X runtime=onnx: ONNX Runtime runs networks of PyTorch "
            f"on the CPU in fp32, where its packages are installed: {install_command('onnx')}."
        )
    other = model.run_by(runtime)
    refused = _refused(model, other) if is_needed(other) else None
    if refused is None:
        return other, None
    if wanted == "auto":
        return model, f"{runtime.name}: {refused}"
    raise CounterGroundError(
        f"{model.display_name} cannot be run by -X runtime=onnx: {refused}. Use -X runtime=auto."
    )


def _refused(model: Encoder, other: Encoder) -> str | None:
    """Return why another runtime of a model may not encode, None if it agrees."""
    try:
        expected, made = (encode_fn(each, 8) for each in (model, other))
        images = [prepared(expected, image, "a made-up image") for image in probe_images()]
        numbers = expected.encode(images)
        difference = float(np.abs(made.encode(images) - numbers).max() / np.abs(numbers).max())
    except CounterGroundError as error:
        return error_message(error.__cause__ or error)
    agrees = difference <= TOLERANCE[model.dtype]
    return None if agrees else f"differs by {difference:.2g} of the largest number on made-up images"


# Limit on photos opened to find a readable one before the work begins.
_TRIED = 8
# How many times the photo is prepared again: a random horizontal flip shows every other time.
_PREPARED_AGAIN = 12
# Largest difference, relative to the largest number, that other photos in the batch may make: activations
# quantised to 8 bits have one scale for the whole batch, which rounds about as coarsely as bf16.
_BATCH_TOLERANCE = TOLERANCE["bf16"]
# By how much a length may differ from 1: more than a division in bf16 rounds.
_LENGTH = 0.01


def try_model(model: Encoder, job: EncodingJob) -> None:
    """Encode one of the missing photos by itself, so that an error in a model shows before other work.

    It is prepared and encoded again, to check that the photo alone decides its features.

    Raises:
        CounterGroundError: the model fails or returns something other than features, its preprocessing or its
            features are random, they depend on the other photos of a batch, or a dual encoder's are not of
            unit length.
    """
    missing = (photo for number in job.missing for photo in job.blocks[number])
    function = encode_fn(model, 1)
    for content in islice(missing, _TRIED):
        photo = (content, job.sources[content])
        (decoded,) = decode_photo([function], photo)
        if decoded.reason is None:
            features = encode_block(function, [decoded]).features
            if model.kind == "dual_encoder":
                refuse_other_lengths(model.display_name, "encode()", features)
            _refuse_random_pixels(function, photo, decoded)
            _refuse_other_features(model, decoded, size=min(2, len(job.blocks[0])))
            return


def refuse_other_lengths(model: str, method: str, embedded: np.ndarray) -> None:
    """Refuse embeddings ``[n, dim]`` of a dual encoder that are not of unit length, as a user's own may be.

    Their products are no cosines: probabilities, and means over templates, would be others. Embeddings that
    are all 0 tie, which a run reports.

    Raises:
        CounterGroundError: one is longer or shorter.
    """
    lengths = np.linalg.norm(embedded.astype(np.float32), axis=1)
    other = lengths[(lengths > 0) & (np.abs(lengths - 1) > _LENGTH)]
    if len(other):
        raise CounterGroundError(
            f"{model}: {method} returned an embedding of length {other[0]:.3g}; those of a dual encoder have "
            "length 1: divide each by its length."
        )


def _refuse_random_pixels(function: EncodeFn, photo: PhotoFile, first: Decoded) -> None:
    again = decode_photo([function] * _PREPARED_AGAIN, photo)
    if not all(_same(first.prepared, each.prepared) for each in again if each.reason is None):
        raise CounterGroundError(
            f"{function.model}: preprocessing the same photo again gave other pixels, as a transform for "
            "training does (random crop or flip). Use the one for evaluation (the third value of "
            "OpenCLIP's create_model_and_transforms)."
        )


def _same(pixels: Any, others: Any) -> bool:
    import torch

    return pixels.shape == others.shape and torch.equal(pixels, others)


def _refuse_other_features(model: Encoder, photo: Decoded, size: int) -> None:
    """Encode a photo next to a blank and next to itself, both in batches of ``size``: sizes change digits."""
    function = encode_fn(model, size)
    allowed = TOLERANCE.get(model.dtype, _BATCH_TOLERANCE)
    first, beside = (encode_block(function, [photo] * n).features[0] for n in (1, size))
    if _difference(first, beside) <= allowed:
        return
    again = encode_block(function, [photo]).features[0]
    if (found := _difference(first, again)) > allowed:
        raise CounterGroundError(
            f"{function.model}: encoding the same photo again gave other features, by {found:.2g} of the "
            "largest number, as dropout does that is active outside training. Turn it off: "
            "F.dropout(..., training=self.training), and model.eval() for every part."
        )
    if (found := _difference(first, beside)) > _BATCH_TOLERANCE:
        raise CounterGroundError(
            f"{function.model}: features of a photo depend on the other photos of its batch, by {found:.2g} "
            "of the largest number, as with statistics or 8-bit scales of the batch. Use stored ones "
            "(model.eval() for every part), or -X batch-size=1."
        )


def _difference(features: np.ndarray, others: np.ndarray) -> float:
    """Return the largest difference, relative to the largest number."""
    largest = max(np.abs(features).max(), np.abs(others).max())
    return float(np.abs(features - others).max() / largest) if largest else 0.0


def encode_photos(
    model: Encoder, benchmark: Benchmark, store_root: Path, *, batch_size: int, show_progress: bool
) -> Features:
    """Return the model's features of every photo of the benchmark, reading what is stored.

    Photos with the same content are encoded once. Blocks hold ``batch_size`` contents in manifest order; the
    last one is padded, because features change in the seventh digit with the size of a batch.

    Raises:
        CounterGroundError: no photo can be read, or see `try_model`.
    """
    store = feature_store(model, store_root, batch_size)
    job = plan_encoding(model, benchmark, store, batch_size)
    try_model(model, job)
    run_encoding([job], show_progress)
    features = job.features()
    require_readable(features)
    return features

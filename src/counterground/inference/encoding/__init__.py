"""From photo files to features: decode, choose a runtime, encode what is missing."""

from __future__ import annotations

from counterground.inference.encoding._decode import (
    EncodeFn,
    PhotoFile,
    decode_photo,
    map_blocks,
    prepare_blocks,
)
from counterground.inference.encoding._encode import (
    EncodingJob,
    PhotoSources,
    encode_block,
    encode_fn,
    encode_missing,
    feature_store,
    missing_blocks,
    plan_encoding,
    require_readable,
    run_encoding,
)
from counterground.inference.encoding._try_model import (
    choose_runtime,
    encode_photos,
    refuse_other_lengths,
    try_model,
)

__all__ = [
    "EncodeFn",
    "EncodingJob",
    "PhotoFile",
    "PhotoSources",
    "choose_runtime",
    "decode_photo",
    "encode_block",
    "encode_fn",
    "encode_missing",
    "encode_photos",
    "feature_store",
    "map_blocks",
    "missing_blocks",
    "plan_encoding",
    "prepare_blocks",
    "refuse_other_lengths",
    "require_readable",
    "run_encoding",
    "try_model",
]

"""An OpenCLIP model of two small towers and random weights."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file


def save_clip(folder: Path, *, text_width: int = 32, seed: int = 0) -> Path:
    """Write it to ``folder``; nearly all of its weights are ``text_width`` for each of CLIP's tokens."""
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 24, "vocab_size": 49408, "width": text_width, "heads": 2, "layers": 2}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(seed)
    model = open_clip.CLIP(**config)
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.3, 0.3, 0.3], "interpolation": "bicubic"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder

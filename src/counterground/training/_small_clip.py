"""The architecture of the small CLIPs, and the folder OpenCLIP loads them from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from counterground.atomic import write_bytes, write_text

SIZE = 64
MEAN = STD = 0.5
CONTEXT = 24
MODEL_CFG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": SIZE,
        "layers": [1, 1, 1, 1],
        "width": 16,
        "head_width": 64,
        "patch_size": None,
    },
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESS_CFG: dict[str, Any] = {
    "size": SIZE,
    "mode": "RGB",
    "mean": [MEAN] * 3,
    "std": [STD] * 3,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"


def build_small_clip(seed: int) -> Any:
    """Return an untrained small CLIP (2.9 million parameters), initialised from ``seed``."""
    import torch
    from open_clip.model import CLIP

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(**MODEL_CFG)
    model.visual.to(memory_format=torch.channels_last)
    return model


def write_small_clip(model: Any, folder: Path) -> None:
    """Write ``open_clip_config.json`` and fp16 weights to ``folder``; ``open_clip:FOLDER`` loads them."""
    import torch
    from safetensors.torch import save

    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous(
            memory_format=torch.contiguous_format
        )
        for name, tensor in model.state_dict().items()
    }
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": PREPROCESS_CFG}
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    write_bytes(folder / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))

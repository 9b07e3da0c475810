"""What fine-tuning starts from: any OpenCLIP model with its preprocessing, or a small CLIP trained here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.errors import UsageError
from counterground.files import read_rebuildable, write_bytes
from counterground.paper.study._grid import one_thread
from counterground.paper.study.coco._objects import (
    COLORS,
    Array,
    Objects,
    caption_obj,
    caption_objbkg,
    on_color,
)
from counterground.paper.training import Schedule, train

if TYPE_CHECKING:
    import torch
    from PIL import Image


SMALL = "small"
_SMALL_CFG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "layers": [1, 1, 1, 1],
        "width": 8,
        "head_width": 64,
        "patch_size": None,
    },
    "text_cfg": {"context_length": 16, "width": 32, "heads": 2, "layers": 2},
}
_SMALL_PREPROCESS = {"size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic"}
_BATCH = 64
_PRETRAINING = Schedule(steps=250, learning_rate=3e-3, warmup_steps=20, weight_decay=1e-3)


@dataclass(frozen=True)
class Start:
    """A dual encoder before fine-tuning.

    Attributes:
        name: name as reported.
        fingerprint: fingerprint of weights and preprocessing.
        model: OpenCLIP model in float32 on the CPU; copied, never changed.
        preprocess: RGB photo -> ``[3, side, side]``.
        tokenize: texts -> ``[n, context]``.
        dim: dimension of the embeddings.
    """

    name: str
    fingerprint: str
    model: Any
    preprocess: Callable[[Image.Image], torch.Tensor]
    tokenize: Callable[[list[str]], torch.Tensor]
    dim: int


def load_start(spec: str, *, offline: bool = False) -> Start:
    """Load an OpenCLIP model with the preprocessing and the activation its weights were trained with.

    Raises:
        UsageError: not an OpenCLIP model, or an unknown one.
        CounterGroundError: weights cannot be fetched or do not fit.
    """
    from counterground.models import load_model
    from counterground.models.open_clip import OpenClipEncoder

    if not spec.startswith("open_clip:"):
        raise UsageError(
            f"{spec}: fine-tuning takes OpenCLIP models; write open_clip:ARCH/TAG or open_clip:DIR."
        )
    encoder = load_model(spec, device="cpu", offline=offline)
    assert isinstance(encoder, OpenClipEncoder)
    network, tokenize = encoder.network, encoder.texts.tokenizer
    return Start(spec, encoder.fingerprint, network, encoder.preprocess, tokenize, encoder.dim)


def small_start(objects: Objects, seed: int, folder: Path) -> Start:
    """Return the small CLIP, trained on the training animals on uninformative colours.

    Training is short: a few passes teach it the names and the looks of the groups. If it knew each animal by
    heart, no loss would be left that a colour could lower. It sees no photo of the other parts. The trained
    model is kept in ``folder`` and read from there; a damaged file is rebuilt.
    """
    import torch
    from open_clip.model import CLIP
    from open_clip.transform import PreprocessCfg, image_transform_v2

    torch.manual_seed(seed)
    tokenize, words = _compact_tokenizer(objects.names)
    text = _SMALL_CFG["text_cfg"] | {"vocab_size": words}
    model = CLIP(**_SMALL_CFG | {"text_cfg": text})
    model.visual.to(memory_format=torch.channels_last)
    preprocess = image_transform_v2(PreprocessCfg(**_SMALL_PREPROCESS), is_train=False)
    identity = f"small CLIP, seed {seed}, {_digest(objects)}, {_SMALL_CFG}, {_PRETRAINING}"
    file = folder / f"small-{seed}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}.safetensors"
    if not _read(model, file):
        _pretrain(model, objects, tokenize, seed)
        _write(model, file)
        _read(model, file)
    start = Start(SMALL, identity, model, preprocess, tokenize, int(_SMALL_CFG["embed_dim"]))
    model.eval().requires_grad_(requires_grad=False)
    return start


def _compact_tokenizer(names: Sequence[str]) -> tuple[Callable[[list[str]], torch.Tensor], int]:
    """Return CLIP's tokenizer with the tokens of our captions renumbered, and their number.

    Our captions use some 40 of CLIP's 49,408 tokens; a table of all would be five sixths of the model. The
    order of tokens stays, so the end token is still the largest: CLIP's text tower is read there.
    """
    import torch
    from open_clip import SimpleTokenizer

    whole = SimpleTokenizer(context_length=_SMALL_CFG["text_cfg"]["context_length"])
    captions = [caption_objbkg(name, color) for name in names for color in COLORS]
    used = torch.unique(whole(captions))

    def tokenize(texts: list[str]) -> torch.Tensor:
        tokens = whole(texts)
        assert bool(torch.isin(tokens, used).all())
        return torch.searchsorted(used, tokens)

    return tokenize, len(used)


def _digest(objects: Objects) -> str:
    return hashlib.sha256(objects.pixels["train"].tobytes()).hexdigest()[:12]


def _pretrain(model: Any, objects: Objects, tokenize: Callable[[list[str]], torch.Tensor], seed: int) -> None:
    import torch

    from counterground.paper.study.coco._losses import clip_loss

    pixels, classes = objects.pixels["train"], objects.classes["train"]
    tokens = tokenize([caption_obj(name) for name in objects.names])

    def batch_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        draw = np.random.default_rng([seed, step, 3])
        rows = draw.integers(len(classes), size=_BATCH)
        photos = on_color(pixels[rows], draw.integers(len(COLORS), size=_BATCH))
        return _normalised(photos), torch.from_numpy(classes[rows])

    def loss(network: Any, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return clip_loss(network, batch[0], tokens, batch[1])

    # Always on one thread: the number of threads changes the last digits of all that starts from this model.
    with one_thread():
        train(model, batch_at, loss, _PRETRAINING, seed=seed)


def _normalised(photos: Array) -> torch.Tensor:
    """Return what the small CLIP's preprocessing makes of photos of its own size."""
    import torch

    return (torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def _write(model: Any, file: Path) -> None:
    from safetensors.torch import save

    write_bytes(file, save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}))


def _read(model: Any, file: Path) -> bool:
    """Load the trained weights into the model; return False if they are absent or damaged."""
    from safetensors.torch import load

    if (weights := read_rebuildable(file, load)) is None:
        return False
    model.load_state_dict(weights)
    return True


def photos_tensor(start: Start, pixels: Array, rows: Sequence[int] | Array) -> torch.Tensor:
    """Return photos as the model expects them, ``[n, 3, side, side]`` float32."""
    import torch
    from PIL import Image

    return torch.stack([start.preprocess(Image.fromarray(pixels[row])) for row in rows])

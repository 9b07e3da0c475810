"""Fine-tuning an OpenCLIP model on coloured objects: its start, losses, accuracies."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.errors import UsageError
from counterground.files import read_rebuildable, write_bytes
from counterground.paper.loop import Schedule, train
from counterground.paper.settings import Objective
from counterground.paper.study import digest_of
from counterground.paper.study._objects import (
    COLORS,
    Array,
    Objects,
    Painted,
    Strength,
    caption_obj,
    caption_objbkg,
    on_color,
    paint,
    paint_elsewhere,
)
from counterground.paper.training import LARGEST_LOGIT_SCALE

if TYPE_CHECKING:
    import torch
    from PIL import Image

_SMALL_CFG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": [1] * 4, "width": 8, "head_width": 64, "patch_size": None},
    "text_cfg": {"context_length": 16, "width": 32, "heads": 2, "layers": 2},
}
_SMALL_PREPROCESS = {"size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic"}
_BATCH = 64
_PRETRAINING = Schedule(steps=250, learning_rate=3e-3, warmup_steps=20, weight_decay=1e-3)
_KEPT_BYTES = 400 * 2**20  # preprocessed photos up to this much are kept in memory
_EVALUATED = 128  # photos at once
_HIDDEN = 4  # width of the new head's hidden layer, as a multiple of the embedding's


def similarities(model: Any, photos: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return cosine similarities ``[photos, captions]``, float32."""
    from torch.nn.functional import normalize

    images = normalize(model.encode_image(photos).float(), dim=-1)
    return images @ normalize(model.encode_text(tokens).float(), dim=-1).T


def scaled(model: Any, photos: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return similarities times the model's scale, capped as CLIP's.

    The parameter itself is capped, as CLIP's training does after each step: a cap of its exponential would
    have no gradient where released CLIPs start, at 100, and they could not change it.
    """
    import torch

    with torch.no_grad():
        model.logit_scale.clamp_(max=math.log(LARGEST_LOGIT_SCALE))
    logits: torch.Tensor = model.logit_scale.exp() * similarities(model, photos, tokens)
    return logits


def clip_loss(model: Any, photos: torch.Tensor, tokens: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Return CLIP's symmetric loss over a batch of pairs.

    Args:
        model: OpenCLIP model.
        photos: ``[n, 3, side, side]``.
        tokens: ``[u, context]`` of the distinct captions.
        which: ``[n]`` index of each photo's caption; equal captions are negatives of each other, as in CLIP.
            This adds only a constant: equal captions have equal logits, so they share the right answer.
    """
    import torch
    from torch.nn.functional import cross_entropy

    used, place = torch.unique(which, return_inverse=True)  # each distinct caption is encoded once
    logits = scaled(model, photos, tokens[used])[:, place]
    pairs = torch.arange(len(which), device=logits.device)
    loss: torch.Tensor = (cross_entropy(logits, pairs) + cross_entropy(logits.T, pairs)) / 2
    return loss


@dataclass(frozen=True)
class Start:
    """A dual encoder before fine-tuning.

    Attributes:
        fingerprint: fingerprint of weights and preprocessing.
        model: OpenCLIP model in float32 on the CPU; copied, never changed.
        preprocess: RGB photo -> ``[3, side, side]``.
        tokenize: texts -> ``[n, context]``.
        dim: dimension of the embeddings.
    """

    fingerprint: str
    model: Any
    preprocess: Callable[[Image.Image], torch.Tensor]
    tokenize: Callable[[list[str]], torch.Tensor]
    dim: int


def load_start(spec: str) -> Start:
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
    encoder = load_model(spec, device="cpu")
    assert isinstance(encoder, OpenClipEncoder)
    tokenize = encoder.texts.tokenizer
    return Start(encoder.fingerprint, encoder.network, encoder.preprocess, tokenize, encoder.dim)


def small_start(objects: Objects, seed: int, folder: Path) -> Start:
    """Return the small CLIP, trained on the training animals on uninformative colours.

    Training is short: a few passes teach it the names and the looks of the groups. If it knew each animal by
    heart, no loss would be left that a colour could lower. It sees no photo of the other parts. The trained
    model is kept in ``folder`` and read from there; a damaged file is rebuilt.
    """
    import torch
    from open_clip.model import CLIP
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from safetensors.torch import load, save

    torch.manual_seed(seed)
    tokenize, words = _compact_tokenizer(objects.names)
    model: Any = CLIP(**_SMALL_CFG | {"text_cfg": _SMALL_CFG["text_cfg"] | {"vocab_size": words}})
    model.visual.to(memory_format=torch.channels_last)
    preprocess = image_transform_v2(PreprocessCfg(**_SMALL_PREPROCESS), is_train=False)
    pixels = digest_of(objects.pixels["train"])[:12]
    identity = f"small CLIP, seed {seed}, {pixels}, {_SMALL_CFG}, {_PRETRAINING}"
    file = folder / f"small-{seed}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}.safetensors"
    if (weights := read_rebuildable(file, load)) is None:
        _pretrain(model, objects, tokenize, seed)
        kept = save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})
        write_bytes(file, kept)
        weights = load(kept)
    model.load_state_dict(weights)
    model.eval().requires_grad_(requires_grad=False)
    return Start(identity, model, preprocess, tokenize, int(_SMALL_CFG["embed_dim"]))


def _compact_tokenizer(names: Sequence[str]) -> tuple[Callable[[list[str]], torch.Tensor], int]:
    """Return CLIP's tokenizer with the tokens of our captions renumbered, and their number.

    Our captions use some 40 of CLIP's 49,408 tokens; a table of all would be five sixths of the model. The
    order of tokens stays, so the end token is still the largest: CLIP's text tower is read there.
    """
    import torch
    from open_clip import SimpleTokenizer

    whole = SimpleTokenizer(context_length=_SMALL_CFG["text_cfg"]["context_length"])
    used = torch.unique(whole([caption_objbkg(name, color) for name in names for color in COLORS]))
    return lambda texts: torch.searchsorted(used, whole(texts)), len(used)


def _pretrain(model: Any, objects: Objects, tokenize: Callable[[list[str]], torch.Tensor], seed: int) -> None:
    import torch

    pixels, classes = objects.pixels["train"], objects.classes["train"]
    tokens = tokenize([caption_obj(name) for name in objects.names])

    def batch_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        draw = np.random.default_rng([seed, step, 3])
        rows = draw.integers(len(classes), size=_BATCH)
        photos = torch.from_numpy(on_color(pixels[rows], draw.integers(len(COLORS), size=_BATCH)))
        # What the small CLIP's preprocessing makes of photos of its own size.
        return (photos.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5, torch.from_numpy(classes[rows])

    def loss(network: Any, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return clip_loss(network, batch[0], tokens, batch[1])

    train(model, batch_at, loss, _PRETRAINING, seed=seed)


@dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned.

    Attributes:
        learning_rate: highest learning rate.
        weight_decay: weight decay on matrices and kernels.
        warmup_steps: steps of linear warm-up; cosine decay to zero follows.
        epochs: passes over the training photos; an incomplete batch at an epoch's end is left out.
        batch_size: photos per step.
    """

    learning_rate: float
    weight_decay: float
    warmup_steps: int
    epochs: int
    batch_size: int


@dataclass(frozen=True)
class Machine:
    """Where training runs: a resolved torch device, and the precision of its matrix products."""

    device: str = "cpu"
    precision: str = "fp32"


class Photos:
    """Painted photos as the model expects them; kept once preprocessed, if they are few.

    Args:
        start: model whose preprocessing applies.
        painted: the photos.
    """

    def __init__(self, start: Start, painted: Painted) -> None:
        self._preprocess, self.painted = start.preprocess, painted
        self._kept: torch.Tensor | None = None
        rows = np.arange(len(painted.classes))
        if len(rows) * self.take(rows[:1]).nbytes <= _KEPT_BYTES:
            self._kept = self.take(rows)

    def __len__(self) -> int:
        return len(self.painted.classes)

    def take(self, rows: Array) -> torch.Tensor:
        """Return the photos of ``rows``, ``[n, 3, side, side]`` float32."""
        import torch
        from PIL import Image

        if self._kept is not None:
            return self._kept[rows]
        return torch.stack([self._preprocess(Image.fromarray(self.painted.pixels[row])) for row in rows])


def photos_of(start: Start, objects: Objects, strength: Strength, seed: int) -> dict[str, Photos]:
    """Return the painted sets: ``train``, ``validation``, ``id`` alike; ``ood`` on other biased colours."""
    return {
        "train": Photos(start, paint(objects, "train", strength, seed)),
        "validation": Photos(start, paint(objects, "validation", strength, seed)),
        "id": Photos(start, paint(objects, "test", strength, seed)),
        "ood": Photos(start, paint_elsewhere(objects, "test", seed)),
    }


def finetune(
    start: Start,
    objects: Objects,
    photos: Mapping[str, Photos],
    objective: Objective,
    recipe: Recipe,
    *,
    seed: int,
    machine: Machine,
    checkpoint: Path | None = None,
) -> dict[str, float]:
    """Fine-tune a copy of ``start`` and return its accuracies.

    A killed training resumes from ``checkpoint`` and ends in the same figures.

    Returns:
        Fractions: accuracy ``id``, ``ood``, ``validation``; ``follows``, the share of ``ood`` photos that
        are assigned the class whose biased colour they show; ``train_loss``, the mean over the last epoch.

    Raises:
        CounterGroundError: the loss is no longer finite, or the checkpoint is damaged.
    """
    learner = Learner(start, objects, objective, machine, seed)
    shown, n, size = photos["train"], len(photos["train"]), recipe.batch_size
    per_epoch = max(1, n // size)
    captions = shown.painted.classes
    if objective == "objbkg":
        captions = captions * len(COLORS) + shown.painted.colors

    def batch_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        epoch, number = divmod(step, per_epoch)
        rows = np.random.default_rng([seed, epoch, 5]).permutation(n)[number * size : (number + 1) * size]
        return shown.take(rows), torch.from_numpy(captions[rows])

    schedule = Schedule(
        recipe.epochs * per_epoch, recipe.learning_rate, recipe.warmup_steps, recipe.weight_decay
    )
    losses = train(
        learner.module,
        batch_at,
        learner.loss,
        schedule,
        seed=seed,
        checkpoint=checkpoint,
        checkpoint_every=max(50, per_epoch),
    )
    return accuracies(learner, objects, photos) | {"train_loss": float(np.mean(losses[-per_epoch:]))}


class Learner:
    """A copy of a model with the additions of its objective: a head, or the tokens of its captions.

    Args:
        start: the model to copy.
        objects: objects with the names of the classes.
        objective: ``obj`` or ``objbkg`` (CLIP's loss), or ``supervised``.
        machine: where it trains.
        seed: seed of the new head.
    """

    def __init__(
        self, start: Start, objects: Objects, objective: Objective, machine: Machine, seed: int = 0
    ) -> None:
        import torch
        from torch import nn

        self.objective, self._machine, names = objective, machine, objects.names
        self._model: Any = copy.deepcopy(start.model).requires_grad_(requires_grad=True)
        self.module = nn.ModuleDict({"model": self._model})
        if objective == "supervised":
            self._model.requires_grad_(requires_grad=False)
            self._model.visual.requires_grad_(requires_grad=True)
            torch.manual_seed(seed)
            width = _HIDDEN * start.dim
            layers = (nn.Linear(start.dim, width), nn.ReLU(), nn.Linear(width, len(names)))
            self.module["head"] = nn.Sequential(*layers)
        self.module.to(machine.device)
        captions = [caption_obj(name) for name in names]
        self._prompts = self._captions = start.tokenize(captions).to(machine.device)
        if objective == "objbkg":
            captions = [caption_objbkg(name, color) for name in names for color in COLORS]
            self._captions = start.tokenize(captions).to(machine.device)

    def loss(self, _module: Any, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the objective's loss; ``batch`` holds photos and the rows of their captions."""
        from torch.nn.functional import cross_entropy

        from counterground.models import autocast

        photos, which = (part.to(self._machine.device) for part in batch)
        with autocast(self._machine.device, self._machine.precision):
            if self.objective == "supervised":
                return cross_entropy(self.scores(photos), which)
            return clip_loss(self._model, photos, self._captions, which)

    def scores(self, photos: torch.Tensor) -> torch.Tensor:
        """Return scores of the classes, ``[n, 9]``: the head's, or similarities to the captions *obj*."""
        photos = photos.to(self._machine.device)
        if self.objective == "supervised":
            logits: torch.Tensor = self.module["head"](self._model.encode_image(photos)).float()
            return logits
        return scaled(self._model, photos, self._prompts)

    def mean_scores(self, photos: torch.Tensor) -> torch.Tensor:
        """Return similarities to each class's mean caption *objbkg* over all colours, ``[n, 9]``."""
        every = similarities(self._model, photos.to(self._machine.device), self._captions)
        return every.reshape(len(every), -1, len(COLORS)).mean(dim=2)


def accuracies(learner: Learner, objects: Objects, photos: Mapping[str, Photos]) -> dict[str, float]:
    """Return the accuracies of a learner (fractions); see ``finetune``."""
    learner.module.eval()
    kinds = {"": learner.scores}
    if learner.objective == "objbkg":
        kinds["_mean_caption"] = learner.mean_scores
    figures = {}
    owner = np.argsort(np.array(objects.biased))[photos["ood"].painted.colors]
    for suffix, scores in kinds.items():
        for part in ("validation", "id", "ood"):
            answers = _answers(scores, photos[part])
            figures[part + suffix] = float((answers == photos[part].painted.classes).mean())
        figures[f"follows{suffix}"] = float((answers == owner).mean())
    return figures


def _answers(scores: Callable[[torch.Tensor], torch.Tensor], photos: Photos) -> Array:
    import torch

    with torch.inference_mode():
        starts = range(0, len(photos), _EVALUATED)
        parts = [np.arange(len(photos))[start : start + _EVALUATED] for start in starts]
        return torch.cat([scores(photos.take(rows)).argmax(1).cpu() for rows in parts]).numpy()

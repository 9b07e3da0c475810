"""The losses of fine-tuning, over captions that repeat: each distinct caption is encoded once."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from counterground.errors import UsageError
from counterground.files import read_rebuildable, write_bytes
from counterground.paper.study._grid import one_thread
from counterground.paper.study.coco._objects import (
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
from counterground.paper.training import Schedule, train

if TYPE_CHECKING:
    import torch
    from PIL import Image

    Scores = Callable[[torch.Tensor], torch.Tensor]


_LARGEST_LOGIT_SCALE = 100.0  # as CLIP (Radford et al., 2021, section 2.5)


def similarities(model: Any, photos: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return cosine similarities ``[photos, captions]``, float32."""
    from torch.nn.functional import normalize

    images = normalize(model.encode_image(photos).float(), dim=-1)
    return images @ normalize(model.encode_text(tokens).float(), dim=-1).T


def logit_scale(model: Any) -> torch.Tensor:
    """Return the model's scale, capped as CLIP's.

    The parameter itself is capped, as CLIP's training does after each step: a cap of its exponential would
    have no gradient where released CLIPs start, at 100, and they could not change it.
    """
    import torch

    with torch.no_grad():
        model.logit_scale.clamp_(max=math.log(_LARGEST_LOGIT_SCALE))
    scale: torch.Tensor = model.logit_scale.exp()
    return scale


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

    used, place = torch.unique(which, return_inverse=True)
    logits = (logit_scale(model) * similarities(model, photos, tokens[used]))[:, place]
    pairs = torch.arange(len(which), device=logits.device)
    loss: torch.Tensor = (cross_entropy(logits, pairs) + cross_entropy(logits.T, pairs)) / 2
    return loss


def siglip_loss(
    model: Any, bias: torch.Tensor, photos: torch.Tensor, tokens: torch.Tensor, which: torch.Tensor
) -> torch.Tensor:
    """Return SigLIP's loss (Zhai et al., 2023): every photo with every caption of the batch, match or not.

    Unlike in the original, every caption equal to a photo's own is a match: with nine captions, correct ones
    elsewhere in the batch would otherwise count as wrong.
    """
    import torch
    from torch.nn.functional import logsigmoid

    used, place = torch.unique(which, return_inverse=True)
    logits = (logit_scale(model) * similarities(model, photos, tokens[used]))[:, place] + bias
    signs = (which[:, None] == which[None]).to(logits.dtype) * 2 - 1
    loss: torch.Tensor = -logsigmoid(signs * logits).sum() / len(which)
    return loss


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

    from counterground.paper.study.coco._finetune import clip_loss

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


Objective = Literal["obj", "objbkg", "siglip", "supervised"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
_KEPT_BYTES = 400 * 2**20  # preprocessed photos up to this much are kept in memory
_EVALUATED = 128  # photos at once
_HIDDEN = 4  # width of the new head's hidden layer, as a multiple of the embedding's


@dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned.

    Attributes:
        learning_rate: highest learning rate.
        weight_decay: weight decay on matrices and kernels.
        warmup_steps: steps of linear warm-up; cosine decay to zero follows.
        epochs: passes over the training photos.
        batch_size: photos per step.
    """

    learning_rate: float
    weight_decay: float
    warmup_steps: int
    epochs: int
    batch_size: int

    def steps(self, photos: int) -> int:
        """Return the optimiser steps over ``photos``; an incomplete batch at an epoch's end is left out."""
        return self.epochs * max(1, photos // self.batch_size)


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
        self._start, self.painted = start, painted
        side = start.preprocess(_blank()).shape[-1]
        small = len(painted.classes) * 3 * 4 * side**2 <= _KEPT_BYTES
        self._kept = photos_tensor(start, painted.pixels, range(len(painted.classes))) if small else None

    def __len__(self) -> int:
        return len(self.painted.classes)

    def take(self, rows: Array) -> torch.Tensor:
        """Return the photos of ``rows``, ``[n, 3, side, side]``."""
        if self._kept is not None:
            return self._kept[rows]
        return photos_tensor(self._start, self.painted.pixels, rows)


def photos_of(start: Start, objects: Objects, strength: Strength, seed: int) -> dict[str, Photos]:
    """Return the painted sets: ``train``, ``validation``, ``id`` alike; ``ood`` on other biased colours."""
    return {
        "train": Photos(start, paint(objects, "train", strength, seed)),
        "validation": Photos(start, paint(objects, "validation", strength, seed)),
        "id": Photos(start, paint(objects, "test", strength, seed)),
        "ood": Photos(start, paint_elsewhere(objects, "test", seed)),
    }


def before(
    start: Start, objects: Objects, photos: Mapping[str, Photos], machine: Machine
) -> dict[str, float]:
    """Return zero-shot accuracies (fractions) of the model before fine-tuning; see ``finetune``."""
    learner = Learner(start, objects, "obj").to(machine)
    return _measure(learner, objects, photos)


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
    identity: str = "",
) -> dict[str, float]:
    """Fine-tune a copy of ``start`` and return its accuracies.

    A killed training resumes from ``checkpoint`` and ends in the same figures.

    Returns:
        Fractions: accuracy ``id``, ``ood``, ``validation``; ``follows``, the share of ``ood`` photos that
        are assigned the class whose biased colour they show; ``train_loss``, the mean over the last epoch.

    Raises:
        CounterGroundError: the loss is no longer finite, or the checkpoint is damaged.
    """
    learner = Learner(start, objects, objective, seed).to(machine)
    learner.prepare(photos["train"], seed)
    size, n = recipe.batch_size, len(photos["train"])
    per_epoch = max(1, n // size)
    captions = caption_rows(objective, photos["train"].painted)

    def batch_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        epoch, number = divmod(step, per_epoch)
        rows = np.random.default_rng([seed, epoch, 5]).permutation(n)[number * size : (number + 1) * size]
        return photos["train"].take(rows), torch.from_numpy(captions[rows])

    schedule = Schedule(
        steps=recipe.steps(n),
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
    )
    losses = train(
        learner.module,
        batch_at,
        learner.loss,
        schedule,
        seed=seed,
        checkpoint=checkpoint,
        checkpoint_every=max(50, per_epoch),
        identity=f"{identity} {objective} {asdict(recipe)} seed {seed}",
    )
    return _measure(learner, objects, photos) | {"train_loss": float(np.mean(losses[-per_epoch:]))}


class Learner:
    """A copy of a model with the additions of its objective: a head, a bias, the tokens of its captions.

    Args:
        start: the model to copy.
        objects: objects with the names of the classes.
        objective: ``obj``, ``objbkg`` (CLIP's loss), ``siglip`` (SigLIP's, captions *obj*) or ``supervised``.
        seed: seed of the new head.
    """

    def __init__(self, start: Start, objects: Objects, objective: Objective, seed: int = 0) -> None:
        import torch
        from torch import nn

        self.objective, self._machine = objective, Machine()
        model = copy.deepcopy(start.model).requires_grad_(requires_grad=True)
        parts: dict[str, Any] = {"model": model}
        if objective == "supervised":
            model.requires_grad_(requires_grad=False)
            model.visual.requires_grad_(requires_grad=True)
            torch.manual_seed(seed)
            width = _HIDDEN * start.dim
            parts["head"] = nn.Sequential(
                nn.Linear(start.dim, width), nn.ReLU(), nn.Linear(width, len(objects.names))
            )
        self.module = nn.ModuleDict(parts)
        if objective == "siglip":
            self.module.register_parameter("bias", nn.Parameter(torch.zeros(())))
        names = objects.names
        self._prompts = start.tokenize([caption_obj(name) for name in names])
        self._captions = (
            start.tokenize([caption_objbkg(name, color) for name in names for color in COLORS])
            if objective == "objbkg"
            else self._prompts
        )

    def to(self, machine: Machine) -> Learner:
        """Move to ``machine``."""
        self._machine = machine
        self.module.to(machine.device)
        self._prompts, self._captions = (each.to(machine.device) for each in (self._prompts, self._captions))
        return self

    def prepare(self, photos: Photos, seed: int) -> None:
        """Set SigLIP's initial bias so that photos and captions match as often as they do (1 in 9)."""
        import torch

        if self.objective != "siglip":
            return
        rows = np.random.default_rng([seed, 11]).permutation(len(photos))[:_EVALUATED]
        with torch.inference_mode():
            logits = self.scores(photos.take(rows))
        classes = len(self._prompts)
        with torch.no_grad():
            bias: Any = self.module.bias
            bias.copy_(-logits.mean() - float(np.log(classes - 1)))

    def loss(self, module: Any, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the objective's loss; ``batch`` holds photos and the rows of their captions."""
        from torch.nn.functional import cross_entropy

        from counterground.models import autocast

        photos, which = (part.to(self._machine.device) for part in batch)
        with autocast(self._machine.device, self._machine.precision):
            if self.objective == "supervised":
                return cross_entropy(self._head(photos), which)
            if self.objective == "siglip":
                return siglip_loss(module["model"], module.bias, photos, self._captions, which)
            return clip_loss(module["model"], photos, self._captions, which)

    def _head(self, photos: torch.Tensor) -> torch.Tensor:
        features = self.module["model"].encode_image(photos)  # type: ignore[operator]
        logits: torch.Tensor = self.module["head"](features).float()
        return logits

    def scores(self, photos: torch.Tensor) -> torch.Tensor:
        """Return scores of the classes, ``[n, 9]``: the head's, or similarities to the captions *obj*."""
        photos = photos.to(self._machine.device)
        if self.objective == "supervised":
            return self._head(photos)
        model: Any = self.module["model"]
        return logit_scale(model) * similarities(model, photos, self._prompts)

    def mean_scores(self, photos: torch.Tensor) -> torch.Tensor:
        """Return similarities to each class's mean caption *objbkg* over all colours, ``[n, 9]``."""
        model: Any = self.module["model"]
        every = similarities(model, photos.to(self._machine.device), self._captions)
        return every.reshape(len(every), -1, len(COLORS)).mean(dim=2)


def caption_rows(objective: Objective, painted: Painted) -> Array:
    """Return which caption each photo has, ``[n]``: its class, or its class and colour."""
    if objective == "objbkg":
        return painted.classes * len(COLORS) + painted.colors
    return painted.classes


def _measure(learner: Learner, objects: Objects, photos: Mapping[str, Photos]) -> dict[str, float]:
    found = _accuracies(learner.scores, learner, objects, photos)
    if learner.objective == "objbkg":
        mean = _accuracies(learner.mean_scores, learner, objects, photos)
        found |= {f"{name}_mean_caption": value for name, value in mean.items()}
    return found


def _accuracies(
    scores: Scores, learner: Learner, objects: Objects, photos: Mapping[str, Photos]
) -> dict[str, float]:
    learner.module.eval()
    answers = {part: _answers(scores, photos[part]) for part in ("validation", "id", "ood")}
    found = {part: float((given == photos[part].painted.classes).mean()) for part, given in answers.items()}
    owner = np.argsort(np.array(objects.biased))[photos["ood"].painted.colors]
    return found | {"follows": float((answers["ood"] == owner).mean())}


def _answers(scores: Scores, photos: Photos) -> Array:
    import torch

    with torch.inference_mode():
        parts = [
            scores(photos.take(np.arange(first, min(first + _EVALUATED, len(photos))))).argmax(1).cpu()
            for first in range(0, len(photos), _EVALUATED)
        ]
    return torch.cat(parts).numpy()


def _blank() -> Any:
    from PIL import Image

    return Image.new("RGB", (8, 8))

"""The zero-shot classifier of a dual encoder, and the columns of a classifier, for one list of names."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from counterground.errors import CounterGroundError, UsageError, error_summary
from counterground.files import read_rebuildable, write_bytes
from counterground.inference._try_model import refuse_other_lengths
from counterground.models import Classifier, DualEncoder, own_arithmetic
from counterground.photos import LabelSpace
from counterground.predictions import listed_classes
from counterground.text import counted

if TYPE_CHECKING:
    from counterground.models import Model


@dataclass(frozen=True)
class Head:
    """Turns features into scores of ``k`` names; ``scale`` makes them logits.

    ``weights`` is ``[d, u]``, None if features are logits already; ``columns`` ``[k]`` picks each name's
    column, so names with the same text get scores that are equal to the last bit. With ``starts`` ``[k]``,
    a name has the columns from its start to the next one's, and its score is the highest of theirs.
    ``warnings`` are about its texts.
    """

    weights: np.ndarray | None
    columns: np.ndarray
    scale: float
    starts: np.ndarray | None = None
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns if self.starts is None else self.starts)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return ``[n, k]`` float32 scores (cosine similarities, or logits)."""
        features = features.astype(np.float32, copy=False)
        scores = features if self.weights is None else features @ self.weights
        scores = scores[:, self.columns]
        return scores if self.starts is None else np.maximum.reduceat(scores, self.starts, axis=1)


def build_head(
    model: Model,
    space: LabelSpace,
    texts: Sequence[str] | Sequence[Sequence[str]],
    templates: Sequence[str],
    cache: Path,
) -> Head:
    """Return the head of ``model`` over the names of ``space``, each written as its text or texts.

    Dual encoders: per name, the mean over templates of the unit-norm text embeddings, normalised again
    (paper section 4 with one template, table 10 with 80). Classifiers: the logits of the names. If a
    name has several texts, or several ImageNet classes as members, the highest score counts.

    Raises:
        UsageError: a classifier has no output for a name, or the model's head is to be fitted.
        CounterGroundError: the model fails.
    """
    if getattr(model, "head", None) is not None:
        raise UsageError(
            f"{model.display_name}: a head is fitted by evaluate, swap and discover only; leave out ?head=."
        )
    if isinstance(model, Classifier):
        columns, starts = _flat(_columns(model, space))
        return Head(None, columns, 1.0, starts)
    spelt = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
    distinct = dict.fromkeys(text for each in spelt for text in each)
    column_of = {text: column for column, text in enumerate(distinct)}
    columns, starts = _flat([[column_of[text] for text in each] for each in spelt])
    assert isinstance(model, DualEncoder)
    prompts = [template.replace("{}", text) for text in distinct for template in templates]
    weights = _text_head(model, list(distinct), prompts, cache)
    return Head(weights, columns, model.logit_scale, starts, tuple(model.text_warnings(prompts)))


def _flat(columns: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the columns of all names in a row, and where each name starts, unless each has only one."""
    sizes = [len(each) for each in columns]
    flat = np.array([column for each in columns for column in each])
    return flat, None if max(sizes) == 1 else np.cumsum([0, *sizes[:-1]])


def _text_head(model: DualEncoder, texts: Sequence[str], prompts: Sequence[str], cache: Path) -> np.ndarray:
    import safetensors.numpy

    identity = model.fingerprint + (f"\n{model.users_class}" if model.users_class else "")
    key = hashlib.sha256("\n".join([identity, model.device, str(len(texts)), *prompts]).encode())
    path = cache / f"{key.hexdigest()[:32]}.head"
    if (stored := read_rebuildable(path, safetensors.numpy.load)) is not None:
        return np.asarray(stored["head"])
    embeddings = encode_texts(model, prompts).reshape(len(texts), -1, model.dim)
    mean = embeddings.mean(axis=1, dtype=np.float32)
    lengths = np.linalg.norm(mean, axis=1, keepdims=True)
    comparable = np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)
    if not comparable.all():
        raise CounterGroundError(
            f"{model.display_name}: the features of {texts[comparable.argmin()]!r} have no direction: they "
            "are all 0, or too large. Check its tokenizer and its text tower."
        )
    head = np.ascontiguousarray((mean / lengths).T)
    write_bytes(path, safetensors.numpy.save({"head": head}))
    return head


def encode_texts(model: DualEncoder, prompts: Sequence[str]) -> np.ndarray:
    """Return embeddings ``[t, dim]`` of texts.

    Raises:
        CounterGroundError: the model fails, or returns anything but finite embeddings of unit length.
    """
    try:
        with own_arithmetic(model.device):
            embedded = model.encode_texts(prompts)
    except CounterGroundError:
        raise
    except (Exception, SystemExit) as error:
        own = (type(model).__module__.partition(".")[0],)
        raise CounterGroundError(
            f"{model.display_name}: encoding texts failed: {error_summary(error, own)}."
        ) from error
    expected, shape = (len(prompts), model.dim), getattr(embedded, "shape", ())
    # The last is a kind of its own, which JAX has.
    numbers = isinstance(embedded, np.ndarray) and (
        embedded.dtype.kind in "biuf" or embedded.dtype.name == "bfloat16"
    )
    if not numbers or shape != expected or not np.isfinite(embedded).all():
        raise CounterGroundError(
            f"{model.display_name}: encode_texts() returned {type(embedded).__name__} {tuple(shape)} for "
            f"{counted(len(prompts), 'text')}; expected a finite numpy array {expected}."
        )
    refuse_other_lengths(model.display_name, "encode_texts()", embedded)
    return embedded


def _columns(model: Classifier, space: LabelSpace) -> list[list[int]]:
    """Return the outputs of each name: of its members, else of its ImageNet class, else of its name."""
    by_index = {index: column for column, index in enumerate(model.imagenet_columns) if index is not None}
    by_name = {name: column for column, name in enumerate(model.class_names)}
    columns: list[list[int | None]] = []
    used = set()
    for at, (name, index) in enumerate(zip(space.names, space.imagenet, strict=True)):
        members = space.members[at] if space.members else () if index is None else (index,)
        found = [by_index.get(member) for member in members]
        if not found or (space.members and None in found and name in by_name):
            found = [by_name.get(name)]
            used.add(name)
        columns.append(found)
    missing = [name for name, column in zip(space.names, columns, strict=True) if None in column]
    if missing and space.name == "imagenet":
        raise UsageError(
            f"{model.display_name} has an output for {len(space) - len(missing):,} of ImageNet's "
            f"{len(space):,} classes, all of which compete. If it knows the benchmark's classes, let only "
            "those compete: --label-space benchmark."
        )
    if known := [name for name in missing if name in by_name]:
        raise UsageError(
            f"{model.display_name} has an output called {known[0]!r}, but its imagenet_columns do not say "
            f"that it is ImageNet's class {space.imagenet[space.names.index(known[0])]}: give each output "
            "its ImageNet index."
        )
    if missing:
        rename = "Rename the class" if len(missing) == 1 else "Rename the classes"
        raise UsageError(
            f"{model.display_name} has no output for {listed_classes(missing, by_name)}. "
            f"{rename}, or use a CLIP or a model trained on {'it' if len(missing) == 1 else 'them'}."
        )
    twice = [name for name, count in Counter(model.class_names).items() if count > 1 and name in used]
    if twice:
        raise UsageError(
            f"{model.display_name} calls two outputs {twice[0]!r}; each output needs a name of its own."
        )
    return [[column for column in each if column is not None] for each in columns]

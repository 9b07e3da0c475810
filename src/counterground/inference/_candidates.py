"""Which names compete: the benchmark's own, ImageNet's 1000, 20 confusable ones, or a file's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from counterground.errors import UsageError, did_you_mean
from counterground.photos import Benchmark, LabelSpace, imagenet_label_space, imagenet_names, read_class_names

CONFUSABLE = 20
BUILT_IN_NAMES = ("openai", "wordnet")
BUILT_IN_PROMPTS = ("simple", "openai")
_BUILT_IN = ("benchmark", "imagenet", "confusable")


@dataclass(frozen=True)
class Competition:
    """A label space, how its names are written, and where each class of the benchmark stands in it.

    ``true_index`` maps a class of the benchmark to its index in ``space`` (None where the space lacks it).
    """

    space: LabelSpace
    texts: tuple[str, ...]
    true_index: Mapping[int, int | None]
    source: str

    def version(self) -> str:
        """Hash of the names, how they are written and which compete for which class."""
        return short_hash(self.space.to_json(), *self.texts)

    def candidates(self, class_index: int) -> np.ndarray:
        """Return the indices that compete for photos of a class of the benchmark."""
        true = self.true_index[class_index]
        if self.space.candidates is None:
            return np.arange(len(self.space))
        chosen = None if true is None else self.space.candidates.get(true)
        if chosen is None:
            raise UsageError(
                f"The confusable set has no candidates for class index {class_index}. "
                "Make one for this benchmark with --label-space confusable --referee MODEL."
            )
        return np.array(chosen)


def default_label_space(benchmark: Benchmark) -> str:
    """``imagenet`` where every class of the benchmark has an ImageNet index, else ``benchmark``."""
    return "benchmark" if None in benchmark.label_space.imagenet else "imagenet"


def competition(benchmark: Benchmark, which: str, names: str) -> Competition:
    """Resolve ``--label-space`` and ``--names``; ``confusable`` gives the names the 20 are chosen from.

    Raises:
        UsageError: an unknown label space, a class without an ImageNet index, a name that matches nothing.
    """
    own = benchmark.label_space
    if which == "confusable":
        return competition(benchmark, default_label_space(benchmark), names)
    if which == "benchmark":
        true: dict[int, int | None] = {index: index for index in range(len(own))}
        return Competition(
            replace(own, name="benchmark"), _texts(own, names), true, "the benchmark's classes"
        )
    if which == "imagenet":
        space = imagenet_label_space()
        return Competition(space, _texts(space, names), _by_imagenet(own, space), "ImageNet-1K")
    path = Path(which)
    if not path.is_file():
        raise UsageError(
            f"Unknown label space {which!r}: neither one of {', '.join(_BUILT_IN)} nor a file."
            + did_you_mean(which, _BUILT_IN)
        )
    if path.suffix == ".json":
        space = LabelSpace.load(path)
    else:
        listed = read_class_names(path)
        space = LabelSpace(f"{path.name}@{short_hash(*listed)}", listed, (None,) * len(listed))
    return Competition(space, _texts(space, names), _by_index_or_name(own, space, path), str(path))


def with_confusable(base: Competition, mean_scores: np.ndarray, referee: str) -> Competition:
    """Keep, per class, the 20 names with the highest mean score over its photos (paper appendix C.1).

    Args:
        base: the names to choose from.
        mean_scores: ``[classes, len(base.space)]``, NaN rows for classes without readable photos.
        referee: spec of the model whose scores these are.
    """
    chosen = {}
    for class_index, true in base.true_index.items():
        if true is None or np.isnan(mean_scores[class_index]).any():
            continue
        best_first = np.argsort(-mean_scores[class_index], kind="stable")[:CONFUSABLE]
        chosen[true] = tuple(int(index) for index in best_first)
    space = replace(base.space, name="confusable", candidates=chosen)
    source = f"per class the {CONFUSABLE} of {len(base.space)} names closest to its photos for {referee}"
    return Competition(space, base.texts, base.true_index, source)


def short_hash(*parts: str) -> str:
    """Eight hexadecimal digits that tell one content from another under the same name."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def named_by_content(choice: str, built_in: Sequence[str], content: Sequence[str]) -> str:
    """Return a built-in name as it is, a file as ``name@hash``: a changed file is another setting."""
    return choice if choice in built_in else f"{Path(choice).name}@{short_hash(*content)}"


def _texts(space: LabelSpace, names: str) -> tuple[str, ...]:
    """How each class is written in prompts; classes without an ImageNet index keep their own name."""
    if names in BUILT_IN_NAMES:
        listed = imagenet_names(names)  # type: ignore[arg-type]
        pairs = zip(space.names, space.imagenet, strict=True)
        return tuple(name if index is None else listed[index] for name, index in pairs)
    path = Path(names)
    if not path.is_file():
        raise UsageError(
            f"Unknown names {names!r}: neither openai, wordnet nor a file."
            + did_you_mean(names, BUILT_IN_NAMES)
        )
    listed = read_class_names(path)
    if len(listed) == len(space):
        return listed
    if len(listed) == 1000 and None not in space.imagenet:
        return tuple(listed[index] for index in space.imagenet if index is not None)
    raise UsageError(
        f"{path} lists {len(listed)} names, but {len(space)} compete. Write one line per name, in order."
    )


def _by_imagenet(own: LabelSpace, space: LabelSpace) -> dict[int, int | None]:
    position = {index: at for at, index in enumerate(space.imagenet)}
    missing = [name for name, index in zip(own.names, own.imagenet, strict=True) if index not in position]
    if missing:
        raise UsageError(
            f"{_some(missing)} of the benchmark have no ImageNet index. "
            "Use --label-space benchmark, or name the classes as ImageNet does."
        )
    return {at: position[index] for at, index in enumerate(own.imagenet)}


def _by_index_or_name(own: LabelSpace, space: LabelSpace, path: Path) -> dict[int, int | None]:
    position = {index: at for at, index in enumerate(space.imagenet) if index is not None}
    true: dict[int, int | None] = {}
    for at, (name, index) in enumerate(zip(own.names, own.imagenet, strict=True)):
        if index is not None and index in position:
            true[at] = position[index]
        elif name in space.names:
            true[at] = space.index_of(name)
        else:
            raise UsageError(
                f"{path} lacks the class {name!r}.{did_you_mean(name, space.names)} Add it to the file."
            )
    return true


def _some(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return f"Classes {shown}" + (f" and {len(names) - most} more" if len(names) > most else "")

"""Candidate labels: the benchmark's own, ImageNet's 1000, 20 confusable ones per class, or a file's."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from counterground.errors import OtherNamesWarning, UsageError, did_you_mean
from counterground.files import given_path, is_file
from counterground.photos import (
    LABEL_SPACE_FILE,
    Benchmark,
    LabelSpace,
    imagenet_classes,
    imagenet_names,
    match_imagenet,
    read_class_names,
)
from counterground.settings import Settings
from counterground.text import and_more

CONFUSABLE = 20
BUILT_IN_NAMES = ("openai", "wordnet")
BUILT_IN_PROMPTS = ("simple", "openai")
_BUILT_IN = ("benchmark", "imagenet", "confusable")


@dataclass(frozen=True)
class CandidateLabels:
    """The labels a prediction is chosen from, and which of them is true for each class of the benchmark.

    Attributes:
        space: names, ImageNet indices and, if not all names are candidates for each class, which are.
        texts: how each name is written in prompts.
        spellings: several texts for each name, of which the best counts; None for the one of ``texts``.
        true_index: index in ``space`` of each class of the benchmark, None if the space lacks it.
        source: where the labels come from, for ``run.json``.
    """

    space: LabelSpace
    texts: tuple[str, ...]
    true_index: Mapping[int, int | None]
    source: str
    spellings: tuple[tuple[str, ...], ...] | None = None

    def version(self) -> str:
        """Return a hash of the names, how they are written and which are candidates for which class."""
        return short_hash(self.space.to_json(), *self.all_texts)

    @property
    def all_texts(self) -> tuple[str, ...]:
        """Every text a text encoder sees."""
        return self.texts if self.spellings is None else tuple(t for each in self.spellings for t in each)

    def indices(self, class_index: int) -> np.ndarray:
        """Return the indices ``[m]`` in ``space`` of the candidates for photos of a class of the benchmark.

        Raises:
            UsageError: the class has no candidates.
        """
        if self.space.candidates is None:
            return np.arange(len(self.space))
        true = self.true_index[class_index]
        if true is None or true not in self.space.candidates:
            raise UsageError(_without_candidates(self.source, f"the class with index {class_index}"))
        return np.array(self.space.candidates[true])


def default_space(benchmark: Benchmark) -> str:
    """Return ``imagenet`` if each class of the benchmark is one or more of ImageNet's, else ``benchmark``."""
    space = benchmark.classes
    return "benchmark" if None in space.imagenet and space.members is None else "imagenet"


def requested_labels(benchmark: Benchmark, settings: Settings) -> CandidateLabels:
    """Return the labels that settings request, which every class of the photos must be among.

    For ``confusable`` these are the names from which the referee chooses.

    Raises:
        UsageError: see `candidate_labels`; or a class of the photos has no candidates.
        CounterGroundError: a file of names or labels is damaged.
    """
    labels = candidate_labels(benchmark, settings.label_space, settings.names)
    if settings.chooser is None:
        check_candidates(benchmark, labels)
    if note := other_names(benchmark, "confusable" if settings.chooser else labels.space.name):
        # before hours of work; the run repeats it
        warnings.warn(note, OtherNamesWarning, stacklevel=3)
    return labels


def candidate_labels(benchmark: Benchmark, label_space: str | None, names: str) -> CandidateLabels:
    """Resolve ``--label-space`` and ``--names``; ``confusable`` gives the names the 20 are chosen from.

    Raises:
        UsageError: an unknown label space, a class without an ImageNet index, a list of names that does not
            fit.
        CounterGroundError: a file of names or labels is damaged.
    """
    own = benchmark.classes
    if label_space in (None, "confusable"):
        label_space = default_space(benchmark)
    if label_space == "benchmark":
        true: dict[int, int | None] = {index: index for index in range(len(own))}
        space, source = replace(own, name="benchmark"), "the benchmark's classes"
    elif label_space == "imagenet" and own.members is not None:
        space, source = _among_imagenet(own, own.members), "ImageNet-1K, read as the benchmark's classes"
        true = {index: index for index in range(len(own))}
    elif label_space == "imagenet":
        space, source = imagenet_classes(), "ImageNet-1K"
        true = _by_imagenet(own, space)
    else:
        space, source = _read_label_space(label_space), label_space
        true = _by_index_or_name(own, space, source)
    texts = space.names if _is_list(space) and names in BUILT_IN_NAMES else _texts(space, names)
    return CandidateLabels(space, texts, true, source, _spellings(space, names))


def _among_imagenet(own: LabelSpace, members: tuple[tuple[int, ...], ...]) -> LabelSpace:
    """Return ImageNet's 1000 classes; those that a class of the benchmark covers become that class."""
    imagenet = imagenet_classes()
    covered = {index for each in members for index in each}
    others = tuple(index for index in range(len(imagenet)) if index not in covered)
    names = (*own.names, *(imagenet.names[index] for index in others))
    every = (*members, *((index,) for index in others))
    return LabelSpace(imagenet.name, names, (*own.imagenet, *others), members=every)


def _spellings(space: LabelSpace, names: str) -> tuple[tuple[str, ...], ...] | None:
    """Return how ImageNet's classes are written, by the class of ``space`` that they count as.

    Among the benchmark's own classes these are written by their own names.
    """
    imagenet = imagenet_classes()
    if space.members is None or space.name not in (imagenet.name, "confusable"):
        return None
    texts = _texts(imagenet, names)
    return tuple(tuple(texts[index] for index in each) for each in space.members)


def other_names(benchmark: Benchmark, label_space: str) -> str:
    """Return a warning if the names that compete are not those that chose a benchmark's pairs, else nothing.

    Args:
        benchmark: the photos.
        label_space: name of the label space that competes.
    """
    chose = benchmark.discovery.referee_candidates if benchmark.discovery else ""
    if chose in ("", label_space):
        return ""
    known = chose in _BUILT_IN and chose != "confusable"
    option = chose if known else f"FILE (the {LABEL_SPACE_FILE} in the folder referee/ that discover wrote)"
    return (
        f"discover chose the pairs of {benchmark.name} with the label space {chose!r}, but this "
        f"run uses {label_space!r}, so these accuracies are not comparable with those that chose the pairs. "
        f"To repeat the label space of discover: --label-space {option}."
    )


def check_candidates(benchmark: Benchmark, labels: CandidateLabels) -> None:
    """Check that every class of the photos has candidates, before any photo is encoded.

    Raises:
        UsageError: a class has none.
    """
    known = labels.space.candidates
    if known is None:
        return
    own = benchmark.classes.names
    present = sorted(benchmark.photos["class_index"].unique())
    missing = [own[index] for index in present if labels.true_index[index] not in known]
    if missing:
        raise UsageError(_without_candidates(labels.source, listed_classes(missing)))


def with_confusable(base: CandidateLabels, mean_scores: np.ndarray, referee: str) -> CandidateLabels:
    """Keep, per class, the 20 names with the highest mean score over its photos (paper appendix C.1).

    Args:
        base: the names to choose from.
        mean_scores: ``[classes, len(base.space)]``, NaN rows for classes without readable photos.
        referee: specification of the model that gave the scores.
    """
    chosen = {}
    for class_index, true in base.true_index.items():
        if true is None or np.isnan(mean_scores[class_index]).any():
            continue
        best_first = np.argsort(-mean_scores[class_index], kind="stable")[:CONFUSABLE]
        chosen[true] = tuple(int(index) for index in best_first)
    space = replace(base.space, name="confusable", candidates=chosen)
    most = min(CONFUSABLE, len(base.space))
    source = f"per class the {most} of {len(base.space)} names closest to its photos for {referee}"
    return replace(base, space=space, source=source)


def short_hash(*parts: str) -> str:
    """Return eight hexadecimal digits that identify the content."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def named_by_content(choice: str, built_in: Sequence[str], content: Sequence[str]) -> str:
    """Return a built-in name unchanged, a file as ``name@hash``: a changed file is another setting."""
    return choice if choice in built_in else f"{Path(choice).name}@{short_hash(*content)}"


def _read_label_space(name: str) -> LabelSpace:
    path = given_path(name)
    if not is_file(path):
        raise UsageError(
            f"Unknown label space {name!r}: neither one of {', '.join(_BUILT_IN)} nor a file."
            + did_you_mean(name, _BUILT_IN)
        )
    if path.suffix == ".json":
        return LabelSpace.load(path)
    listed = read_class_names(path)
    match = match_imagenet(listed)
    known = match.indices if match.in_order else (None,) * len(listed)
    return LabelSpace(f"{path.name}@{short_hash(*listed)}", listed, known)


def _is_list(space: LabelSpace) -> bool:
    """Whether it was read from a list of names, here or in an earlier run that saved it as JSON.

    These are written as listed, whatever ImageNet calls the classes.
    """
    return space.name.endswith(f"@{short_hash(*space.names)}")


def _without_candidates(source: str, classes: str) -> str:
    return (
        f"{source}: no candidates for {classes}. "
        "Choose a set for this benchmark with --label-space confusable --referee MODEL."
    )


def _texts(space: LabelSpace, names: str) -> tuple[str, ...]:
    """Return how each class is written in prompts; classes without an ImageNet index keep their own name."""
    if names in BUILT_IN_NAMES:
        return _as_imagenet(space, imagenet_names(names))  # type: ignore[arg-type]
    path = given_path(names)
    if not is_file(path):
        raise UsageError(
            f"Unknown names {names!r}: neither openai, wordnet nor a file."
            + did_you_mean(names, BUILT_IN_NAMES)
        )
    listed = read_class_names(path)
    if len(listed) == len(space):
        return listed
    if len(listed) == 1000 and (space.members is not None or None not in space.imagenet):
        return _as_imagenet(space, listed)
    raise UsageError(
        f"{path} lists {len(listed)} names for {len(space)} candidate classes. "
        "Write one line per class, in order."
    )


def _as_imagenet(space: LabelSpace, listed: Sequence[str]) -> tuple[str, ...]:
    """Return a list's names for ImageNet's classes, own names for others."""
    pairs = zip(space.names, space.imagenet, strict=True)
    return tuple(name if index is None else listed[index] for name, index in pairs)


def _by_imagenet(own: LabelSpace, space: LabelSpace) -> dict[int, int | None]:
    position = {index: at for at, index in enumerate(space.imagenet)}
    missing = [name for name, index in zip(own.names, own.imagenet, strict=True) if index not in position]
    if missing:
        raise UsageError(
            f"No ImageNet index for {listed_classes(missing, space.names)} of the benchmark. "
            "Use --label-space benchmark, or name the classes as ImageNet does."
        )
    return {at: position[index] for at, index in enumerate(own.imagenet)}


def match_classes(own: LabelSpace, space: LabelSpace) -> dict[int, int | None]:
    """Return which class of ``space`` each of ``own`` is: by ImageNet index, else by name; None if neither.

    One name with two indices is two classes: ImageNet has two cranes.

    Raises:
        UsageError: a name is that of several classes of ``space``.
    """
    by_index = {index: at for at, index in enumerate(space.imagenet) if index is not None}
    same: dict[int, int | None] = {}
    for at, (name, index) in enumerate(zip(own.names, own.imagenet, strict=True)):
        same[at] = None if index is None else by_index.get(index)
        if same[at] is None and name in space.names:
            found = space.index_of(name)
            same[at] = found if None in (index, space.imagenet[found]) else None
    return same


def _by_index_or_name(own: LabelSpace, space: LabelSpace, source: str) -> dict[int, int | None]:
    true = match_classes(own, space)
    missing = [own.names[at] for at, same in true.items() if same is None]
    if other := next((name for name in missing if name in space.names), None):
        there, here = space.imagenet[space.index_of(other)], own.imagenet[own.index_of(other)]
        raise UsageError(
            f"In {source}, {other!r} is class {there} of ImageNet, and in the benchmark class {here}: "
            "correct the index that is wrong, or rename the class."
        )
    if missing:
        add = "it" if len(missing) == 1 else "them"
        raise UsageError(f"{source} lacks {listed_classes(missing, space.names)}. Add {add} to the file.")
    return true


def listed_classes(names: Sequence[str], known: Iterable[str] = (), most: int = 20) -> str:
    """Return classes as text, each with the names among ``known`` that it may be a typo for."""
    known = list(known)
    shown = []
    for name in names[:most]:
        hint = did_you_mean(name, known).strip()
        shown.append(f"{name!r} ({hint[:1].lower()}{hint[1:]})" if hint else repr(name))
    return f"class{'es' if len(names) > 1 else ''} {and_more([*shown, *names[most:]], most)}"

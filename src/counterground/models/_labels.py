"""Which ImageNet-1K class each logit of a classifier means, by the names its author gave.

Names are matched strictly and never guessed: a name that could mean two classes is not matched, unless nearly
all of 1000 names show that the logits are in ImageNet's usual order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from counterground.errors import CounterGroundError, UsageError
from counterground.files import given_path
from counterground.text import counted

_NO_NAME = re.compile(r"(label|class)?[ _]?\d*", re.IGNORECASE)


@dataclass(frozen=True)
class Labels:
    """Name and ImageNet-1K index (or None) of each logit, and what a user should know about the matching."""

    names: tuple[str, ...]
    columns: tuple[int | None, ...]
    warnings: tuple[str, ...] = ()


def names_of(spec: str, id2label: Mapping[Any, Any]) -> tuple[str, ...]:
    """Return the names of ``id2label`` in the order of the logits: sorted by number, never as text.

    Raises:
        CounterGroundError: the keys are not 0 to n - 1.
    """
    try:
        numbered = {int(key): str(name).strip() for key, name in id2label.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise CounterGroundError(f"{spec}: the keys of its class names are not numbers ({error}).") from error
    if sorted(numbered) != list(range(len(id2label))):
        raise CounterGroundError(f"{spec}: the keys of its class names are not 0 to {len(id2label) - 1}.")
    return tuple(numbered[index] for index in range(len(numbered)))


def match_labels(spec: str, names: Sequence[str], labels: str | None = None) -> Labels:
    """Match the logits of a classifier with ImageNet-1K.

    Args:
        spec: specification, for messages.
        names: the author's name for each logit; may be empty.
        labels: None to match ``names``; ``imagenet`` if the user says that the 1000 logits are in
            ImageNet's usual order; or a file of names, one per line.

    Raises:
        UsageError: no names at all; ``imagenet`` without 1000 logits or against their names; a file with a
            different number of names.
    """
    if labels == "imagenet":
        return _in_imagenet_order(spec, names)
    if labels is not None:
        listed = read_labels(labels)
        if names and len(listed) != len(names):
            raise UsageError(
                f"{spec}: {labels} has {counted(len(listed), 'name')} for {counted(len(names), 'output')}."
            )
        return match_list(f"{spec}: {labels}", listed)
    if not any(_is_name(name) for name in names):
        raise UsageError(
            f"{spec}: the head has {len(names)} outputs whose names are unknown: add ?labels=FILE "
            "(one name per line)"
            + (", or ?labels=imagenet for ImageNet-1K in its usual order." if len(names) == 1000 else ".")
        )
    return match_names(names)


def read_labels(labels: str) -> tuple[str, ...]:
    """Return the names of a ``labels=FILE``, or nothing for ``labels=imagenet``.

    Raises:
        UsageError: there is no such file.
        CounterGroundError: see `read_class_names`.
    """
    from counterground.photos import read_class_names

    return () if labels == "imagenet" else read_class_names(given_path(labels))


def match_list(source: str, names: Sequence[str]) -> Labels:
    """Match a list of names that the user wrote.

    Args:
        source: the list, for messages.
        names: one for each output.

    Raises:
        UsageError: a name occurs twice, unless the others show that it means two classes of ImageNet.
    """
    labels = match_names(names)
    unmatched = [name for name, index in zip(names, labels.columns, strict=True) if index is None]
    if twice := [name for name, count in Counter(unmatched).items() if count > 1]:
        at = [place for place, name in enumerate(names) if name == twice[0]]
        raise UsageError(
            f"{source} calls two outputs {twice[0]!r} ({at[0]} and {at[1]}, counted from 0); "
            "each output needs a name of its own."
        )
    # If no name is ImageNet's, the classes are the user's own: nothing to warn about.
    return labels if any(index is not None for index in labels.columns) else replace(labels, warnings=())


def match_names(names: Sequence[str]) -> Labels:
    """Match names with ImageNet-1K; names that share a class are not matched, with a warning.

    1000 names that agree with ImageNet's order at nearly all positions are read in that order, with a warning
    if only the order explains a name.
    """
    from counterground.photos import match_imagenet

    match = match_imagenet(names)
    doubled = {index for index, count in Counter(match.indices).items() if index is not None and count > 1}
    kept = tuple(None if index in doubled else index for index in match.indices)
    warnings = []
    if match.by_place:
        warnings.append(
            "The 1000 class names are taken to be ImageNet-1K in its usual order, with which nearly all "
            f"agree; by themselves, {_some(match.by_place)} would not name the classes at their positions."
        )
    if doubled:
        twice = sorted({names[at] for at, index in enumerate(match.indices) if index in doubled})
        warnings.append(
            f"{len(twice)} class names ({_some(twice)}) share an ImageNet class with another one; none of "
            "them is matched."
        )
    unmatched = [name for name, index in zip(names, kept, strict=True) if index is None]
    if unmatched:
        warnings.append(
            f"{len(unmatched)} of {counted(len(names), 'class name')} ({_some(unmatched)}) without an "
            "ImageNet-1K class of their own: matched by name only."
        )
    return Labels(tuple(names), kept, tuple(warnings))


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def _in_imagenet_order(spec: str, names: Sequence[str]) -> Labels:
    if names and len(names) != 1000:
        raise UsageError(f"{spec}: labels=imagenet means 1000 classes, but there are {len(names)}.")
    from counterground.photos import match_imagenet

    for at, index in enumerate(match_imagenet(names).indices):
        if index not in (None, at):
            raise UsageError(
                f"{spec}: labels=imagenet contradicts the model's own names: logit {at} is called "
                f"{names[at]!r}. Leave out the option to match by name."
            )
    return imagenet_order(
        "The 1000 logits are taken to be ImageNet-1K in its usual order, as labels=imagenet says."
    )


def imagenet_order(*warnings: str) -> Labels:
    """Return the labels of 1000 logits in ImageNet-1K's usual order."""
    from counterground.photos import imagenet_names

    return Labels(imagenet_names("openai"), tuple(range(1000)), warnings)


def unnamed(outputs: int) -> tuple[str, ...]:
    """Return placeholder names for outputs without known names."""
    return tuple(f"class {index}" for index in range(outputs))


def order_warning(file: Path, outputs: int, classes: str) -> str:
    """Return the warning that the classes of a user's file are inferred from its number of outputs."""
    return (
        f"The {outputs} outputs of {file.name} are taken to be {classes} in the usual order, because of "
        "their number; ?labels=FILE gives them other names."
    )


def _is_name(name: str) -> bool:
    return _NO_NAME.fullmatch(name.strip()) is None

"""The paper's models: sets of specifications under one name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from counterground.errors import UsageError, did_you_mean
from counterground.plugins import Registry

# torchvision's classic weights: with IMAGENET1K_V1 an independent reproduction agrees with the paper's
# Table 4 within 0.1 points for ResNet-50 and -101, whose V2 weights are 4 points better on ImageNet.
_IMAGENET = (
    "alexnet",
    "vgg11",
    "vgg13",
    "vgg19",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "vit_b_16",
    "vit_b_32",
    "vit_l_16",
    "vit_l_32",
    "convnext_small",
    "convnext_base",
    "convnext_large",
)


@dataclass(frozen=True)
class ModelSet:
    """Specifications under one name. Added by an entry point of the group ``counterground.model_sets``.

    Attributes:
        name: the name of the entry point, with the prefix ``paper:``.
        members: function that returns the specifications.
    """

    name: str
    members: Callable[[], Sequence[str]]


def set_names() -> list[str]:
    """Return the names of all sets; no other package is imported."""
    return _SETS.names()


def expand_specs(specs: Sequence[str]) -> list[str]:
    """Return the specifications with the paper's sets expanded, each one once, in order.

    ``paper:clip`` names the 28 checkpoints of Table 3, ``paper:imagenet`` the 15 torchvision classifiers of
    Table 4 with the weights the paper used (IMAGENET1K_V1). Other packages add sets.

    Raises:
        UsageError: an unknown set.
    """
    expanded: list[str] = []
    for spec in specs:
        expanded += _members(spec) if spec.startswith("paper:") else [spec]
    return list(dict.fromkeys(expanded))


def _members(name: str) -> Sequence[str]:
    found = _SETS.find(name)
    if found is None:
        names = set_names()
        raise UsageError(f"Unknown set {name!r}; use one of {', '.join(names)}.{did_you_mean(name, names)}")
    return found.members()


def _clip() -> list[str]:
    from counterground.published import load_table

    rows = load_table("checkpoints").to_dicts()
    return [
        f"open_clip:{row['open_clip_model_name']}/{row['open_clip_pretrained']}"
        for row in rows
        if row["table"] == "Table 3"
    ]


_SETS = Registry(
    "counterground.model_sets",
    ModelSet,
    {
        each.name: each
        for each in (
            ModelSet("paper:clip", _clip),
            ModelSet(
                "paper:imagenet", lambda: [f"torchvision:{network}/IMAGENET1K_V1" for network in _IMAGENET]
            ),
        )
    },
)

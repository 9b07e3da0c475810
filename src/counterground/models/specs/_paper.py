"""The paper's models: sets of specifications under one name."""

from __future__ import annotations

from collections.abc import Sequence

from counterground.errors import UsageError, did_you_mean

SETS = ("paper:clip", "paper:imagenet", "paper:lvlm")
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
# MiniGPT-4 has no package: its checkout is expected here; if there is none, the message says how to get it.
_LVLM = ("hf:llava-hf/llava-1.5-7b-hf", "minigpt4:MiniGPT-4")


def expand_specs(specs: Sequence[str]) -> list[str]:
    """Return the specifications with the paper's sets expanded, each one once, in order.

    ``paper:clip`` names the 28 checkpoints of Table 3, ``paper:imagenet`` the 15 torchvision classifiers of
    Table 4 with the weights the paper used (IMAGENET1K_V1), ``paper:lvlm`` LLaVA-1.5-7B and MiniGPT-4, whose
    checkout is the folder ``MiniGPT-4``.

    Raises:
        UsageError: an unknown set.
    """
    expanded: list[str] = []
    for spec in specs:
        expanded += _members(spec) if spec.startswith("paper:") else [spec]
    return list(dict.fromkeys(expanded))


def _members(name: str) -> Sequence[str]:
    if name == "paper:clip":
        return _clip()
    if name == "paper:imagenet":
        return [f"torchvision:{network}/IMAGENET1K_V1" for network in _IMAGENET]
    if name == "paper:lvlm":
        return _LVLM
    raise UsageError(f"Unknown set {name!r}; use one of {', '.join(SETS)}.{did_you_mean(name, SETS)}")


def _clip() -> list[str]:
    from counterground.published import load_table

    rows = load_table("checkpoints").to_dicts()
    return [
        f"open_clip:{row['open_clip_model_name']}/{row['open_clip_pretrained']}"
        for row in rows
        if row["table"] == "Table 3"
    ]

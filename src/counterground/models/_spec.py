"""Model specifications: which loader a string belongs to, and the sets that stand for many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterground.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

LITE = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
SHIPPED = ("counterground:stamps-balanced", "counterground:stamps-biased")
SETS = ("paper:clip", "paper:imagenet", "paper:lvlm")
_LIBRARIES = ("open_clip", "hf", "torchvision", "timm", "counterground", "onnx", "minigpt4")
_ADDRESSES = ("http", "https")
# torchvision's classic weights: with IMAGENET1K_V1 an independent reproduction agrees with the paper's
# Table 4 within 0.1 points for ResNet-50 and -101, whose V2 weights are 4 points better on ImageNet.
_PAPER_IMAGENET = (
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
# MiniGPT-4 has no package: its checkout is looked for here, and where there is none the message tells how.
_PAPER_LVLM = ("hf:llava-hf/llava-1.5-7b-hf", "minigpt4:MiniGPT-4")


def split_spec(spec: str) -> tuple[str, str]:
    """Return the loader of a specification and what it is to load.

    Loaders: ``open_clip``, ``hf``, ``torchvision``, ``timm``, ``counterground``, ``onnx``, ``minigpt4``,
    ``endpoint`` (an address), ``lite``, ``user``.

    Raises:
        UsageError: nothing like it is known; the message suggests what was meant.
    """
    if spec in LITE:
        return "lite", spec
    library, colon, rest = spec.partition(":")
    if library in _ADDRESSES and rest.strip("/"):
        return "endpoint", spec
    if library == "paper":
        _check_set(spec)
        raise UsageError(f"{spec} is a set of models; give it to -m, which expands it.")
    if colon and rest and library in _LIBRARIES:
        return library, rest
    if colon and rest and all(part.isidentifier() for part in [*library.split("."), *rest.split(".")]):
        return "user", spec
    raise UsageError(f"Unknown model {spec!r}.{_suggestion(spec)}")


def expand_specs(specs: Sequence[str]) -> list[str]:
    """Return the specifications with the paper's sets expanded, each one once, in order.

    ``paper:clip`` are the 28 checkpoints of Table 3, ``paper:imagenet`` the 15 torchvision classifiers of
    Table 4 with the weights the paper used (IMAGENET1K_V1), ``paper:lvlm`` LLaVA-1.5-7B and MiniGPT-4, whose
    checkout is the folder ``MiniGPT-4``.

    Raises:
        UsageError: an unknown set.
    """
    expanded: list[str] = []
    for spec in specs:
        if spec.startswith("paper:"):
            _check_set(spec)
            expanded += _SETS[spec]()
        else:
            expanded.append(spec)
    return list(dict.fromkeys(expanded))


def _check_set(spec: str) -> None:
    if spec not in _SETS:
        raise UsageError(f"Unknown set {spec!r}; use one of {', '.join(SETS)}.{did_you_mean(spec, SETS)}")


def _paper_clip() -> list[str]:
    from counterground.published import load_table

    rows = load_table("checkpoints").to_dicts()
    return [
        f"open_clip:{row['open_clip_model_name']}/{row['open_clip_pretrained']}"
        for row in rows
        if row["table"] == "Table 3"
    ]


def _paper_imagenet() -> list[str]:
    return [f"torchvision:{name}/IMAGENET1K_V1" for name in _PAPER_IMAGENET]


def _paper_lvlm() -> list[str]:
    return list(_PAPER_LVLM)


_SETS = {"paper:clip": _paper_clip, "paper:imagenet": _paper_imagenet, "paper:lvlm": _paper_lvlm}


def _suggestion(spec: str) -> str:
    library, colon, rest = spec.partition(":")
    known = [*LITE, *SHIPPED, *SETS]
    close = did_you_mean(spec, known)
    if not close and colon:
        near = did_you_mean(library, _LIBRARIES)
        close = near.replace("?", "") + f", as in {_near(library)}:{rest}?" if near else ""
    return close or (
        " Use open_clip:ARCH/TAG, hf:OWNER/NAME or hf:DIR, torchvision:NAME, timm:NAME, onnx:FILE, "
        "efficientnet-lite0, http:URL, module:function; 'counterground models' lists them."
    )


def _near(library: str) -> str:
    import difflib

    return difflib.get_close_matches(library, _LIBRARIES, n=1)[0]

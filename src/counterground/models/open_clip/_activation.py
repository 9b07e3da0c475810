"""Which activation OpenCLIP weights were trained with, whatever name the user wrote.

OpenCLIP marks weights trained with QuickGELU in its table of pretrained tags, but builds the architecture
the *name* says and only warns when the two disagree (ViT-B/32 LAION400M: ImageNet 62.9 % becomes 60.2 %).
"""

from __future__ import annotations

from dataclasses import dataclass

from counterground.errors import UsageError, did_you_mean

_SUFFIX = "-quickgelu"
# The paper's referee: a plain ``ViT-B-32`` of OpenCLIP 2.24 ran these weights with GELU (their 67.13 / 36.95
# on common / counter; the same weights with QuickGELU give an independent reproduction 70.12 / 41.29).
_PUBLISHED_AS_GELU = {("ViT-B-32", "laion400m_e31"), ("ViT-B-32", "laion400m_e32")}
_PUBLISHED_UNKNOWN = {("ViT-B-16", "dfn2b")}


@dataclass(frozen=True)
class Activation:
    """The architecture to build for a pair of name and tag.

    Attributes:
        name: architecture without the ``-quickgelu`` suffix, which OpenCLIP's tables are keyed by.
        tag: pretrained tag as OpenCLIP spells it.
        quick_gelu: True for QuickGELU, False for GELU.
        trained_quick_gelu: the same for the weights as trained; differs only with ``?as_published``.
        warnings: sentences for the description.
    """

    name: str
    tag: str
    quick_gelu: bool
    trained_quick_gelu: bool
    warnings: tuple[str, ...] = ()


def activation_name(quick_gelu: bool) -> str:
    """Return ``"QuickGELU"`` or ``"GELU"``."""
    return "QuickGELU" if quick_gelu else "GELU"


def base_name(name: str) -> str:
    """Return the architecture name without its ``-quickgelu`` suffix."""
    return name.removesuffix(_SUFFIX)


def resolve_activation(name: str, tag: str, *, as_published: bool = False) -> Activation:
    """Return how to build ``name`` so that the weights ``tag`` run as they were trained.

    Args:
        name: OpenCLIP architecture, with or without ``-quickgelu``.
        tag: OpenCLIP pretrained tag.
        as_published: build ViT-B/32 LAION400M with GELU, as the paper apparently did.

    Raises:
        UsageError: OpenCLIP knows no such architecture or no such tag for it.
    """
    import open_clip

    plain = base_name(name)
    config = open_clip.get_model_config(plain) or open_clip.get_model_config(name)
    tags = open_clip.list_pretrained_tags_by_model(plain)
    if config is None or not tags:
        known = {model for model, _ in open_clip.list_pretrained()}
        raise UsageError(f"OpenCLIP has no pretrained architecture {name!r}.{did_you_mean(name, known)}")
    spelled = tag.lower().replace("-", "_")
    weights = open_clip.get_pretrained_cfg(plain, tag)
    if not weights:
        raise UsageError(
            f"OpenCLIP has no weights {tag!r} for {plain}.{did_you_mean(tag, tags)} "
            f"'counterground models {plain}' lists them."
        )
    # An architecture whose own, unsuffixed configuration says QuickGELU (roberta-ViT-B-32) was trained so,
    # even if the table of tags lacks the mark.
    trained = bool(weights.get("quick_gelu", False)) or bool(config.get("quick_gelu", False))
    quick_gelu, warnings = trained, []
    if as_published and (plain, spelled) in _PUBLISHED_AS_GELU:
        quick_gelu = False
        warnings.append(
            f"As published: {plain}/{spelled} was trained with QuickGELU and runs with GELU here, as the "
            "paper apparently loaded it; its accuracy is lower than that of the weights as trained."
        )
    elif as_published and (plain, spelled) in _PUBLISHED_UNKNOWN:
        warnings.append(
            f"As published: whether the paper ran {plain}/{spelled} with GELU or QuickGELU is unknown; "
            "QuickGELU, which the weights were trained with, is used."
        )
    elif trained != (named := _named_quick_gelu(name)):
        warnings.append(
            f"{plain}/{spelled} was trained with {activation_name(trained)}, which is used although the name "
            f"{name!r} says {activation_name(named)}."
        )
    return Activation(plain, spelled, quick_gelu, trained, tuple(warnings))


def _named_quick_gelu(name: str) -> bool:
    import open_clip

    config = open_clip.get_model_config(name)
    return bool(config.get("quick_gelu", False)) if config else name.endswith(_SUFFIX)

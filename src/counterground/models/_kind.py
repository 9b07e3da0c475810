"""Which kind of model a specification will give, as far as that can be told without loading it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterground.models._spec import split_spec

if TYPE_CHECKING:
    from counterground.models._base import Kind

_KINDS: dict[str, Kind] = {
    "endpoint": "generative",
    "lite": "classifier",
    "minigpt4": "generative",
    "onnx": "classifier",
    "open_clip": "dual_encoder",
    "counterground": "dual_encoder",
    "timm": "classifier",
    "torchvision": "classifier",
}


def expected_kind(spec: str) -> Kind | None:
    """Return the kind of model that ``spec`` names, None where only loading it tells.

    Raises:
        UsageError: an unknown specification.
    """
    loader, rest = split_spec(spec)
    if loader != "hf":
        return _KINDS.get(loader)
    from counterground.models.huggingface._source import find_hf, folder_config, kind_of

    source = find_hf(spec, rest)
    return None if source.folder is None else kind_of(source, folder_config(source))

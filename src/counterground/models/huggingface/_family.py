"""``hf:``: models of transformers, told apart by their configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterground.models.huggingface._loading import pinned, read_config, reading
from counterground.models.huggingface._source import find_hf, kind_of

if TYPE_CHECKING:
    from counterground.models._base import Model, Precision


def load_hf(
    spec: str, rest: str, *, device: str, precision: Precision, as_published: bool, offline: bool
) -> Model:
    """Load ``hf:DIR`` or ``hf:OWNER/NAME[@REVISION]`` with its own tokenisation and preprocessing.

    Raises:
        UsageError: no such folder, an unknown option, or a kind of model that cannot be scored.
        CounterGroundError: files cannot be fetched, read or fitted.
    """
    options: dict[str, Any] = {"device": device, "precision": precision, "as_published": as_published}
    source = find_hf(spec, rest)
    with reading(source, offline=offline):
        source = pinned(source)
        kind = kind_of(source, read_config(source))
        if kind == "classifier":
            from counterground.models.huggingface._classifier import load_hf_classifier

            return load_hf_classifier(source, **options)
        if kind == "dual_encoder":
            from counterground.models.huggingface._dual import load_hf_dual

            return load_hf_dual(source, **options)
    from counterground.models.generative._lvlm import load_lvlm

    return load_lvlm(spec, rest, offline=offline, **options)

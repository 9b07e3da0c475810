"""Which models there are, without loading any."""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import dataclass
from importlib import resources

from counterground.errors import UsageError, did_you_mean
from counterground.models._base import Kind
from counterground.models._spec import LITE, SHIPPED, expand_specs


@dataclass(frozen=True)
class ModelInfo:
    """One line of ``counterground models``.

    Attributes:
        spec: what to give to ``-m``.
        kind: ``"dual_encoder"``, ``"classifier"`` or ``"generative"``.
        parameters: number of parameters, None where it is not known without the network.
        training_data: what the weights were trained on, None where their tag does not say.
        needs_network: whether the weights are fetched on first use (or come from a local cache).
        note: a remark, often empty.
    """

    spec: str
    kind: Kind
    parameters: int | None
    training_data: str | None
    needs_network: bool
    note: str = ""


def list_models(pattern: str | None = None) -> list[ModelInfo]:
    """Return the models whose specification matches ``pattern``, those without need of a network first.

    Args:
        pattern: a part of the specification, a pattern with ``*`` and ``?`` (case does not matter), or one
            of the paper's sets. None lists all.

    Raises:
        UsageError: nothing matches, or an unknown set.
    """
    models = [*_local(), *_torchvision(), *_open_clip(), *_hf(), *_minigpt4(), *_timm()]
    if pattern is None:
        return models
    if pattern.startswith("paper:"):
        # OpenCLIP's models stand under the plain name, whose tag decides the activation.
        members = {spec.replace("-quickgelu/", "/") for spec in expand_specs([pattern])}
        return [model for model in models if model.spec in members]
    wanted = pattern.lower()
    if not any(sign in wanted for sign in "*?["):
        wanted = f"*{wanted}*"
    found = [model for model in models if fnmatch.fnmatchcase(model.spec.lower(), wanted)]
    if not found:
        raise UsageError(f"No model matches {pattern!r}.{_near(pattern, models)}")
    return found


def _near(pattern: str, models: list[ModelInfo]) -> str:
    plain = re.sub(r"[*?\[\]]", "", pattern)
    architectures = {re.split(r"[/.]", model.spec.partition(":")[2])[0] for model in models}
    known = [*architectures, *(model.spec for model in models)]
    return did_you_mean(plain, known) or " 'counterground models' lists all."


def packed_parameters() -> dict[str, dict[str, int]]:
    """Return the counted parameters of OpenCLIP and timm architectures, by library and name."""
    text = (resources.files("counterground.models") / "data" / "parameters.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


def _local() -> list[ModelInfo]:
    from counterground.models.classifiers._lite import LITE_PARAMETERS

    lite = [
        ModelInfo(
            name, "classifier", LITE_PARAMETERS[name], "ImageNet-1K", needs_network=False, note="PyPI package"
        )
        for name in LITE
    ]
    data = resources.files("counterground.models") / "data"
    shipped = [
        ModelInfo(spec, "dual_encoder", _shipped_parameters(spec), "stamps composites", needs_network=False)
        for spec in SHIPPED
        if (data / spec.partition(":")[2]).is_dir()
    ]
    return [*lite, *shipped]


def _shipped_parameters(spec: str) -> int | None:
    import math
    from pathlib import Path

    from safetensors import safe_open

    folder = Path(str(resources.files("counterground.models") / "data" / spec.partition(":")[2]))
    path = folder / "open_clip_model.safetensors"
    if not path.is_file():
        return None
    with safe_open(path, "numpy") as weights:
        names: list[str] = list(weights.keys())
        shapes: list[list[int]] = [weights.get_slice(name).get_shape() for name in names]
    return sum(math.prod(shape) for shape in shapes)


def _torchvision() -> list[ModelInfo]:
    from torchvision import models

    from counterground.models.classifiers._torchvision import classification_models, torchvision_training_data

    return [
        ModelInfo(
            f"torchvision:{name}/{weights.name}",
            "classifier",
            weights.meta["num_params"],
            torchvision_training_data(weights.name),
            needs_network=True,
            note="default" if weights is available.DEFAULT else "",
        )
        for name in classification_models()
        for available in [models.get_model_weights(name)]
        for weights in available
    ]


def _open_clip() -> list[ModelInfo]:
    import open_clip

    from counterground.models._training_data import open_clip_training_data
    from counterground.models.open_clip._activation import base_name, resolve_activation

    counted = packed_parameters()["open_clip"]
    return [
        ModelInfo(
            f"open_clip:{name}/{tag}",
            "dual_encoder",
            counted.get(name),
            open_clip_training_data(tag),
            needs_network=True,
            note="QuickGELU" if resolve_activation(name, tag).quick_gelu else "",
        )
        for name, tag in open_clip.list_pretrained()
        if name == base_name(name)
    ]


def _hf() -> list[ModelInfo]:
    from counterground.models.huggingface._listing import CLASSIFIERS, DUAL_ENCODERS, GENERATIVE

    counted = packed_parameters()
    listed: list[tuple[str, Kind, int | None, str | None]] = [
        *(
            (name, "dual_encoder", counted["open_clip"].get(same or ""), data)
            for name, same, data in DUAL_ENCODERS
        ),
        *((name, "classifier", counted["timm"].get(same), data) for name, same, data in CLASSIFIERS),
        *((name, "generative", None, None) for name in GENERATIVE),
    ]
    note = "among the best known; any other OWNER/NAME or folder works"
    return [
        ModelInfo(f"hf:{name}", kind, parameters, data, needs_network=True, note=note)
        for name, kind, parameters, data in listed
    ]


def _minigpt4() -> list[ModelInfo]:
    note = "a folder with a checkout of its repository"
    return [ModelInfo("minigpt4:MiniGPT-4", "generative", None, None, needs_network=False, note=note)]


def _timm() -> list[ModelInfo]:
    import timm
    from timm.models import get_pretrained_cfg

    from counterground.models._training_data import timm_training_data

    counted = packed_parameters()["timm"]
    return [
        ModelInfo(
            f"timm:{name}",
            "classifier",
            counted.get(name),
            timm_training_data(name.partition(".")[2]),
            needs_network=True,
        )
        for name in timm.list_pretrained()
        if (configuration := get_pretrained_cfg(name)) is not None and configuration.num_classes
    ]

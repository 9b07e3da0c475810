"""Write ``model_facts.csv``: parameters and samples seen of the paper's models, which it does not print.

Run by hand: ``python scripts/make_model_facts.py``. CLIPs are built from OpenCLIP's configurations on the
meta device, which allocates nothing, and counted. Samples seen (``s34b``) come from tags that state
them. torchvision states the parameters of its weights; LLaVA is built from transformers' configuration.
"""

from __future__ import annotations

import csv
import logging
import re
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import open_clip
import polars as pl
import torch
from torchvision import models
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from counterground.published import load_table

DATA = Path(__file__).parents[1] / "src" / "counterground" / "published" / "data"
HEADER = ("model", "family", "parameters", "image_parameters", "samples_seen", "torchvision", "source")
TORCHVISION = {
    "AlexNet": "alexnet",
    "VGG11": "vgg11",
    "VGG13": "vgg13",
    "VGG19": "vgg19",
    "RN18": "resnet18",
    "RN34": "resnet34",
    "RN50": "resnet50",
    "RN101": "resnet101",
    "ViT/B/16": "vit_b_16",
    "ViT/B/32": "vit_b_32",
    "ViT/L/16": "vit_l_16",
    "ViT/L/32": "vit_l_32",
    "ConvNext/S": "convnext_small",
    "ConvNext/B": "convnext_base",
    "ConvNext/L": "convnext_large",
}
_MINIGPT4 = (
    "rounded: Li et al. 2023 (BLIP-2, arXiv 2301.12597, Table 2) state 7.8 billion for the same image "
    "encoder and Q-Former before a language model of 6.7 billion, which Vicuna-7B has too"
)
Row = tuple[str, str, int, int | None, int | None, str | None, str]


def count_clip(name: str) -> tuple[int, int]:
    """Return the parameters of an OpenCLIP architecture, and those of its image tower."""
    options: dict[str, Any] = {"load_weights": False, "pretrained_text": False, "pretrained_image": False}
    with torch.device("meta"):
        model = open_clip.create_model(name, device="meta", **options)
    towers = (model, model.visual)
    total, image = (sum(parameter.numel() for parameter in tower.parameters()) for tower in towers)
    return total, image


def samples_seen(tag: str) -> int | None:
    """Return the samples that an OpenCLIP tag states, as in ``laion2b_s34b_b88k``."""
    found = re.search(r"_s(\d+)([bm])_", tag)
    return int(found[1]) * {"b": 10**9, "m": 10**6}[found[2]] if found else None


def clips() -> Iterator[Row]:
    """Yield the 28 CLIPs of Table 3."""
    rows = load_table("checkpoints").filter(pl.col("table") == "Table 3")
    for row in rows.iter_rows(named=True):
        name, tag = row["open_clip_model_name"], row["open_clip_pretrained"]
        source = f"counted: OpenCLIP {version('open_clip_torch')}, configuration {name}"
        seen = samples_seen(tag)
        source += f"; samples from the tag {tag}" if seen else ""
        yield (
            f"CLIP-{row['pretrain_dataset']}-{row['backbone']}",
            "clip",
            *count_clip(name),
            seen,
            None,
            source,
        )


def classifiers() -> Iterator[Row]:
    """Yield the 15 ImageNet models of Table 4."""
    for backbone, name in TORCHVISION.items():
        stated = models.get_model_weights(name).IMAGENET1K_V1.meta["num_params"]
        source = f"torchvision {version('torchvision').split('+')[0]}, {name}/IMAGENET1K_V1, num_params"
        yield backbone, "imagenet", stated, stated, None, name, source


def generative() -> Iterator[Row]:
    """Yield the two LVLMs of Table 5."""
    image = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_attention_heads=16,
        num_hidden_layers=24,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    with torch.device("meta"):
        llava = LlavaForConditionalGeneration(
            LlavaConfig(vision_config=image, text_config=LlamaConfig(vocab_size=32064))
        )
    total = sum(parameter.numel() for parameter in llava.parameters())
    tower = sum(parameter.numel() for parameter in llava.model.vision_tower.parameters())
    source = f"counted: transformers {version('transformers')}, configuration of llava-hf/llava-1.5-7b-hf"
    yield "MiniGPT4-Viccuna7B", "lvlm", 7_800_000_000, None, None, None, _MINIGPT4
    yield "LLaVA1.5-7B", "lvlm", total, tower, None, None, source


def main() -> None:
    """Write the table."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with (DATA / "model_facts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows([*clips(), *classifiers(), *generative()])


if __name__ == "__main__":
    main()

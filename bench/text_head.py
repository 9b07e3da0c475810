"""Our zero-shot head against OpenCLIP's builder: 80 templates x 100 names, ViT-B-32 with random weights.

python bench/text_head.py [NAMES]

The builder works name by name, so in each pair it builds a different tenth of the names, and its time counts
ten times. These columns of both heads are compared.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from _pairs import Run, here, paired, publish

NAMES = int(sys.argv[1]) if len(sys.argv) > 1 else 100
TENTH = NAMES // 10


def main() -> None:
    """Time both builders on the same weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    from counterground.models import DualEncoder, load_model
    from counterground.photos import imagenet_names, prompt_templates

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32").eval()
    templates, names = list(prompt_templates("openai")), list(imagenet_names("openai")[:NAMES])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file(model.state_dict(), path)
        ours = load_model(f"open_clip:ViT-B-32@{path}", device="cpu")
    assert isinstance(ours, DualEncoder)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    found, expected, pair = np.empty((0,)), {}, count()

    def build() -> None:
        nonlocal found
        texts = [template.replace("{}", name) for name in names for template in templates]
        means = ours.encode_texts(texts).reshape(len(names), len(templates), -1).mean(axis=1)
        found = means / np.linalg.norm(means, axis=1, keepdims=True)

    def build_a_tenth() -> None:
        first = next(pair) * TENTH % NAMES
        some = names[first : first + TENTH]
        head = open_clip.build_zero_shot_classifier(model, tokenizer, some, templates)
        expected[first] = head.numpy().T

    def theirs() -> Run:
        run = here(build_a_tenth)
        return replace(run, seconds=10 * run.seconds, processor=10 * run.processor)

    row = paired(
        f"zero-shot head, {len(templates)} templates x {NAMES} names, ViT-B-32",
        partial(here, build),
        "OpenCLIP's builder (a tenth, times ten)",
        theirs,
        wanted="20; by processor time 12",
        clock="The clock holds tokenising, the text tower and the mean; both in one process, model loaded.",
    )
    difference = max(
        np.abs(found[first : first + len(head)] - head).max() for first, head in expected.items()
    )
    publish(replace(row, notes=f"Largest difference in the {TENTH * len(expected)} heads: {difference:.1e}."))


if __name__ == "__main__":
    main()

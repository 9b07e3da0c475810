"""Scoring 20 answers about a photo: image and question encoded once, against 20 full forward passes.

Run: python bench/lvlm_cache.py. Weights are random: speed does not depend on them. Compare the ratio, which
holds on other machines; the seconds do not.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers.utils import logging

from counterground.models import load_model

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import tiny_lvlm

ANSWERS = 20
ROUNDS = 3
QUESTION = "What is the main object in the image?"
# Sides of photos that give each family a prefix of at least 300 tokens.
FAMILIES = {"llava": (336, 336), "llava_next": (168, 168), "qwen2_vl": (700, 500), "qwen2_5_vl": (700, 500)}


def machine() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def seconds(model, photo: Image.Image, answers: list[str], *, shared: bool) -> tuple[float, np.ndarray]:
    """Return the losses of a photo and its median processor time, which other programs hardly affect."""
    model.shares = shared
    times = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        losses, _ = model.losses(photo, [QUESTION] * len(answers), answers)
        times.append(time.process_time() - start)
    return float(np.median(times[1:])), losses


def main() -> int:
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    words = [word.strip("?.,:") for word in tiny_lvlm.WORDS.split()]
    answers = [f"A {first} {second}" for first, second in zip(words, words[7:], strict=False)][:ANSWERS]
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, torch {torch.__version__}, 1 thread, float32")
    print(
        f"{'family':12}{'prefix tokens':>14}{'full, s':>10}{'shared, s':>11}{'ratio':>8}{'largest gap':>13}"
    )
    slow = []
    for family, size in FAMILIES.items():
        with tempfile.TemporaryDirectory() as folder:
            image = size[0] if family.startswith("llava") else 56
            place = tiny_lvlm.build(family, Path(folder), layers=4, width=128, image=image)
            model = load_model(f"hf:{place}", device="cpu")
        photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
        prefix = model._conversation.prepared(photo, QUESTION)["input_ids"].shape[1]
        full, separate = seconds(model, photo, answers, shared=False)
        shared, together = seconds(model, photo, answers, shared=True)
        gap = float(np.abs(separate - together).max())
        print(f"{family:12}{prefix:14}{full:10.3f}{shared:11.3f}{full / shared:7.1f}x{gap:13.1e}")
        if prefix < 300 or full < 5 * shared:
            slow.append(family)
    if slow:
        print(f"Under 5 times, or under 300 tokens: {', '.join(slow)}.")
    return bool(slow)


if __name__ == "__main__":
    sys.exit(main())

"""How much faster our zero-shot text head is than OpenCLIP's own builder, in one run.

ViT-B-32 with random weights, 80 OpenAI templates x 12 classes: ``python bench/text_head.py``. ``CLASSES`` and
``THREADS`` in the environment choose others.
"""

from __future__ import annotations

import datetime
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

CLASSES = int(os.environ.get("CLASSES", "12"))
THREADS = int(os.environ.get("THREADS", "2"))


def machine() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def main() -> None:
    """Time both builders on the same weights and print seconds, ratio and the largest difference."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    from counterground.models import DualEncoder, load_model
    from counterground.photos import imagenet_names, prompt_templates

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32").eval()
    templates = list(prompt_templates("openai"))
    names = list(imagenet_names("openai")[:CLASSES])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file(model.state_dict(), path)
        ours = load_model(f"open_clip:ViT-B-32@{path}", device="cpu")
    assert isinstance(ours, DualEncoder)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    tokenizer(["warm"])
    ours.encode_texts(["warm"])

    start, cpu = time.perf_counter(), time.process_time()
    theirs = open_clip.build_zero_shot_classifier(model, tokenizer, names, templates).numpy()
    seconds_theirs, cpu_theirs = time.perf_counter() - start, time.process_time() - cpu
    start, cpu = time.perf_counter(), time.process_time()
    texts = [template.replace("{}", name) for name in names for template in templates]
    embedded = ours.encode_texts(texts).reshape(CLASSES, len(templates), -1).mean(axis=1)
    head = (embedded / np.linalg.norm(embedded, axis=1, keepdims=True)).T
    seconds_ours, cpu_ours = time.perf_counter() - start, time.process_time() - cpu

    ratio = seconds_theirs / seconds_ours
    print(f"{len(templates)} templates x {CLASSES} classes, ViT-B-32 (random weights), {THREADS} threads")
    print(f"OpenCLIP's builder  {seconds_theirs:7.2f} s  (processor {cpu_theirs:.2f} s)")
    print(f"CounterGround       {seconds_ours:7.2f} s  (processor {cpu_ours:.2f} s)")
    print(f"ratio               {ratio:7.1f} (at least 8 wanted; processor {cpu_theirs / cpu_ours:.1f})")
    print(f"largest difference  {np.abs(head - theirs).max():.1e}")
    print(f"{machine()}, torch {torch.__version__}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}")
    raise SystemExit(0 if ratio >= 8 else 1)


if __name__ == "__main__":
    main()

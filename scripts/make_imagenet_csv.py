"""Write the ImageNet-1K name lists and OpenAI's prompt templates that ``counterground.photos`` carries.

Run by hand: ``python scripts/make_imagenet_csv.py``. Sources: OpenCLIP's zero-shot metadata (OpenAI's cleaned
names and templates) and timm's ImageNet table (wnids and WordNet names, in the order of the 1000 logits).
"""

from __future__ import annotations

import csv
from pathlib import Path

from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
from timm.data import ImageNetInfo

DATA = Path(__file__).parents[1] / "src" / "counterground" / "photos" / "data"


def main() -> None:
    """Write ``imagenet.csv`` and ``openai_templates.txt``."""
    info = ImageNetInfo()
    with (DATA / "imagenet.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["index", "wnid", "openai_name", "wordnet_names"])
        for index, (wnid, name) in enumerate(zip(info.label_names(), IMAGENET_CLASSNAMES, strict=True)):
            writer.writerow([index, wnid, name, info.index_to_description(index)])
    templates = "".join(f"{template('{}')}\n" for template in OPENAI_IMAGENET_TEMPLATES)
    (DATA / "openai_templates.txt").write_text(templates, encoding="utf-8")


if __name__ == "__main__":
    main()

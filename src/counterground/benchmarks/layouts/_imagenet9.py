"""ImageNet-9, the backgrounds challenge (Xiao et al. 2020): nine wide classes in eight variants.

Folders, variants, the gap and how predictions of ImageNet models are mapped: README.md, in9_eval.py,
challenge_eval.py and tools/ of MadryLab/backgrounds_challenge; names of files: main.py of
rabbit-abacus/roleofimagebackgrounds; WordNet synsets and how many ImageNet classes each covers: the paper's
table 4.

Not verified: which ImageNet classes ``in_to_in9.json`` maps. A copy of it in or beside the folder is used.
Otherwise the members are those below, derived from WordNet 3.0: each class's descendants, minus those that
the table's numbers leave out where a synset has two parents (171 and 172 are also racers; 80 to 86 game; dogs
and cats domestic animals). They agree with the table, except for wheeled vehicles: 44, where it has 42; which
two it lacks is not known. Also not verified: the number of photos; 450 per class and variant is what others
report.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from counterground.benchmarks._layout import Copy, LayoutBenchmark
from counterground.errors import CounterGroundError
from counterground.metrics import Contrast, Design

_NEEDED = ("mixed_same", "mixed_rand")
_VARIANTS = (*_NEEDED, "original", "mixed_next", "only_fg", "no_fg", "only_bg_b", "only_bg_t")
_VEHICLES = """
407-408 428 436 444 468 511 547 555 561 565 569 573 575 586 603 609 612 627 656 660-661 665 670-671 675 690
705 717 734 751 757 791 802-803 817 820 829 847 864 866-867 870 880
"""
_INSTRUMENTS = """
401-402 420 432 486 494 513 541 546 558 566 577 579 593-594 641-642 683-684 687 699 776 822 875 881 889
"""
_RANGES = {
    "dog": "151-170 173-268",
    "bird": "7-24 87-100 127-146",
    "wheeled vehicle": _VEHICLES,
    "reptile": "33-68",
    "carnivore": "269-280 286-299 356-362 387-388",
    "insect": "300-326",
    "musical instrument": _INSTRUMENTS,
    "primate": "365-384",
    "fish": "0-6 389-397",
}
_MAPPING = "in_to_in9.json"


def _members(ranges: str) -> tuple[int, ...]:
    bounds = [part.partition("-") for part in ranges.split()]
    return tuple(i for first, _, last in bounds for i in range(int(first), int(last or first) + 1))


def _mapped(mapping: Any) -> dict[str, tuple[int, ...]]:
    """Return the ImageNet classes of each of the nine; -1 stands for none of them."""
    members: dict[str, list[int]] = {name: [] for name in _RANGES}
    places = dict(enumerate(members.values()))
    for index, number in mapping.items():
        if type(number) is not int or not -1 <= number < len(members):
            raise ValueError(f"class {index[:20]!r} has {number!r}")
        places.get(number, []).append(int(index))
    if empty := [name for name, found in members.items() if not found]:
        raise ValueError(f"no class is a {empty[0]}")
    return {name: tuple(sorted(found)) for name, found in members.items()}


def _read(copy: Copy) -> pl.DataFrame:
    places = (_MAPPING, f"../{_MAPPING}")
    mapping = next((name for name in places if (copy.root / name).is_file()), None)
    if mapping is None:
        copy.notes.append(
            f"{_MAPPING} is not in this copy: which ImageNet classes count as which of the nine was derived "
            "from WordNet, and is not verified for wheeled vehicles. Put the authors' file beside the "
            "folders and run `counterground benchmarks get imagenet9 --from FOLDER`."
        )
    else:
        try:
            copy.classes.update(_mapped(copy.json(mapping)))
        except (ValueError, AttributeError) as error:
            raise CounterGroundError(f"{copy.root / mapping} is not as published: {error!r}.") from error
    here = [name for name in _VARIANTS if name in _NEEDED or (copy.root / name).is_dir()]
    if absent := [name for name in _VARIANTS if name not in here]:
        copy.notes.append(f"This copy lacks the variants {', '.join(absent)}.")
    folders = {f"{number:02d}_{name}": name for number, name in enumerate(_RANGES)}
    photos = copy.grid("{variant}/val/{class_name}", variant=here, class_name=folders)
    return photos.with_columns(cluster=pl.col("path").str.extract(r"(n\d+_\d+)[^/]*$"))


IMAGENET9 = LayoutBenchmark(
    name="imagenet9",
    description="nine broad classes of ImageNet: foregrounds on other backgrounds, alone, or removed",
    marks=tuple(f"{name}/val" for name in _NEEDED),
    read=_read,
    classes={name: _members(ranges) for name, ranges in _RANGES.items()},
    design=Design(
        cells=("class_name", "variant"),
        contrasts=(Contrast.parse("bg_gap: variant=mixed_same - variant=mixed_rand"),),
    ),
    counts={(name, variant): 450 for name in _RANGES for variant in _VARIANTS},
    licence="of the photos: ImageNet's terms, non-commercial research; of the variants: not stated",
    homepage="https://github.com/MadryLab/backgrounds_challenge",
    by_hand="Get backgrounds_challenge_data.tar.gz from the releases of MadryLab/backgrounds_challenge.",
    urls=(
        "https://github.com/MadryLab/backgrounds_challenge/releases/download/data/backgrounds_challenge_data.tar.gz",
    ),
    cite=("xiao2020noise", "deng2009imagenet"),
).built_in()

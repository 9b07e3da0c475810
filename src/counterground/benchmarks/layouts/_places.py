"""Data sets whose photos lie in folders by place, or in a table: Waterbirds to SpuCoAnimals.

The docstring of each reader says where its facts come from and which were not verified.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import Any

import polars as pl

from counterground.benchmarks._layout import Copy, LayoutBenchmark, as_published, common_if
from counterground.errors import CounterGroundError
from counterground.files import MOST_TEXT, open_regular
from counterground.metrics import Contrast, Design

_Cells = dict[tuple[str, ...], int]


def _by_place(training: _Cells) -> Design:
    return Design(cells=("class_name", "background"), weights={"training": training})


_BIRDS = {"0": "landbird", "1": "waterbird"}
_PLACES = {"0": "land", "1": "water"}
_SPLITS = {"train": "0", "val": "1", "test": "2"}


def _waterbird_counts(split: str) -> _Cells:
    sizes = {"train": (3498, 184, 56, 1057), "val": (467, 466, 133, 133), "test": (2255, 2255, 642, 642)}
    cells = ((bird, place) for bird in _BIRDS.values() for place in _PLACES.values())
    return dict(zip(cells, sizes[split], strict=True))


def waterbirds(split: str) -> LayoutBenchmark:
    """Waterbirds (Sagawa et al. 2020): birds of CUB on backgrounds of Places.

    Layout, codes, averages and the archive's address: README.md and data/cub_dataset.py of
    kohpangwei/group_DRO, and WILDS' waterbirds_dataset.py, which also states the licence. Group sizes: as
    several repositories that read ``metadata.csv`` state them, the training ones as in the paper.
    """

    def read(copy: Copy) -> pl.DataFrame:
        frame = copy.table("metadata.csv", ("img_filename", "y", "place", "place_filename", "split"))
        with as_published(copy.root / "metadata.csv"):
            return frame.filter(split=_SPLITS[split]).select(
                path="img_filename",
                class_name=pl.col("y").replace_strict(_BIRDS),
                background=pl.col("place").replace_strict(_PLACES),
                group=common_if(pl.col("y") == pl.col("place")),
                cluster="place_filename",
            )

    return LayoutBenchmark(
        name="waterbirds",
        description="landbirds and waterbirds, cut out and placed on land and on water",
        marks=("metadata.csv",),
        read=read,
        classes=tuple(_BIRDS.values()),
        design=_by_place(_waterbird_counts("train")),
        counts=_waterbird_counts(split),
        licence="non-commercial research and education",
        homepage="https://github.com/kohpangwei/group_DRO",
        by_hand="Get waterbird_complete95_forest2water2.tar.gz as the README of kohpangwei/group_DRO says.",
        urls=("https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz",),
    )


_GROUPS = "imageID_to_group.pkl"
_USUAL = {"cat": "indoor", "dog": "outdoor"}


class _PlainData(pickle._Unpickler):  # noqa: SLF001 - see the docstring
    """Read dicts, lists and texts only: a pickle could otherwise run any program.

    It is the reader in Python, without arrays of bytes: a few bytes make the one in C allocate gigabytes for
    the pickle's memo, and either for such an array.
    """

    dispatch = {**pickle._Unpickler.dispatch}  # noqa: RUF012, SLF001 - as in the base
    del dispatch[pickle.BYTEARRAY8[0]]

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it holds {module}.{name}, and should hold only texts")


def _place_by_id(copy: Copy) -> dict[str, str]:
    """Return indoor or outdoor by the photo's id: the file maps it to a list such as ``['cat(indoor)']``."""
    try:
        with open_regular(copy.root / _GROUPS, MOST_TEXT) as file:
            groups = _PlainData(BytesIO(file.read())).load()
        return {photo: group.partition("(")[2].removesuffix(")") for photo, (group,) in groups.items()}
    except Exception as error:  # a damaged pickle may raise anything, even MemoryError
        reason = str(error) if isinstance(error, OSError | pickle.UnpicklingError) else "it is damaged"
        raise CounterGroundError(f"Cannot read {copy.root / _GROUPS}: {reason}.") from error


def metashift(split: str) -> LayoutBenchmark:
    """MetaShift, cats and dogs in and out of doors (Liang and Zou 2022), as the authors' script writes it.

    Layout, sizes and the groups' file: README.md and dataset/subpopulation_shift_cat_dog_indoor_outdoor.py of
    Weixin-Liang/MetaShift. The script takes photos of Visual Genome (GQA's) and links or copies them.
    """
    folders = {"test": "val_out_of_domain", "train": "train"}

    def counts(usual: int, other: int) -> _Cells:
        places = ("indoor", "outdoor")
        return {(name, at): usual if at == _USUAL[name] else other for name in _USUAL for at in places}

    def read(copy: Copy) -> pl.DataFrame:
        photos = copy.grid(f"{folders[split]}/{{class_name}}", class_name=tuple(_USUAL))
        known = _place_by_id(copy)
        places = [known.get(path.rpartition("/")[2].rpartition(".")[0]) for path in photos["path"]]
        for path, place in zip(photos["path"], places, strict=True):
            if place not in _USUAL.values():
                raise CounterGroundError(
                    f"{_GROUPS} says that {path} was taken {place!r}, not indoor or outdoor: both must come "
                    "from one run."
                )
        usual = pl.col("background") == pl.col("class_name").replace_strict(_USUAL)
        return photos.with_columns(background=pl.Series(places)).with_columns(group=common_if(usual))

    training = counts(750, 100)
    return LayoutBenchmark(
        name="metashift",
        description="cats and dogs, indoors and outdoors, from Visual Genome",
        marks=(_GROUPS, *folders.values()),
        read=read,
        classes=tuple(_USUAL),
        design=_by_place(training),
        counts=training if split == "train" else counts(144, 144),
        licence="of the scripts: MIT; of the photos: Visual Genome's, not verified",
        homepage="https://github.com/Weixin-Liang/MetaShift",
        by_hand="Run dataset/subpopulation_shift_cat_dog_indoor_outdoor.py of Weixin-Liang/MetaShift.",
    )


def nico() -> LayoutBenchmark:
    """NICO++ (Zhang et al. 2023): 60 classes in six contexts that all of them share.

    Contexts and classes: README.md of xxgege/NICO-plus, and the folders of the download as several readers of
    it list them (``public_dg_0416/train/<context>/<class>``); that it has six contexts of the paper's ten,
    and a flat test folder without labels: issue 1 there. Not verified: the number of photos, which one reader
    states; the licence.

    The field reports the accuracy in each context, left out of training in turn. The contrasts are ours: all
    photos against those of one context, within the class.
    """
    contexts = ("autumn", "dim", "grass", "outdoor", "rock", "water")
    written = """
airplane bear bicycle bird bus butterfly cactus car cat chair clock corn cow crab crocodile dog dolphin
elephant fishing_rod flower football fox frog giraffe goose gun hat helicopter horse hot_air_balloon
kangaroo lifeboat lion lizard mailbox monkey motorcycle ostrich owl pineapple pumpkin rabbit racket
sailboat scooter seal sheep ship shrimp spider squirrel sunflower tent tiger tortoise train truck
umbrella wheat wolf
"""
    classes = tuple(name.replace("_", " ") for name in written.split())
    return LayoutBenchmark(
        name="nico++",
        description="60 classes in autumn, in dim light, on grass, outdoors, on rock and in water",
        marks=contexts,
        read=lambda copy: copy.grid("{background}/{class_name}", background=contexts, class_name=classes),
        classes=classes,
        design=Design(
            cells=("class_name", "background"),
            contrasts=tuple(Contrast.parse(f"{name}: all - background={name}") for name in contexts),
        ),
        n_photos=88866,
        licence="not verified",
        homepage="https://github.com/xxgege/NICO-plus",
        by_hand="Get the archive of track 1 by the links of xxgege/NICO-plus.",
    )


_KINDS = ("urban", "country")
_AGREE = {"common": 0.95, "uncommon": 0.05}


def urbancars(split: str) -> LayoutBenchmark:
    """UrbanCars (Li et al. 2023): urban and country cars, each with a background and an object beside it.

    Folders, sizes and gaps: dataset/urbancars.py, create_datasets/urbancars/gen_urbancars.py and
    urbancars_trainers/base_trainer.py of facebookresearch/Whac-A-Mole. The gaps have the opposite sign here:
    what is lost against the accuracy in the distribution of the training set. The photos are not published:
    the script makes them.
    """
    classes = {kind: f"{kind} car" for kind in _KINDS}
    cells = [(name, bg, co) for name in classes.values() for bg in _AGREE for co in _AGREE]

    def read(copy: Copy) -> pl.DataFrame:
        photos = copy.grid(
            f"bg-0.5_co_occur_obj-0.5/{split}/obj-{{class_name}}_bg-{{background}}_co_occur_obj-{{co_object}}",
            suffixes=(".jpg",),  # masks are PNG
            class_name=classes,
            background=_KINDS,
            co_object=_KINDS,
        )
        own = pl.col("class_name").str.extract(r"(\w+)")
        return photos.with_columns(
            mask=pl.col("path").str.replace(r"\.jpg$", "_mask.png"),
            bg=common_if(pl.col("background") == own, "uncommon"),
            co=common_if(pl.col("co_object") == own, "uncommon"),
        )

    return LayoutBenchmark(
        name="urbancars",
        description="urban and country cars, with a typical or atypical background and nearby object",
        marks=("bg-0.5_co_occur_obj-0.5",),
        read=read,
        classes=tuple(classes.values()),
        design=Design(
            cells=("class_name", "bg", "co"),
            contrasts=(
                Contrast.parse("bg_gap: average(training) - bg=uncommon & co=common"),
                Contrast.parse("co_gap: average(training) - bg=common & co=uncommon"),
                Contrast.parse("both_gap: average(training) - bg=uncommon & co=uncommon"),
            ),
            weights={"training": {cell: _AGREE[cell[1]] * _AGREE[cell[2]] for cell in cells}},
        ),
        counts=dict.fromkeys(cells, 125),
        licence="of Stanford Cars, Places and LVIS, from which it is made; not verified",
        homepage="https://github.com/facebookresearch/Whac-A-Mole",
        by_hand="Make it with create_urbancars.sh of facebookresearch/Whac-A-Mole.",
    )


_DOGS = ("bulldog", "dachshund", "labrador", "corgi")  # the order of the places below
_SIZE = 3168  # photos of a breed in a place, in each of two environments
_TRAINED = int(0.97 * _SIZE) + int(0.87 * _SIZE)  # of them in training, of both; the rest is filler
_ENTIRE = "hofkueo8qvaqlp3/spawrious224__entire_dataset"
_VARIANTS = {  # places of the breeds in training and in the test; of the filler; the archive
    "o2o_easy": (
        "desert jungle dirt snow",
        "dirt snow desert jungle",
        "beach",
        "kwhiv60ihxe3owy/spawrious224__o2o_easy",
    ),
    "o2o_medium": (
        "mountain beach dirt jungle",
        "jungle dirt beach snow",
        "desert",
        "x03gkhdwar5kht4/spawrious224__o2o_medium",
    ),
    "o2o_hard": (
        "jungle mountain snow desert",
        "mountain snow desert jungle",
        "beach",
        "p1ry121m2gjj158/spawrious224__o2o_hard",
    ),
    "m2m_easy": ("desert mountain dirt jungle", "dirt jungle mountain desert", None, _ENTIRE),
    "m2m_medium": ("beach snow mountain desert", "desert mountain beach snow", None, _ENTIRE),
    "m2m_hard": ("dirt jungle snow beach", "snow beach dirt jungle", None, _ENTIRE),
}


def spawrious(variant: str) -> LayoutBenchmark:
    """Spawrious (Lynch et al. 2023): four breeds of dogs, made by a diffusion model, in six places.

    Folders, combinations, sizes and the archives' addresses: spawrious/torch.py of aengusl/spawrious;
    licence: its README. Training combinations are common, those of the test set counter. The field reports
    the accuracy on the test set, which is the accuracy on counter photos here; a model trained on Spawrious
    has seen the others.
    """
    trained, tested, filler, archive = _VARIANTS[variant]
    usual, other = trained.split(), tested.split()
    shares: _Cells = {}
    groups: dict[tuple[str, ...], str | None] = {}
    for number, dog in enumerate(_DOGS):
        for at in [number] if filler else [number, number ^ 1]:  # many-to-many: two breeds share two places
            shares[dog, usual[at]] = _TRAINED if filler else _SIZE
            groups |= {(dog, usual[at]): "common", (dog, other[at]): "counter"}
        if filler:
            shares[dog, filler] = 2 * _SIZE - _TRAINED
            groups[dog, filler] = None
    environments = ("0", "1") if filler else ("0",)

    def read(copy: Copy) -> pl.DataFrame:
        parts = [
            copy.grid(
                "{environment}/{background}/{class_name}",
                environment=environments,
                background=(place,),
                class_name=(dog,),
            ).with_columns(group=pl.lit(group, pl.String))
            for (dog, place), group in sorted(groups.items(), key=lambda cell: cell[0])
        ]
        return pl.concat(parts).drop("environment")

    return LayoutBenchmark(
        name="spawrious",
        description="four dog breeds in six places, generated by a diffusion model",
        marks=("0",),
        read=read,
        classes=tuple(sorted(_DOGS)),
        design=_by_place(shares),
        counts=dict.fromkeys(groups, _SIZE * len(environments)),
        licence="MIT",
        homepage="https://github.com/aengusl/spawrious",
        by_hand=f"Get {archive.partition('/')[2]}.tar.gz by the links of aengusl/spawrious.",
        urls=(f"https://www.dropbox.com/s/{archive}.tar.gz?dl=1",),
    )


_PARTS = {  # folder -> classes (folder -> name), each with the place that is usual for it
    "spuco_birds": ({"landbirds": "landbird", "waterbirds": "waterbird"}, ("land", "water")),
    "spuco_dogs": ({"small_dogs": "small dog", "big_dogs": "big dog"}, ("indoor", "outdoor")),
}
_SPUCO_SIZES = {  # of photos in the usual and in the other place, of birds and of dogs
    "train": ((10000, 500), (10000, 500)),
    "val": ((500, 25), (1000, 50)),
    "test": ((500, 500), (500, 500)),
}


def _spuco_counts(split: str) -> _Cells:
    return {
        (name, place): sizes[place != usual]
        for (names, places), sizes in zip(_PARTS.values(), _SPUCO_SIZES[split], strict=True)
        for name, usual in zip(names.values(), places, strict=True)
        for place in places
    }


def spuco_animals(split: str) -> LayoutBenchmark:
    """SpuCoAnimals (Joshi et al. 2023): birds on land and water, dogs in and out of doors, from ImageNet.

    Folders, sizes and the archives' addresses: spuco_birds.py, spuco_dogs.py and spuco_animals.py in
    src/spuco/datasets of BigML-CS-UCLA/SpuCo.
    """
    usual = {
        name: place for part in _PARTS.values() for name, place in zip(part[0].values(), part[1], strict=True)
    }

    def read(copy: Copy) -> pl.DataFrame:
        photos = pl.concat(
            copy.grid(f"{part}/{split}/{{class_name}}/{{background}}", class_name=names, background=places)
            for part, (names, places) in _PARTS.items()
        )
        is_usual = pl.col("background") == pl.col("class_name").replace_strict(usual)
        return photos.with_columns(group=common_if(is_usual))

    return LayoutBenchmark(
        name="spuco-animals",
        description="birds on land and water, dogs indoors and outdoors, from ImageNet",
        marks=tuple(_PARTS),
        read=read,
        classes=tuple(usual),
        design=_by_place(_spuco_counts("train")),
        counts=_spuco_counts(split),
        licence="of the code: MIT; of the photos: ImageNet's terms, non-commercial research",
        homepage="https://github.com/BigML-CS-UCLA/SpuCo",
        by_hand="Get spuco_birds and spuco_dogs with the package spuco, and put both folders into one.",
        urls=(
            "https://ucla.box.com/shared/static/zrsx09ik7lqad1e389w06f1c4nbajo9z",
            "https://ucla.box.com/shared/static/u3dkllvq7a2py4x443pqul295wwd549e",
        ),
    )

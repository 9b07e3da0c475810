"""FOCUS (Kattakinda and Feizi 2022): ten classes at common and uncommon times, weathers and places.

Annotations, what counts as uncommon, and which ImageNet classes count as which: src/experiments/ of
priyathamkat/focus (dataset.py, evaluate_model.py); the table of annotations.db: a repository that reads it.
Not verified: the number of photos (the paper says about 21,000), and the licence of the photos: LICENSE.md is
the software's.

The paper reports accuracy by the number of uncommon attributes, and common minus uncommon for each of them;
"none" counts as neither. Photos with no uncommon attribute are common here, all others counter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from counterground.benchmarks._layout import Copy, LayoutBenchmark
from counterground.errors import CounterGroundError
from counterground.files import open_regular
from counterground.metrics import DROP, Contrast, Design

_CLASSES = {
    "truck": (407, 555, 569, 654, 675, 717, 757, 779, 864, 867),
    "car": (436, 468, 511, 609, 627, 656, 705, 734, 751, 817),
    "plane": (404, 895),
    "ship": (403, 472, 510, 554, 625, 628, 693, 724, 780, 814, 914),
    "cat": tuple(range(281, 286)),
    "dog": (*range(151, 269), *range(273, 276)),
    "horse": (339, 340),
    "deer": (351, 352, 353),
    "frog": (30, 31, 32),
    "bird": (*range(7, 25), *range(80, 101), *range(127, 147)),
}
# A view may make rows without end.
_NOT_STORED = "SELECT 1 FROM sqlite_master WHERE lower(name) = 'annotations' AND type <> 'table'"
_LONGEST = 2**16  # bytes of a row
_SETTINGS = ("time", "weather", "place")
_WEATHERS = frozenset({"foggy", "raining", "snowing"})  # uncommon for all
_PLACES = {
    "truck": "indoors rocks snow water",
    "car": "indoors rocks snow water",
    "plane": "forest indoors rocks sand snow water",
    "ship": "forest grass indoors rocks sand street snow",
    "cat": "forest rocks sand snow water",
    "dog": "forest rocks snow",
    "horse": "indoors rocks street snow water",
    "deer": "indoors rocks sand street snow water",
    "frog": "indoors street snow",
    "bird": "indoors street snow",
}


def _read(copy: Copy) -> pl.DataFrame:
    file = copy.root / "annotations.db"
    try:
        open_regular(file).close()
        rows = list(_rows(file))
    except (OSError, sqlite3.Error, ValueError) as error:
        raise CounterGroundError(f"Cannot read {file}: {error}.") from error
    return pl.DataFrame(rows, infer_schema_length=None)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    query = "SELECT file_name, category, time, weather, locations FROM annotations ORDER BY file_name"
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        if database.execute(_NOT_STORED).fetchone():
            raise ValueError("annotations is not a table")
        for values in database.execute(query):
            yield _row(*values)


def _row(file: str, name: str, time: str, weather: str, places: str) -> dict[str, Any]:
    for value in (file, name, time, weather, places):
        if not isinstance(value, str):
            raise ValueError(f"{file!r} has {value!r} where a text belongs")  # noqa: TRY004 - as other flaws
    if name not in _PLACES:
        raise ValueError(f"{file!r} is of the class {name!r}, which FOCUS does not have")
    here = {place.strip() for place in places.split(",")}
    uncommon = {
        "time_setting": None if time == "none" else time == "night" and name != "frog",
        "weather_setting": None if weather == "none" else weather in _WEATHERS,
        "place_setting": None if here == {"none"} else not here.isdisjoint(_PLACES[name].split()),
    }
    settings = {None: None, True: "uncommon", False: "common"}
    return {
        "path": file.lstrip("/"),
        "class_name": name,
        "background": ", ".join(sorted(here)),  # in whichever order they were noted
        "group": "counter" if any(uncommon.values()) else "common",
        "time": time,
        "weather": weather,
        "uncommon": str(sum(map(bool, uncommon.values()))),
        **{column: settings[each] for column, each in uncommon.items()},
    }


FOCUS = LayoutBenchmark(
    name="focus",
    description="ten classes in common and uncommon settings (time, weather, place)",
    marks=("annotations.db",),
    read=_read,
    classes=_CLASSES,
    design=Design(
        contrasts=(
            DROP,
            *(Contrast(f"{of}_gap", f"{of}_setting=common", f"{of}_setting=uncommon") for of in _SETTINGS),
        )
    ),
    licence="of the repository: University of Maryland, non-commercial research; of the photos: not verified",
    homepage="https://github.com/priyathamkat/focus",
    by_hand="Get focus.zip by the link in the README of priyathamkat/focus.",
    cite=("kattakinda2022focus",),
).built_in()

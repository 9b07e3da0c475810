"""Shards of SpuriVerse (Yang et al. 2025): a row is a type of spurious correlation, with eleven photos.

Its files could not be obtained when this was written. Its repository's code reads ``image_id``,
``benchmark``, ``image`` and ``spurious_group_1`` to ``spurious_group_10`` from the shards, and question,
options and answer (``question``, ``A`` to ``D``, ``answer`` as a letter) from the CSV files of its folder
``meta``, by ``index``. Whether the shards also have the latter columns is not known: they are used if they
are present.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError
from counterground.photos._classified import read_table
from counterground.photos._manifest import question_problem
from counterground.photos._photo import image_type
from counterground.photos.shards._tar import Sample, open_parquet

_LETTERS = ascii_uppercase[:4]
_QUESTION = ("question", *_LETTERS[:2], "answer")
_GROUP = tuple(f"spurious_group_{number}" for number in range(1, 11))
# The files of its repository's folder ``meta``, by what the column ``benchmark`` says.
META = {
    "aokvqa": "aokvqa_train_meta.csv",
    "naturalbench": "naturalbench_meta.csv",
    "seedbench2": "seedbench_2_meta.csv",
    "seedbench_img": "seedbench_meta.csv",
}


def is_spuriverse(shard: Path) -> bool:
    """Return whether a Parquet file has the columns of SpuriVerse.

    Raises:
        CounterGroundError: it is damaged, not a Parquet file, or cannot be checked.
    """
    with open_parquet(shard) as lazy:
        return {"image_id", "benchmark", "image", *_GROUP} <= set(lazy.collect_schema())


def spuriverse_samples(shard: Path, meta: Path) -> Iterator[Sample]:
    """Yield the photos of a shard: for each row, the real one (class ``anchor``), then ten synthetic ones.

    Photos of a row share a cluster.

    Raises:
        CounterGroundError: it is damaged, a photo or a question is missing, or a question is wrong.
    """
    with open_parquet(shard) as lazy:
        inside = set(_QUESTION) <= set(lazy.collect_schema())
        elsewhere: dict[str, dict[str, dict[str, Any]]] = {}
        for number in range(int(lazy.select(pl.len()).collect().item())):
            (row,) = lazy.slice(number, 1).collect().iter_rows(named=True)
            source, name = str(row["benchmark"]), _identifier(row["image_id"])
            where = f"{shard.name}, row {number + 1} ({source}/{name})"
            asked = row if inside else _asked(where, meta, source, name, elsewhere)
            fields = {"cluster": f"{source}/{name}", **_question(where, asked)}
            yield from _samples_of(row, where, f"{source}/{name}", fields)


def _samples_of(
    row: Mapping[str, Any], where: str, cluster: str, fields: Mapping[str, Any]
) -> Iterator[Sample]:
    for column in ("image", *_GROUP):
        photo = row[column].get("bytes") if isinstance(row[column], dict) else row[column]
        if not isinstance(photo, bytes) or not photo:
            raise CounterGroundError(f"{where}: {column} holds no photo.")
        kind = "anchor" if column == "image" else "spurious group"
        found = image_type(photo)
        suffix = found.suffix if found else ".png"
        path = f"{kind.replace(' ', '_')}/{cluster}/{column}{suffix}"
        yield Sample(where, photo, suffix, {**fields, "class_name": kind, "path": path})


def _identifier(image_id: Any) -> str:
    whole = isinstance(image_id, float) and image_id.is_integer()
    return str(int(image_id) if whole else image_id)


def _asked(
    where: str, meta: Path, source: str, name: str, known: dict[str, dict[str, dict[str, Any]]]
) -> Mapping[str, Any]:
    """Return the row of a question in the CSV of its source; files already read are in ``known``."""
    if source not in META:
        raise CounterGroundError(f"{where}: its benchmark is not one of {', '.join(META)}.")
    path = meta / META[source]
    if source not in known:
        if not path.is_file():
            raise CounterGroundError(
                f"{where} has no question of its own, and there is no {path}: put the folder meta of "
                "SpuriVerse's repository beside the folder of the shards."
            )
        frame = read_table(path)
        if lacking := [name for name in ("index", *_QUESTION) if name not in frame.columns]:
            raise CounterGroundError(f"{path} has no column {lacking[0]!r}.")
        known[source] = {str(row["index"]): row for row in frame.iter_rows(named=True)}
    if name not in known[source]:
        raise CounterGroundError(f"{where}: {path} has no row with the index {name!r}.")
    return known[source][name]


def _question(where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest's columns; options without a text are dropped."""
    given = {letter: row.get(letter) for letter in _LETTERS}
    options = {letter: "" if text is None else str(text).strip() for letter, text in given.items()}
    letter = str(row["answer"]).strip().strip("()")
    answer = options.get(letter)
    if not answer:
        raise CounterGroundError(f"{where}: its answer {row['answer']!r} is not the letter of an option.")
    texts = [text for text in options.values() if text]
    if problem := question_problem(row["question"], [*texts], answer):
        raise CounterGroundError(f"{where}: {problem}.")
    return {"question": row["question"], "options": texts, "answer": answer}

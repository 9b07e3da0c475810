"""Read one printed table, typed, with the contradictions attached to its rows."""

from __future__ import annotations

from functools import cache
from importlib import resources

import polars as pl

from counterground.published._notes import attach_notes

TABLES: tuple[str, ...] = (
    "checkpoints",
    "classes",
    "classwise_results",
    "clip_results",
    "coloredcoco_results",
    "data_sets",
    "facts",
    "figure_bars",
    "figure_class_drops",
    "group_sizes",
    "imagenet_results",
    "lvlm_results",
    "model_facts",
    "multicoloredmnist_results",
    "reproduction_metu_2025",
    "table1_examples",
)
"""Names of the tables, sorted; ``README.md`` of this room says where in the paper each one is."""

_INTEGERS = (
    "class_id",
    "id",
    "image_parameters",
    "imagenet_index",
    "n_classes",
    "n_common",
    "n_common_implied",
    "n_counter",
    "n_counter_implied",
    "n_samples",
    "parameters",
    "samples_seen",
    "size",
)
_NUMBERS = (
    "common",
    "counter",
    "drop",
    "in_distribution",
    "open_clip_imagenet1k",
    "out_of_distribution",
    "p_inv",
    "p_spu",
    "rand_mean",
    "rand_std",
    "rest_mean",
    "rest_std",
    "rev_mean",
    "rev_std",
)
_BOOLEANS = ("filtered", "high_quality", "label_is_full_imagenet_name")


def load_table(name: str) -> pl.DataFrame:
    """Return a table of the paper as printed, mistakes included, with a nullable ``note`` column at the end.

    Accuracies and drops are in percent and percentage points. An empty field is null. ``note`` holds what
    contradicts the row elsewhere in the paper, after the note's number; several are joined by a space.
    ``model_facts`` and ``data_sets`` are not the paper's: their ``source`` says where each row is from.

    Args:
        name: one of ``TABLES``.

    Raises:
        ValueError: there is no such table.
    """
    if name not in TABLES:
        raise ValueError(f"There is no published table {name!r}; choose one of {', '.join(TABLES)}.")
    return _read(name).clone()  # a frame can be changed in place


@cache
def _read(name: str) -> pl.DataFrame:
    data = resources.files(__package__).joinpath("data", f"{name}.csv").read_bytes()
    header = data.decode().partition("\n")[0].strip().split(",")
    frame = pl.read_csv(data, schema={column: _column_type(name, column) for column in header})
    return attach_notes(name, frame)


def _column_type(table: str, column: str) -> type[pl.DataType]:
    if column in _INTEGERS:
        return pl.Int64
    if column in _NUMBERS or (table == "figure_bars" and column == "value"):
        return pl.Float64
    return pl.Boolean if column in _BOOLEANS else pl.String

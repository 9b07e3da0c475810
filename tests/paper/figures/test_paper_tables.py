"""Tables 1 to 16 as data."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from counterground.paper.figures import write_figures
from counterground.published import load_table, published_models

ROWS = {1: 5, 2: 45, 3: 28, 4: 15, 5: 7, 7: 8, 8: 48, 9: 15, 10: 28, 11: 28, 12: 15, 13: 28, 14: 15}
ROWS |= {15: 135, 16: 135}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("tables")
    written = write_figures(out=out, only=["tables"], formats=["svg"])
    assert len(written.files) == 16 * 2 + 1
    return out / "tables"


@pytest.fixture(scope="module")
def tables(folder):
    """Number -> table, of the Parquet files."""
    return {int(file.stem[-2:]): pl.read_parquet(file) for file in sorted(folder.glob("*.parquet"))}


def test_all_sixteen_with_their_rows(tables):
    assert list(tables) == list(range(1, 17))
    assert {number: len(table) for number, table in tables.items() if number != 6} == ROWS
    assert all(table.columns[-1] == "note" for table in tables.values())


def test_values_are_as_printed(tables):
    printed = published_models().filter(family="clip")
    measures = ["common", "counter", "drop"]
    assert_frame_equal(tables[3].select(measures), printed.select(measures))
    assert_frame_equal(tables[7], load_table("coloredcoco_results"))
    assert tables[5]["model"][-1] == "LLaVA1.5-7B"
    assert tables[6]["checkpoint_printed"].null_count() == 0
    assert set(tables[6]["pretrain_dataset"]) == {"LAION400M", "LAION2B", "DataComp1B"}
    assert tables[16]["model"].n_unique() == 3


def test_both_files_hold_the_same_numbers(folder, tables):
    for number, table in tables.items():
        assert_frame_equal(pl.read_csv(folder / f"table-{number:02d}.csv", schema=table.schema), table)

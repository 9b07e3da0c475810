"""Tables 1 to 16 as data and as LaTeX."""

import re

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from counterground.published import load_table, published_models
from counterground.report.figures import write_figures

# The LaTeX of one table, without writing all of them.
from counterground.report.figures._paper_tables import paper_tables, table_latex

ROWS = {1: 5, 2: 45, 3: 28, 4: 15, 5: 7, 7: 8, 8: 48, 9: 15, 10: 28, 11: 28, 12: 15, 13: 28, 14: 15}
ROWS |= {15: 135, 16: 135}


@pytest.fixture(scope="module")
def tables():
    return {table.number: table for table in paper_tables()}


def test_all_sixteen_with_their_rows(tables):
    assert list(tables) == list(range(1, 17))
    assert {number: len(table.frame) for number, table in tables.items() if number != 6} == ROWS
    assert all(table.frame.columns[-1] == "note" for table in tables.values())


def test_values_are_as_printed(tables):
    printed = published_models("1v1000").filter(family="clip")
    assert_frame_equal(
        tables[3].frame.select("common", "counter", "drop"), printed.select("common", "counter", "drop")
    )
    assert_frame_equal(tables[7].frame, load_table("coloredcoco_results"))
    assert tables[5].frame["model"][-1] == "LLaVA1.5-7B"
    assert tables[6].frame["checkpoint_printed"].null_count() == 0
    assert set(tables[6].frame["pretrain_dataset"]) == {"LAION400M", "LAION2B", "DataComp1B"}
    assert tables[16].frame["model"].n_unique() == 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("tables")
    written = write_figures(out=out, only=["tables"], formats=["svg"])
    assert len(written.files) == 16 * 3 + 1
    return out / "tables"


def test_files_hold_the_same_numbers(folder, tables):
    for number, table in tables.items():
        frame = pl.read_parquet(folder / f"table-{number:02d}.parquet")
        assert_frame_equal(frame, table.frame)
        read = pl.read_csv(folder / f"table-{number:02d}.csv", schema=table.frame.schema)
        assert_frame_equal(read, table.frame)


def test_every_row_of_latex_fills_its_columns(tables):
    for table in tables.values():
        text = table_latex(table)
        columns = len(re.search(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", text)[1])
        rows = [line for line in text.splitlines() if line.endswith(r" \\")]
        body = rows[1:] if table.number < 15 else rows[2:]
        expected = len(table.frame) if table.number < 15 else 45
        assert len(body) == expected
        for row in rows if table.number < 15 else rows[1:]:
            assert len(re.findall(r"(?<!\\)&", row)) == columns - 1
        assert text.count(r"\footnotesize") == table.frame["note"].drop_nulls().n_unique()
        assert not re.search(r"(?<!\\)[#]", text)


def test_latex_writes_two_decimals_and_marks_notes(tables):
    text = table_latex(tables[14])
    assert re.search(r"RN50\\textsuperscript\{a\} & \d\d\.\d\d & \d\d\.\d\d & 15\.29", text)
    assert "ViT16 & OpenAI & obj & 97.89 & 21.00" in table_latex(tables[7]).replace(
        r"\textsuperscript{a}", ""
    )
    assert r"$-$9.27" in table_latex(tables[15])

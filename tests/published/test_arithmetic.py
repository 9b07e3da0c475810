"""The printed numbers must fit each other except where a note says they do not."""

from __future__ import annotations

import polars as pl
import pytest

from counterground.published import load_table

REFEREE = "CLIP-LAION400M-ViT/B/32"
MISPRINTED_MEANS = {(REFEREE, "common"), (REFEREE, "drop"), ("CLIP-OpenAI-ViT/B/32", "counter")}


def classwise() -> pl.DataFrame:
    rows = load_table("classwise_results")
    return rows.filter(~((pl.col("table") == "Table 16") & (pl.col("model") == REFEREE)))


def table(name: str) -> pl.DataFrame:
    return load_table("clip_results").filter(pl.col("table") == name)


def fits(accuracy: float, n: int) -> bool:
    return abs(100 * round(accuracy * n / 100) / n - accuracy) <= 0.00501


def test_the_referee_is_printed_alike_in_tables_15_and_16():
    rows = load_table("classwise_results").filter(pl.col("model") == REFEREE).drop("note")
    first, second = (rows.filter(pl.col("table") == name).drop("table") for name in ("Table 15", "Table 16"))
    assert first.equals(second)


@pytest.mark.parametrize("column", ["n_common", "n_counter"])
def test_group_sizes_add_up(column):
    assert load_table("group_sizes")[column].sum() == {"n_common": 7174, "n_counter": 5926}[column]


@pytest.mark.parametrize(
    "name", ["clip_results", "imagenet_results", "lvlm_results", "table1_examples", "classwise_results"]
)
def test_drop_is_common_minus_counter_unless_noted(name):
    gap = (pl.col("common") - pl.col("counter") - pl.col("drop")).abs()
    wrong = load_table(name).filter(gap > 0.0201)
    assert wrong["note"].null_count() == 0
    assert wrong.height == {"clip_results": 2, "imagenet_results": 1, "classwise_results": 3}.get(name, 0)


def test_class_accuracies_are_shares_of_the_group_sizes_unless_noted():
    rows = load_table("classwise_results").join(load_table("group_sizes").drop("note"), on="class_id")
    odd = [
        (row["model"], row["class_id"], group)
        for row in rows.iter_rows(named=True)
        for group in ("common", "counter")
        if not fits(row[group], row[f"n_{group}"])
    ]
    assert {(model, number, group) for model, number, group in odd if number != 23} == {
        ("CLIP-OpenAI-ViT/B/32", 37, "counter")
    }
    assert {group for _, number, group in odd if number == 23} == {"common"}


def test_class_23_needs_259_common_photos():
    printed = load_table("classwise_results").filter(pl.col("class_id") == 23)["common"]
    assert [n for n in range(20, 518) if all(fits(value, n) for value in printed)] == [259]
    sizes = load_table("group_sizes").filter(pl.col("class_id") == 23)
    assert sizes.select("n_common", "n_common_implied").row(0) == (25, 259)


def test_balanced_means_of_the_class_tables_are_table_3_except_the_misprints():
    printed = table("Table 3").with_columns(model=pl.format("CLIP-{}-{}", "pretrain_dataset", "backbone"))
    off = set()
    for (model,), rows in classwise().group_by("model"):
        row = printed.row(by_predicate=pl.col("model") == model, named=True)
        off |= {(model, c) for c in ("common", "counter", "drop") if abs(rows[c].mean() - row[c]) > 0.0151}
    assert off == MISPRINTED_MEANS


@pytest.mark.parametrize(
    ("model", "column", "mended", "printed"),
    [
        (REFEREE, "common", {14: 100 * 69 / 228}, 67.13),
        ("CLIP-OpenAI-ViT/B/32", "counter", {37: 100 * 147 / 222, 39: 100 * 92 / 110}, 45.62),
    ],
)
def test_the_implied_cells_mend_the_means(model, column, mended, printed):
    rows = classwise().filter(pl.col("model") == model)
    values = [mended.get(number, value) for number, value in rows.select("class_id", column).iter_rows()]
    assert abs(sum(values) / 45 - printed) < 0.0151


def test_all_rows_of_table_5_repeat_table_3():
    same = table("Table 5").join(
        table("Table 3"), on=["backbone", "pretrain_dataset", "common", "counter", "drop"]
    )
    assert same.height == 5
    assert same["note"].null_count() == 0


def test_bars_are_the_rounded_table_values_unless_noted():
    bars = load_table("figure_bars").filter(pl.col("varied") != "approach", pl.col("label") != "ImageNet")
    by_backbone = pl.col("varied") == "backbone"
    bars = bars.with_columns(
        backbone=pl.when(by_backbone).then("label").otherwise("fixed"),
        pretrain_dataset=pl.when(by_backbone).then("fixed").otherwise("label"),
    )
    long = table("Table 3").unpivot(
        ["common", "counter", "drop"],
        index=["backbone", "pretrain_dataset"],
        variable_name="series",
        value_name="printed",
    )
    joined = bars.join(long, on=["backbone", "pretrain_dataset", "series"], how="left")
    assert joined["printed"].null_count() == 0
    wrong = joined.filter((pl.col("printed") - pl.col("value")).abs() > 0.0501)
    assert wrong["note"].str.starts_with("[11]").all()
    assert wrong.height == 2


def test_class_drops_in_figures_are_the_table_values_unless_noted():
    drops = load_table("figure_class_drops").join(
        classwise().select("model", "class_id", printed="drop"), on=["model", "class_id"]
    )
    assert drops.height == 270
    wrong = drops.filter((pl.col("printed") - pl.col("drop")).abs() > 0.0501)
    assert wrong.select("figure", "class_id").rows() == [("Figure 4", 14), ("Figure 15(a)", 14)]
    assert wrong["note"].null_count() == 0

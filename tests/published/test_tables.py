from __future__ import annotations

import polars as pl
import pytest

from counterground.published import SETTINGS, TABLES, load_table, notes, published_models


@pytest.mark.parametrize("name", TABLES)
def test_a_table_loads_with_rows_and_a_note_column(name):
    frame = load_table(name)
    assert frame.height > 0
    assert frame.columns[-1] == "note"
    assert frame.schema["note"] == pl.String
    empty = (pl.col(pl.String) == "").any()
    assert not any(frame.select(empty).row(0))


def test_an_unknown_table_is_named_with_the_choices():
    with pytest.raises(ValueError, match=r"'clip'.*clip_results"):
        load_table("clip")


def test_types_are_those_of_the_values():
    clip = load_table("clip_results")
    assert clip.schema["high_quality"] == pl.Boolean
    assert clip.schema["common"] == pl.Float64
    assert clip["checkpoint"].null_count() == 132 - 15
    assert load_table("classes").schema["imagenet_index"] == pl.Int64
    assert load_table("facts").schema["value"] == pl.String
    rest = load_table("multicoloredmnist_results")
    assert rest.filter(pl.col("rest_mean").is_null())["n_classes"].unique().to_list() == [2]


def test_rows_per_printed_table():
    assert load_table("imagenet_results")["table"].value_counts()["count"].to_list() == [15, 15, 15]
    assert load_table("classwise_results").group_by("table", "model").len()["len"].to_list() == [45] * 6
    assert load_table("checkpoints").group_by("table").len().sort("len")["len"].to_list() == [15, 28]


def test_every_contradiction_is_tied_to_rows_or_is_general():
    listed = notes()
    assert set(listed["number"]) == set(range(1, 14))
    assert listed.filter(pl.col("table").is_null())["number"].to_list() == [3]
    attached = set()
    for name in TABLES:
        text = " ".join(load_table(name)["note"].drop_nulls())
        for number, note in notes(name).select("number", "text").iter_rows():
            assert f"[{number}] {note}" in text, (name, number)
            attached.add(number)
    assert attached == set(range(1, 14)) - {3}


def test_every_selector_meets_a_row():
    # A selector that meets no row leaves no trace in the tables.
    from counterground.published._tables import read_notes, selector

    for note in read_notes():
        for rows in note["rows"]:
            assert load_table(rows["table"]).filter(selector(rows["where"])).height > 0, rows


@pytest.mark.parametrize(
    ("name", "selector", "number"),
    [
        ("group_sizes", pl.col("class_id") == 23, 1),
        ("classwise_results", (pl.col("model") == "CLIP-OpenAI-ViT/B/32") & (pl.col("class_id") == 37), 2),
        ("clip_results", (pl.col("table") == "Table 10") & (pl.col("backbone") == "ViT/bigG/14"), 7),
        ("clip_results", pl.col("pretrain_dataset") == "DataComp", 8),
        ("imagenet_results", (pl.col("table") == "Table 14") & (pl.col("backbone") == "RN50"), 5),
    ],
)
def test_a_note_hangs_on_its_row(name, selector, number):
    rows = load_table(name).filter(selector)
    assert rows.height == 1
    assert rows["note"].item().startswith(f"[{number}] ")


def test_published_models_of_tables_3_and_4():
    models = published_models()
    assert models["family"].value_counts(sort=True).rows() == [("clip", 28), ("imagenet", 15)]
    assert models["model"].is_unique().all()
    referee = models.row(by_predicate=pl.col("model") == "CLIP-LAION400M-ViT/B/32", named=True)
    assert (referee["common"], referee["counter"], referee["drop"]) == (67.13, 36.95, 30.18)
    assert not referee["high_quality"]
    assert models.filter("high_quality")["pretrain_dataset"].unique().sort().to_list() == [
        "DFN2B",
        "DFN5B",
        "DataComp1B",
    ]


def test_published_models_of_other_settings():
    classifiers = published_models().filter(family="imagenet")
    for setting in SETTINGS.values():
        models = published_models(setting.name)
        assert models["family"].value_counts(sort=True).rows() == [("clip", 28), ("imagenet", 15)]
        printed = load_table("clip_results").filter(table=setting.clips)
        facts = printed.select("setup", "averaging").unique().row(0)
        assert facts == (setting.setup, setting.averaging)
        assert models.filter(family="clip")["counter"].to_list() == printed["counter"].to_list()
    # Classifiers read no prompt.
    assert published_models("openai-prompts").filter(family="imagenet").equals(classifiers)
    with pytest.raises(ValueError, match="openai-prompts"):
        published_models("1v20")

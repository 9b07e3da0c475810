"""What the paper does not print is what the installed libraries and the publishers say."""

import importlib.util
from pathlib import Path

import polars as pl
import pytest

from counterground.published import load_table, published_models

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_model_facts.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_model_facts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def facts():
    return {row["model"]: row for row in load_table("model_facts").iter_rows(named=True)}


def test_every_model_of_the_paper_has_its_parameters(facts):
    named = [*published_models()["model"], *load_table("lvlm_results")["model"]]
    assert list(facts) == named
    assert load_table("model_facts").select("parameters", "source").null_count().row(0) == (0, 0)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("CLIP-OpenAI-RN50", "RN50-quickgelu"),
        ("CLIP-DataComp1B-ViT/B/32-256", "ViT-B-32-256"),
        ("CLIP-LAION2B-ConvNext/BW", "convnext_base_w"),
        ("CLIP-LAION2B-ViT/G/14", "ViT-g-14"),
    ],
)
def test_clips_are_counted_from_their_configuration(script, facts, model, name):
    assert (facts[model]["parameters"], facts[model]["image_parameters"]) == script.count_clip(name)
    assert f"configuration {name}" in facts[model]["source"]


def test_classifiers_and_llava_are_what_the_libraries_say(script, facts):
    rows = [*script.classifiers(), *script.generative()]
    assert len(rows) == 17
    for row in rows:
        given = facts[row[0]]
        assert tuple(given[column] for column in script.HEADER[:-1]) == row[:-1]


def test_samples_seen_are_those_of_the_tag(script, facts):
    assert script.samples_seen("laion2b_s34b_b88k") == 34_000_000_000
    assert script.samples_seen("datacomp_m_s128m_b4k") == 128_000_000
    assert script.samples_seen("laion400m_e31") is None
    rows = load_table("checkpoints").filter(pl.col("table") == "Table 3").iter_rows(named=True)
    for row in rows:
        seen = facts[f"CLIP-{row['pretrain_dataset']}-{row['backbone']}"]["samples_seen"]
        assert seen == script.samples_seen(row["open_clip_pretrained"])


def test_data_sets_have_sizes_sources_and_the_asterisk_of_the_paper():
    sets = {row["pretrain_dataset"]: row for row in load_table("data_sets").iter_rows(named=True)}
    for dataset, filtered in published_models().select("pretrain_dataset", "high_quality").unique().rows():
        assert sets[dataset]["filtered"] == filtered
        assert sets[dataset]["size"] > 1_000_000
        assert sets[dataset]["source"]
    assert sets["ImageNet-1K"]["size"] == 1_281_167


def test_data_sets_are_found_by_the_names_that_models_state():
    from counterground.models import list_models

    names = set(load_table("data_sets")["name"])
    tags = ["openai", "laion400m_e31", "laion2b_s34b_b79k", "datacomp_xl_s13b_b90k", "datacomp_m_s128m_b4k"]
    tags += ["datacomp_l_s1b_b8k", "datacomp_s_s13m_b4k", "dfn2b", "dfn5b", "commonpool_xl_s13b_b90k"]
    assert {
        model.training_data for model in list_models("open_clip:*") if model.spec.endswith(tuple(tags))
    } <= names

"""The paper's rows beside measured ones: matched by weights, with what is known."""

import csv
import io

import polars as pl
import pytest
from made_runs import write_run
from paper_sized import OPEN_CLIP_REFEREE, classifier_record, clip_record, printed_accuracies

from counterground.cli import main
from counterground.comparison import paper_row
from counterground.errors import UsageError
from counterground.models import expand_specs
from counterground.paper.reproduction import left_out, reproduce
from counterground.published import load_table, published_models

L14 = "open_clip:ViT-L-14/openai"


def test_without_runs_the_2025_reproduction_stands_beside_the_paper():
    rows = reproduce()
    assert rows.filter(pl.col("table").is_in(["Table 3", "Table 4"])).height == 43
    assert rows["common_ours"].count() == 30
    referee = rows.filter((pl.col("model") == "CLIP-LAION400M-ViT/B/32") & (pl.col("table") == "Table 3"))
    row = referee.row(0, named=True)
    assert (row["common_printed"], row["common_ours"]) == (0.6713, 0.7012)
    assert row["common_difference"] == pytest.approx(0.0299)
    assert "QuickGELU" in row["note"]
    near = rows.filter(pl.col("family") == "imagenet")["counter_difference"].abs()
    assert near.max() == pytest.approx(0.0095, abs=1e-6)


def test_class_wise_tables_give_the_printed_rows_back(make_run):
    """Photos right as Tables 15 and 16 say give Table 3 within its rounding."""
    run = make_run(
        {
            "open_clip:ViT-B-32/laion2b_s34b_b79k": printed_accuracies("CLIP-LAION2B-ViT/B/32"),
            "open_clip:ViT-L-14/laion400m_e31": printed_accuracies("CLIP-LAION400M-ViT/L/14"),
        }
    )
    rows = reproduce(run).filter(pl.col("spec").is_not_null())
    assert sorted(rows["model"]) == ["CLIP-LAION2B-ViT/B/32", "CLIP-LAION400M-ViT/L/14"]
    for figure in ("common", "counter", "drop"):
        assert rows[f"{figure}_difference"].abs().max() < 3e-4


def test_each_of_the_papers_models_is_matched_to_its_own_row():
    clips = load_table("checkpoints").filter(pl.col("table") == "Table 3")
    for row, spec in zip(clips.iter_rows(named=True), expand_specs(["paper:clip"]), strict=True):
        found = paper_row(clip_record(spec))
        assert found.model == f"CLIP-{row['pretrain_dataset']}-{row['backbone']}"
        assert found.checkpoint is None
        hub = clip_record(spec).model_copy(update={"spec": f"hf:{row['hf_hub']}"})
        assert paper_row(hub).model == found.model
    classifiers = published_models().filter(pl.col("family") == "imagenet")["model"]
    for model, spec in zip(classifiers, expand_specs(["paper:imagenet"]), strict=True):
        assert paper_row(classifier_record(spec)).model == model
    lvlms = [paper_row(clip_record(spec)).model for spec in expand_specs(["paper:lvlm"])]
    assert sorted(lvlms) == sorted(load_table("lvlm_results")["model"])


def test_the_activation_does_not_change_the_row_and_other_weights_have_none():
    plain, quick = (clip_record(f"open_clip:ViT-B-32{suffix}/laion400m_e31") for suffix in ("", "-quickgelu"))
    assert paper_row(plain) == paper_row(quick)
    assert paper_row(clip_record("open_clip:ViT-B-32/laion400m_e32")).checkpoint == "E32"
    assert paper_row(clip_record("open_clip:ViT-L-14/dfn2b_s39b")) is None
    newer = classifier_record("torchvision:resnet50", weights="IMAGENET1K_V2")
    assert paper_row(newer) is None


def test_loading_as_published_is_told_apart(make_run):
    published = f"{OPEN_CLIP_REFEREE}?as_published"
    rows = reproduce(make_run({OPEN_CLIP_REFEREE: (0.70, 0.41), published: (0.67, 0.37)}))
    both = rows.filter((pl.col("model") == "CLIP-LAION400M-ViT/B/32") & pl.col("spec").is_not_null())
    assert both["spec"].to_list() == [OPEN_CLIP_REFEREE, published]
    assert abs(both["common_difference"][1]) < abs(both["common_difference"][0])


def test_prompts_and_label_space_choose_the_table(make_run):
    spec = "open_clip:ViT-L-14/laion400m_e31"
    eighty = reproduce(make_run({spec: (0.8, 0.6)}, prompts="openai")).filter(pl.col("spec") == spec)
    assert (eighty["table"][0], eighty["common_printed"][0]) == ("Table 10", 0.8122)
    twenty = reproduce(make_run({spec: (0.8, 0.6)}, label_space="confusable")).filter(pl.col("spec") == spec)
    assert (twenty["table"][0], twenty["common_printed"][0]) == ("Table 13", 0.8227)
    with pytest.raises(UsageError, match="There is nothing to reproduce"):
        reproduce(make_run({spec: (0.8, 0.6)}, label_space="benchmark"))


def test_a_classifier_is_beside_its_row_whichever_prompts_the_clips_of_its_run_had(make_run):
    clip, classifier = "open_clip:ViT-L-14/laion400m_e31", "torchvision:resnet50"
    for label_space, tables in (("imagenet", ["Table 10", "Table 4"]), ("confusable", ["Table 14"])):
        run = make_run({clip: (0.8, 0.6), classifier: (0.8, 0.6)}, prompts="openai", label_space=label_space)
        rows = reproduce(run).filter(pl.col("spec").is_not_null())
        assert sorted(rows["table"]) == tables
        assert rows["spec"].to_list()[-1] == classifier
    assert len(left_out(run)) == 1


def test_a_model_that_answers_in_words_has_a_row_where_it_was_asked_as_in_the_paper(make_run):
    spec = "hf:llava-hf/llava-1.5-7b-hf"
    record = clip_record(spec).model_copy(update={"kind": "generative"})
    alike, other = (
        make_run({spec: (0.8, 0.6)}, records=[record], protocol=protocol, label_space="confusable")
        for protocol in ("answer-loss", "yes-no")
    )
    assert reproduce(alike).filter(spec=spec)["table"].to_list() == ["Table 5"]
    with pytest.raises(UsageError, match="There is nothing to reproduce"):
        reproduce(other)


def test_what_has_no_row_is_told(make_run, small_run):
    spec = "open_clip:ViT-L-14/laion400m_e31"
    good = make_run({spec: (0.8, 0.6), "timm:mine": (0.7, 0.5)}, path="good")
    own = make_run({spec: (0.8, 0.6)}, path="own", label_space="benchmark")
    told = zip(left_out([good, small_run, own]), ("timm:mine", "small", spec), strict=True)
    assert all(culprit in sentence for sentence, culprit in told)
    assert reproduce([good, small_run, own])["source"].drop_nulls().unique().to_list() == ["good"]
    assert left_out(make_run({spec: (0.8, 0.6)})) == []


def test_each_checkpoint_of_the_paper_has_a_row(make_run):
    table = load_table("checkpoints")
    specs = [
        f"open_clip:{row[0]}/{row[1]}" for row in table["open_clip_model_name", "open_clip_pretrained"].rows()
    ]
    run = make_run(dict.fromkeys(dict.fromkeys(specs), (0.8, 0.6)))
    assert left_out(run) == []
    assert set(reproduce(run)["spec"].drop_nulls()) == set(specs)


def ran(capsys, *words, status=0):
    assert main(["paper", "reproduce", *map(str, words)]) == status
    said = capsys.readouterr()
    return said.err if status else said.out


def test_the_command_shows_printed_and_measured_values(make_run, small_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    levels = {OPEN_CLIP_REFEREE: printed_accuracies("CLIP-LAION400M-ViT/B/32"), L14: (0.855, 0.704)}
    mine = write_run(make_run(levels, names="openai"), tmp_path / "mine")
    small = write_run(small_run, tmp_path / "small")
    said = ran(capsys, mine)
    row = next(line for line in said.splitlines() if line.startswith("OpenAI ViT/L/14 "))
    assert row.split()[2:] == ["85.4", "85.6", "+0.2", "70.3", "70.4", "+0.1", "15.1", "15.2", "+0.1"]
    assert "2 of 28 rows were run." in " ".join(said.split())
    assert "15 of 28 rows were run." in ran(capsys)
    assert "takes runs on CounterAnimal" in ran(capsys, small, status=2)
    assert "Note: small is left out" in " ".join(ran(capsys, mine, small).split())
    rows = list(csv.DictReader(io.StringIO(ran(capsys, mine, "--format", "csv"))))
    assert {row["spec"] for row in rows} >= {L14, OPEN_CLIP_REFEREE}

"""What goes into a paper: BibTeX, and files of scores."""

from __future__ import annotations

import re
from dataclasses import asdict, replace

import polars as pl
import pytest
from made_runs import of_composites, write_run

from counterground.benchmarks import list_benchmarks
from counterground.cli import main
from counterground.models import expand_specs, list_models, references_of
from counterground.photos import Discovered
from counterground.results import (
    ModelRecord,
    bibliography,
)

# The table of references itself: a bibliography holds only the entries that its runs reach.
from counterground.results._citations import _of_model, _patterns, _references

LEVELS = {"efficientnet-lite0": (0.8, 0.5), "counterground:stamps-biased": (0.7, 0.2)}
NASTY = 'a|b_c & 50% {x #1 ~^\\ <i>"q"</i> @misc{z,\n---\nx: [1'


def parse_bibtex(text):
    """Key -> fields, by counting braces as BibTeX does: what stands between entries is a comment."""
    found = {}
    at = 0
    while (at := text.find("@", at)) >= 0:
        head = re.compile(r"@(\w+)\{([^,\s]+),").match(text, at)
        assert head, text[at : at + 60]
        depth, end = 1, head.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        assert head[2] not in found, f"{head[2]} stands twice"
        found[head[2]] = dict(re.findall(r"^  (\w+) = \{(.*)\},$", text[head.end() : end - 1], re.MULTILINE))
        assert all(field.count("{") == field.count("}") for field in found[head[2]].values())
        at = end
    return found


def test_the_origin_of_a_discovered_benchmark_is_cited_whatever_its_name(make_run):
    found = Discovered("m", "half", 5.0, "stamps@0123abcd", origin="stamps")
    for name in ("stamps, pairs of m", "mine"):
        run = make_run({"m": (0.8, 0.5)}, name=name)
        record = run.info.benchmark.model_copy(update=asdict(found))
        known = replace(run, info=run.info.model_copy(update={"benchmark": record}))
        assert known.info.benchmark.discovery == found
        assert "% For the photos of stamps\n@misc{tuxpaint" in bibliography([known])
        assert "@misc{tuxpaint" not in bibliography([run])


def test_what_composites_are_made_of_and_heads_are_fitted_on_is_cited(make_run):
    stamps, mine = make_run({"m": (0.8, 0.5)}), make_run({"m": (0.8, 0.5)}, name="stamps, swapped")
    assert "@misc{tuxpaint" not in bibliography(mine)
    fitted = mine.info.model_copy(update={"train": stamps.info.benchmark})
    cited = bibliography(replace(mine, info=fitted))
    assert "% For the photos of stamps, on which heads are fitted\n@misc{tuxpaint" in cited
    cited = bibliography(of_composites(mine, stamps))
    assert "% For the photos of stamps\n@misc{tuxpaint" in cited
    assert "No entry for the benchmark" not in cited


def test_the_bibliography_names_the_method_the_program_and_what_models_rest_on(make_run):
    run = make_run(
        {"open_clip:ViT-B-32/laion400m_e31": (0.8, 0.5), "hf:llava-hf/llava-1.5-7b-hf": (0.6, 0.4)},
        name="counteranimal",
    )
    data = ["LAION-400M", None]
    models = [
        model.model_copy(update={"description": {"training_data": data}, "kind": kind})
        for model, data, kind in zip(run.info.models, data, ("dual_encoder", "generative"), strict=True)
    ]
    plain = run.info.model_copy(update={"names": "wordnet"})  # of classifiers, which read no names
    unread = parse_bibtex(bibliography([type(run)(run.path, plain, run.predictions)]))
    assert "miller1995wordnet" not in unread
    info = run.info.model_copy(update={"models": models, "names": "wordnet", "prompts": "openai"})
    found = parse_bibtex(bibliography([type(run)(run.path, info, run.predictions)]))
    assert list(found)[:2] == ["wang2024counteranimal", "counterground"]
    expected = {"inaturalist", "miller1995wordnet", "ilharco2021openclip", "radford2021clip"}
    expected |= {"schuhmann2021laion400m", "liu2023llava", "liu2024llava15", "wolf2020transformers"}
    assert expected <= set(found)
    assert "version 0.1.0" in found["counterground"]["howpublished"]
    assert not {"schuhmann2022laion5b", "torchvision2016", "tuxpaint"} & set(found)


def test_photos_that_were_collected_are_inaturalists_whatever_the_benchmark_is_called(make_run):
    run = make_run({"m": (0.8, 0.5)}, name="my-pool")
    assert "inaturalist" not in parse_bibtex(bibliography([run]))
    collected = run.predictions.with_columns(
        path="x/inaturalist-" + pl.int_range(pl.len()).cast(pl.String) + ".jpg"
    )
    assert "inaturalist" in parse_bibtex(bibliography([type(run)(run.path, run.info, collected)]))


def test_a_strangers_words_begin_no_entry(make_run):
    run = make_run({NASTY: (0.8, 0.5)}, name=f"photos @book{{evil, {NASTY}")
    text = bibliography([run])
    assert "evil" in text
    assert not {"evil", "z"} & set(parse_bibtex(text))


def test_entries_are_complete_and_every_one_can_be_reached():
    entries = parse_bibtex("\n".join(_references().values()))
    assert set(entries) == set(_references())
    rules = [(rule[0], rule[1:]) for of in ("training_data", "architectures") for rule in _patterns(of)]
    families = {model.spec.partition(":")[0]: model.spec for model in list_models()}.values()
    reached = {key for _, keys in rules for key in keys}
    reached |= {key for spec in (*families, "efficientnet-lite0?head=knn") for key in references_of(spec)}
    assert reached <= set(entries)
    reached |= {key for benchmark in list_benchmarks() for key in benchmark.cite}
    fixed = {"wang2024counteranimal", "inaturalist", "miller1995wordnet", "deng2009imagenet"}
    assert set(entries) - reached <= fixed
    for key, fields in entries.items():
        assert {"title", "author"} <= set(fields), key
        assert ("year" in fields) == bool(re.search(r"\d{4}", key)), key
        assert fields.get("year", "") in key
        assert not re.search(
            r"(?<!\\)[%&#_]", re.sub(r"\\url\{.*?\}|10\.\S+|https?:\S+", "", " ".join(fields.values()))
        )


def test_the_papers_models_and_all_of_torchvision_and_openclip_are_covered():
    known = {model.spec: model for model in list_models()}
    specs = [
        *expand_specs(["paper:imagenet"]),
        *(s for s in known if s.startswith(("torchvision:", "open_clip:"))),
    ]
    for spec in specs:
        model = known[spec]
        record = ModelRecord(
            spec=spec, kind=model.kind, fingerprint="f", description={"training_data": model.training_data}
        )
        assert _of_model(record)[2] == []


@pytest.mark.parametrize(
    ("spec", "keys"),
    [
        ("hf:facebook/metaclip-2-worldwide-huge-quickgelu", {"chuang2025metaclip2"}),
        ("open_clip:ViT-H-14-worldwide-quickgelu/metaclip2_worldwide", {"chuang2025metaclip2"}),
        ("hf:facebook/metaclip-b16-400m", {"xu2024metaclip"}),
        ("hf:facebook/metaclip-h14-fullcc2.5b", {"xu2024metaclip"}),
        ("timm:beit_base_patch16_224.in22k_ft_in22k_in1k", {"bao2022beit"}),
        ("timm:swin_base_patch4_window7_224.ms_in1k", {"liu2021swin"}),
        ("hf:microsoft/swinv2-tiny-patch4-window8-256", {"liu2022swinv2"}),
        ("timm:inception_v3.tv_in1k", {"szegedy2016inception"}),
        ("timm:inception_resnet_v2.tf_in1k", {"szegedy2017inception"}),
        ("hf:microsoft/resnet-50", {"he2016resnet"}),
        ("torchvision:wide_resnet50_2", {"zagoruyko2016wide"}),
        *((f"timm:{name}", set()) for name in ("inception_next_base.sail_in1k", "swin_s3_base_224.ms_in1k")),
        *(
            (f"timm:{name}", set())
            for name in ("convnextv2_base.fcmae_ft_in1k", "deit3_base_patch16_224.fb_in1k")
        ),
        *((f"timm:{name}", set()) for name in ("resnetv2_50.a1h_in1k", "seresnext50_32x4d.racm_in1k")),
        ("timm:eva02_base_patch14_448.mim_in22k_ft_in1k", set()),
    ],
)
def test_relatives_are_not_cited_for_each_other(spec, keys):
    """Each architecture has its own paper, or a remark that it is not covered."""
    described = {"training_data": "MetaCLIP" if "metaclip" in spec else "ImageNet-1K"}
    record = ModelRecord(spec=spec, kind="classifier", fingerprint="f", description=described)
    _, found, missing = _of_model(record)
    families = {key for _, *group in _patterns("architectures") for key in group} - {
        "radford2021clip",
        "dosovitskiy2021vit",
    }
    assert set(found) & families == keys
    assert missing == ([] if keys else [f"No entry for the architecture of {spec}."])


@pytest.fixture
def folder(make_run, tmp_path):
    return write_run(make_run(LEVELS), tmp_path / "run")


def test_the_command_writes_each_form(folder, tmp_path, capsys):
    def shown(*words):
        assert main(["scores", str(folder), *words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    assert "counterground" in parse_bibtex(shown("--format", "bibtex"))
    shown("--format", "parquet", "--by", "class", "--out", str(tmp_path / "scores.parquet"))
    table = pl.read_parquet(tmp_path / "scores.parquet")
    assert table["class_name"].null_count() == 0
    assert table["model"].n_unique() == 2
    shown("--out", str(tmp_path / "scores.txt"))
    assert "efficientnet-lite0" in (tmp_path / "scores.txt").read_text("utf-8")
    assert "stamps-biased" not in shown("-m", "efficientnet-lite0")

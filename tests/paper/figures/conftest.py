"""Figures drawn once; a run of known models on CounterAnimal's group sizes, and one on photos of its own."""

from dataclasses import replace

import made_cells
import made_runs
import polars as pl
import pytest

from counterground.paper.figures import FIGURES, draw_figures

# The drawings themselves, before they are files: tests read off their marks what the tables print.
from counterground.paper.figures._material import Drawing, Material, read_study
from counterground.paper.style import print_style
from counterground.published import load_table
from counterground.results import ModelRecord

make_run, four_cells = made_runs.make_run, made_cells.four_cells

KNOWN = {
    "open_clip:ViT-B-32/laion2b_s34b_b79k": (0.80, 0.60),
    "open_clip:ViT-B-16/laion2b_s34b_b88k": (0.83, 0.65),
    "open_clip:ViT-B-32/openai": (0.70, 0.50),
    "torchvision:vit_b_32": (0.80, 0.70),
}


def describe(run):
    """Say of the run's models what real ones say of themselves."""
    records = []
    for record in run.info.models:
        library, _, name = record.spec.partition(":")
        found = record
        if library == "open_clip":
            architecture, _, weights = name.partition("/")
            about = {"architecture": architecture, "weights": weights, "parameters": 151_000_000}
            found = ModelRecord(spec=record.spec, kind="dual_encoder", fingerprint="c", description=about)
        elif library == "torchvision":
            about = {"architecture": name, "weights": "IMAGENET1K_V1", "parameters": 88_000_000}
            about["training_data"] = "ImageNet-1K"
            found = ModelRecord(spec=record.spec, kind="classifier", fingerprint="i", description=about)
        records.append(found)
    return replace(run, info=run.info.model_copy(update={"models": records}))


def with_printed_sizes(run):
    """Repeat each class's photos until its groups have the sizes of figure 3."""
    sizes = load_table("group_sizes").sort("class_id")
    parts = []
    for key, part in run.predictions.group_by("model", "class_index", "group", maintain_order=True):
        count = sizes[f"n_{key[2]}"][key[1]]
        names = [f"{key[1]}-{key[2]}-{place}" for place in range(count)]
        repeated = part[[place % len(part) for place in range(count)]]
        parts.append(repeated.with_columns(path=pl.Series(names), photo_id=pl.Series(names)))
    predictions = pl.concat(parts)
    return replace(run, predictions=predictions)


@pytest.fixture(scope="session")
def counteranimal_run(make_run):
    names = load_table("classes").sort("id")["openai_class_name"].to_list()
    run = make_run(KNOWN, classes=names, per_group=30, name="counteranimal", path="mine")
    return describe(with_printed_sizes(run))


@pytest.fixture(scope="session")
def own_run(make_run):
    levels = {"efficientnet-lite0": (0.81, 0.52), "counterground:stamps-biased": (0.74, 0.31)}
    return describe(make_run(levels | KNOWN, path="own", lacking={3: "counter"}))


def draw_all(names=tuple(FIGURES), *, published=False, studies=(), **material):
    """Stem -> drawing; and the lines about what is absent."""
    material = Material(published, studies=[read_study(folder) for folder in studies], **material)
    with print_style():
        outcomes = list(draw_figures(material, list(names)))
    drawings = {outcome.stem: outcome for outcome in outcomes if isinstance(outcome, Drawing)}
    return drawings, [f"{o.figure}: {o.need}" for o in outcomes if not isinstance(o, Drawing)]


@pytest.fixture(scope="session")
def draw():
    """Function: (names, what they are drawn from) -> drawings by stem, and the lines about what is absent."""
    return draw_all


@pytest.fixture(scope="session")
def paper():
    return draw_all(published=True)


@pytest.fixture(scope="session")
def beside(counteranimal_run):
    return draw_all(published=True, runs=[counteranimal_run])


@pytest.fixture(scope="session")
def own(own_run):
    return draw_all(runs=[own_run])

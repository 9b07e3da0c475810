"""Runs with made-up predictions and real scores: the columns and records of a real run, without a model."""

import made_cells
import made_runs
import numpy as np
import polars as pl
import pytest
from PIL import Image

from counterground.photos import Benchmark, LabelSpace, photo_id
from counterground.reporting import write_report

make_run, four_models = made_runs.make_run, made_runs.four_models
four_cells = made_cells.four_cells


@pytest.fixture
def visit(chromium):
    """Function: open a page; what should not happen is found afterwards."""
    contexts, trouble, requests = [], [], []

    def start(page, *, width=1280, scripts=True, **options):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=scripts, **options
        )
        contexts.append(context)
        context.set_default_timeout(30_000)
        tab = context.new_page()
        tab.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(page.as_uri())
        return tab

    yield start
    for context in contexts:
        context.close()
    assert trouble == []
    assert {url for url in requests if not url.startswith(("file:", "data:"))} == set()


@pytest.fixture(scope="session")
def report(tmp_path_factory, four_models, make_run):
    """Two benchmarks, one of the paper's size with long names, so that whatever can overflow is there."""
    levels = {
        f"open_clip:ViT-B-{k}-quickgelu/laion2b_s34b_b{k}k": (0.6 + 0.03 * k, 0.5 + 0.03 * k)
        for k in range(6)
    }
    classes = [
        f"{kind} {k} with a rather long name" for k in range(15) for kind in ("bear", "swan", "beetle")
    ]
    big = make_run(
        levels, classes=classes, per_group=5, name="counteranimal", path="big", lacking={3: "common"}
    )
    return write_report([four_models, big], tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="session")
def families(tmp_path_factory, make_run):
    """Eight models of two families, with photos of one class."""
    folder = tmp_path_factory.mktemp("families")
    clips = {f"open_clip:model-{k}": (0.6 + 0.02 * k, 0.5 - 0.01 * k) for k in range(4)}
    lites = {f"lite{k}": (0.7 + 0.02 * k, 0.6 - 0.02 * k) for k in range(4)}
    run = make_run({**clips, **lites}, classes=["ice bear", "flamingo"], per_group=8)
    models = [
        model.model_copy(update={"kind": "dual_encoder"}) if model.spec in clips else model
        for model in run.info.models
    ]
    identities, random = {}, np.random.default_rng(0)
    for path in run.predictions["path"].unique(maintain_order=True):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(file)
        identities[path] = photo_id(file)
    predictions = run.predictions.with_columns(photo_id=pl.col("path").replace_strict(identities))
    run = type(run)(run.path, run.info.model_copy(update={"models": models}), predictions)
    about = ("path", "photo_id", "class_index", "class_name", "background", "group", "cluster")
    names = ("ice bear", "flamingo")
    photos = predictions.select(about).unique(maintain_order=True)
    benchmark = Benchmark("scene", folder, photos, LabelSpace("scene", names, (None, None)))
    return run, write_report([run], folder / "report.html", benchmarks=[benchmark])


@pytest.fixture(scope="session")
def cells_page(tmp_path_factory, four_cells):
    """The page of four cells and two attributes, of a contrast with long names of sides."""
    run, benchmark = four_cells
    out = tmp_path_factory.mktemp("cells") / "report.html"
    return write_report([run], out, benchmarks=[benchmark], contrast="both_shortcuts")

"""Figures 10, 11 and 12 from folders that studies leave."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.container import BarContainer

from counterground.errors import CounterGroundError
from counterground.paper.figures import write_figures
from counterground.paper.settings import TheorySettings
from counterground.paper.study.coloredcoco import choose, compare_objectives, summarise
from counterground.paper.study.theory import Definition, printed_bounds, simulate_grid
from counterground.published import load_table


@pytest.fixture(scope="module")
def theory(tmp_path_factory):
    out = tmp_path_factory.mktemp("theory")
    settings = TheorySettings(n=500, seeds=2, mu_spu=(1.0, 1.5, 2.0), p_spu=(0.6, 0.9))
    return _write("theory", {"grid": simulate_grid(settings)}, out)


def object_trainings():
    rng = np.random.default_rng(1)
    recipe = {"learning_rate": 1e-4, "weight_decay": 1e-3, "warmup_steps": 0}
    rows = [
        {"model": "small", "strength": strength, "objective": objective, "seed": seed, "validation": 0.9}
        | recipe
        | {"id": 0.9, "ood": ood + 0.05 * rng.random(), "drop": 0.6, "follows": 0.5}
        for strength in (0.5, 0.8, None)
        for objective, ood in (("obj", 0.3), ("objbkg", 0.2), ("supervised", 0.1))
        for seed in range(3)
    ]
    zero = {"model": "small", "objective": "zero shot", "validation": 0.7} | dict.fromkeys(recipe)
    rows += [
        zero | {"strength": strength, "seed": seed, "id": level, "ood": 0.68, "drop": 0.02, "follows": 0.1}
        for strength, level in ((0.5, 0.3), (0.8, 0.7), (None, 0.5))
        for seed in range(3)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    out, trainings = tmp_path_factory.mktemp("objects"), object_trainings()
    chosen = choose(trainings)
    results = {"results": summarise(chosen), "comparisons": compare_objectives(chosen)}
    return _write("coloredcoco", results, out)


def _write(name, results, out: Path) -> Path:
    """Tables and run.json as `write_study` leaves them; its page does not matter here."""
    for stem, frame in results.items():
        frame.write_parquet(out / f"{stem}.parquet")
    (out / "run.json").write_text(json.dumps({"study": name}))
    return out


def test_theory_is_drawn_from_its_grid(theory, draw):
    (drawings, absent) = draw(["theory"], published=True, studies=[theory])
    assert absent == []
    left, right = drawings["theory-own"].figure.axes
    grid = pl.read_parquet(theory / "grid.parquet")
    rows = grid.filter(mu_spu=1.5, prompt="mean of the class").sort("p_spu")
    drawn = {tuple(line.get_ydata()) for line in left.get_lines()}
    assert tuple(100 * rows["accuracy_fits"].to_numpy()) in drawn
    assert tuple(100 * (1 - rows["error_misleads"].to_numpy())) in drawn
    dashed = next(line for line in right.get_lines() if line.get_label() == "printed lower bound")
    bound = [100 * printed_bounds(Definition(mu, 0.9))[1] for mu in dashed.get_xdata()]
    np.testing.assert_allclose(dashed.get_ydata(), bound)


def test_printed_digits_are_table_8(paper):
    for axes in paper[0]["multicoloredmnist"].figure.axes:
        words = axes.get_title(loc="left")
        p_inv, p_spu = (float(words.split(" %")[k].rsplit(" ", 1)[1]) / 100 for k in (0, 1))
        rows = load_table("multicoloredmnist_results").filter(p_inv=p_inv, p_spu=p_spu, method="Contrastive")
        np.testing.assert_allclose(axes.containers[1].lines[0].get_ydata(), rows["rev_mean"].to_numpy())


def test_objects_are_drawn_at_the_papers_strength(objects, draw):
    drawings, _ = draw(["10"], studies=[objects])
    (axes,) = drawings["figure-10-own"].figure.axes
    words = [label.get_text() for label in axes.get_xticklabels()]
    assert set(words) == {"zero shot", "supervised", "obj", "objbkg"}
    sides = [c for c in axes.containers if isinstance(c, BarContainer)]
    swept = pl.read_parquet(objects / "results.parquet").filter(strength=0.8)
    for side, column in zip(sides, ("id", "ood"), strict=True):
        expected = [100 * swept.filter(objective=word)[column].item() for word in words]
        np.testing.assert_allclose([bar.get_height() for bar in side], expected)
    assert "80 %" in drawings["figure-10-own"].caption


def test_folders_without_a_sound_study_are_refused(theory, tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    for record in ("{", '{"study": "else"}', '{"study": "theory"}'):
        (study / "run.json").write_text(record)
        with pytest.raises(CounterGroundError, match="study holds no finished study"):
            write_figures(studies=[study], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()

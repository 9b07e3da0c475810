"""What the study of coloured objects chooses and says of its trainings' figures."""

import numpy as np
import polars as pl
import pytest

from counterground.paper.study import over_seeds
from counterground.paper.study.coloredcoco import answer, choose, compare_objectives, draw_sweep, summarise


def rows(objective, values, strength=0.8, rate=1e-3, validation=None):
    keys = {"model": "m", "strength": strength, "objective": objective}
    setting = {"learning_rate": rate, "weight_decay": 0.1, "warmup_steps": 0}
    if objective == "zero shot":
        setting = dict.fromkeys(setting)
    return [
        keys
        | {"seed": seed, "id": value, "ood": ood, "drop": value - ood, "follows": 0.5, "train_loss": None}
        | setting
        | {"validation": value if validation is None else validation}
        for seed, (value, ood) in enumerate(values)
    ]


def frame(*parts):
    return pl.DataFrame([row for part in parts for row in part], infer_schema_length=None)


def test_the_setting_is_chosen_by_validation_in_distribution_alone():
    found = choose(
        frame(
            rows("zero shot", [(0.2, 0.2)] * 2, strength=None),
            rows("obj", [(0.9, 0.0), (0.9, 0.0)], rate=1e-3, validation=0.7),
            rows("obj", [(0.6, 0.6), (0.6, 0.6)], rate=1e-4, validation=0.8),
            rows("obj", [(0.5, 0.5), (0.5, 0.5)], rate=1e-5, validation=0.8),
        )
    )
    assert found.filter(objective="obj")["learning_rate"].to_list() == [1e-4, 1e-4]
    assert len(found) == 4


def test_intervals_and_differences_over_seeds_are_students():
    table = frame(
        rows("obj", [(0.8, 0.10), (0.8, 0.20), (0.8, 0.30)]),
        rows("supervised", [(0.9, 0.12), (0.9, 0.24), (0.9, 0.36)]),
        rows("obj", [(0.5, 0.5), (0.5, 0.5), (0.5, 0.5)], strength=None),
    )
    results = summarise(table)
    found = results.row(0, named=True)
    reach = 4.302653 * 0.1 / 3**0.5
    assert (found["ood"], found["ood_low"], found["ood_high"]) == pytest.approx((0.2, 0.0, 0.2 + reach))
    difference = compare_objectives(table).row(0, named=True)
    reach = 4.302653 * 0.02 / 3**0.5
    assert difference["objective"] == "supervised"
    assert [difference[key] for key in ("difference", "low", "high")] == pytest.approx(
        [0.04, 0.04 - reach, 0.04 + reach]
    )
    assert difference["p_holm"] >= difference["p"] > 0.05
    assert [*over_seeds([0.3]).values()] == [0.3, None, None, None]
    marks = {tuple(np.round(line.get_ydata(), 6)) for line in draw_sweep(results, "m").axes[0].get_lines()}
    assert {(50.0, 80.0), (50.0, 20.0), (90.0,), (24.0,)} <= marks


def test_a_training_that_diverged_is_missing_and_its_seed_is_not_compared():
    lost = dict.fromkeys(("id", "ood", "drop", "follows", "validation"))
    obj = rows("obj", [(0.8, 0.10), (0.8, 0.20), (0.8, 0.30)])
    unstable = rows("supervised", [(0.99, 0.9), (0.99, 0.9)], rate=1.0)
    unstable.append(unstable[-1] | lost | {"seed": 2})
    stable = rows("supervised", [(0.9, 0.12), (0.9, 0.24), (0.9, 0.36)])
    chosen = choose(frame(obj, unstable, stable))
    assert set(chosen.filter(objective="supervised")["learning_rate"]) == {1e-3}
    stable[1] |= lost
    other = rows("supervised", [(0.5, 0.5)] * 3, strength=0.5) + rows("obj", [(0.5, 0.4)] * 3, strength=0.5)
    gone = [row | lost for row in rows("objbkg", [(0.5, 0.5)] * 3)]
    table = choose(frame(obj, stable, other, gone))
    results = summarise(table)
    found = {row["objective"]: row for row in results.filter(strength=0.8).to_dicts()}
    assert (found["supervised"]["seeds"], found["objbkg"]["seeds"]) == (2, 0)
    assert found["supervised"]["ood"] == pytest.approx(0.24)
    assert found["objbkg"]["ood"] is found["objbkg"]["ood_low"] is None
    differences = compare_objectives(table).filter(measure="ood")
    assert differences.select("objective", "strength", "seeds").rows() == [
        ("supervised", 0.8, 2),
        ("supervised", None, 2),
    ]
    assert differences["difference"].to_list() == pytest.approx([0.04, 0.07])
    assert "accuracy is 80.0 to 90.0 % on" in answer(results)
    draw_sweep(results, "m")


def test_intervals_end_where_accuracies_do():
    rows = [
        {"model": "m", "strength": 0.8, "objective": "obj", "seed": seed, "learning_rate": 1.0}
        | {"weight_decay": 0.0, "warmup_steps": 0, "id": ood + 0.1, "ood": ood, "drop": 0.1, "follows": 0.9}
        for seed, ood in enumerate((0.1, 0.8))
    ]
    row = summarise(pl.DataFrame(rows)).row(0, named=True)
    assert (row["ood_low"], row["ood_high"]) == (0.0, 1.0)
    assert row["drop_low"] == pytest.approx(0.1)

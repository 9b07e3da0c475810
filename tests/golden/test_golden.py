"""Numbers that must not move: plain tables in, quantities out, equal to 1e-9 whatever the code is called.

``python tests/golden/test_golden.py [CASE ...]`` writes the numbers of the code as it is.
"""

import os
import sys
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parent))

import adapter

HERE = Path(__file__).parent
DROP = "drop: group=common - group=counter"
HELD = "held: place=water - place=land within class_name, weather"
AVERAGE = "training_gap: average(training) - all"
SMALL = "small: object_size<0.25 - object_size>=0.25"
BOTH = "both: place=water & weather=fog|rain - place=land & weather!=fog within all"
SHARES = {
    ("landbird", "land"): 3498,
    ("landbird", "water"): 184,
    ("waterbird", "land"): 56,
    ("waterbird", "water"): 1057,
    ("shorebird", "water"): 300,
}
BIRDS = {
    "cells": ("class_name", "place"),
    "contrasts": (DROP, HELD, AVERAGE, SMALL, BOTH),
    "weights": {"training": SHARES},
}
CROSSED = BIRDS | {"contrasts": (DROP, HELD, AVERAGE), "clusters": ("cluster", "cluster_2")}
COMPOSITES = {"clusters": ("cluster", "background_cluster")}
TOLERANCES = {"mitigation": 1e-6, "generative": 1e-4}  # what is computed in float32
KEYS = ["model", "quantity"]
SCHEMA = dict.fromkeys((*KEYS, *adapter.COLUMNS), pl.Float64) | dict.fromkeys((*KEYS, "text"), pl.String)


def read(name):
    return pl.read_parquet(HERE / "inputs" / f"{name}.parquet")


def given(name):
    return pl.read_parquet(HERE / "given" / f"{name}.parquet")


def one_sided():
    table = read("one_sided")
    yield from adapter.scores(table)
    yield from adapter.breakdown(table, ["background"])
    yield from adapter.breakdown(table, ["class_name", "group"], balanced=False)
    yield from adapter.comparison(table)


def contrasts(asked=BIRDS):
    table = read("attributes")
    yield from adapter.scores(table, **asked)
    yield from adapter.breakdown(table, ["weather"], **asked)
    yield from adapter.breakdown(table, ["class_name", "place"], balanced=False, **asked)
    for contrast in asked["contrasts"]:
        for row in adapter.comparison(table, contrast, **asked):
            yield row | {"quantity": f"{contrast.partition(':')[0]}: {row['quantity']}"}


def crossed():
    yield from contrasts(CROSSED)


def swapped():
    yield from adapter.effects(given("swap"), chance=0.001)


def discovered():
    table = read("referees")
    first, weak = table.filter(model="referee a"), table.filter(model="referee c")
    for rows in (adapter.pairs(first, "half", "shrunken"), adapter.pairs(weak, "cross", "shrunken")):
        yield from (row for row in rows if not row["quantity"].startswith("accuracy"))  # which do not choose
    for split in ("half", "cross", "none"):
        yield from adapter.pairs(first, split)
        yield from adapter.pairs(weak, split, seed=3)
        yield from adapter.pairs(table, split)


def compared():
    demo = given("demo")
    yield from adapter.comparison(demo)
    for row in adapter.comparison(read("attributes"), scale="logit"):
        yield row | {"model": f"{row['model']}, logit"}


def planned():
    table, demo = read("attributes"), given("demo")
    for clusters in (None, 60):
        yield from adapter.plan(demo, drop=0.1, among=clusters)
        assumed = {"classes": 12, "photos": 15, "cluster_size": 3, "accuracy": 0.9, "icc": 0.2}
        yield from adapter.plan(assumed=assumed, drop=0.08, power=0.9, among=clusters)
    yield from adapter.plan(table, drop=0.15, against="resnet50")
    for row in adapter.plan(table, drop=0.12, among=40, **CROSSED):
        yield row | {"model": f"{row['model']}, crossed"}
    two = pl.col("path").is_in(["landbird/water/0.jpg", "landbird/water/1.jpg"])
    for row in adapter.plan(
        table.with_columns(cluster=pl.when(two).then("class_name")), drop=0.22, among=105
    ):
        yield row | {"model": f"{row['model']}, two photos share a cluster"}
    for row in adapter.plan(given("swap"), drop=0.1, **COMPOSITES):
        yield row | {"model": f"{row['model']}, composites"}


def checked():
    table, demo = read("attributes"), given("demo")
    limits = {"max_drop": 0.2, "min_accuracy": 0.6}
    found = {
        "demo": adapter.check(demo, names=1000, **limits),
        "near chance": adapter.check(demo, names=10, max_drop=0.05),
        "three limits": adapter.check(table, table.filter(model="resnet50"), margin=0.1, **limits),
        "crossed": adapter.check(table, table.filter(model="lite0"), margin=0.1, **limits, **CROSSED),
        "composites": adapter.check(given("swap"), names=1000, max_drop=0.1, **COMPOSITES),
    }
    for name, rows in found.items():
        for row in rows:
            yield row | {"model": f"{row['model']}, {name}"}


def mitigation():
    table, scale = read("features"), 20.0
    words = {text: np.array(vector) for text, *vector in pl.read_csv(HERE / "inputs" / "words.csv").rows()}
    true, group = table["true_index"].to_numpy(), table["group"].to_numpy()
    for name, found in adapter.mitigated_heads(table, words, scale):
        logits = found.astype(np.float64)
        losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(true)), true]
        for side in ("common", "counter"):
            right = (logits.argmax(axis=1) == true)[group == side]
            yield {"model": name, "quantity": f"accuracy, {side}", "value": right.mean(), "n": len(right)}
            yield {"model": name, "quantity": f"loss, {side}", "value": losses[group == side].mean()}


def judged():
    with TemporaryDirectory() as folder:
        methods = ("template-ensemble", "text-projection", "balanced-prototypes", "afr")
        yield from adapter.mitigation(methods, Path(folder) / "run")


def paper():
    yield from adapter.comparison()
    for scale in ("probit", "logit"):
        yield from adapter.claim(scale)


def annotators():
    yield from adapter.annotators(pl.read_csv(HERE / "inputs" / "votes.csv"))


def generative():
    """A tiny LVLM whose weights are computed here, so that no version of a library draws others."""
    import tiny_lvlm
    import torch
    from PIL import Image

    with TemporaryDirectory() as folder:
        weights, photos = Path(folder) / "tiny", Path(folder) / "photos"
        network, processor = tiny_lvlm._llava(2, 32, 56)
        with torch.no_grad():
            for place, (name, parameter) in enumerate(network.named_parameters()):
                at = torch.arange(parameter.numel(), dtype=torch.float64)
                noise = torch.frac(torch.sin(at * 12.9898 + place * 78.233) * 43758.5453).reshape(
                    parameter.shape
                )
                parameter.copy_(0.3 * noise if parameter.ndim > 1 else 0.1 * noise + ("weight" in name))
        network.eval().save_pretrained(weights)
        processor.save_pretrained(weights)
        x, y = np.meshgrid(np.arange(56), np.arange(56))
        for place, name in enumerate(("ice bear", "black swan", "flamingo")):
            for group in ("common-snow", "counter-grass"):
                waves = [np.cos(x * (0.1 + 0.1 * place) + y * len(group) / 50 + c * place) for c in range(3)]
                path = photos / name / group / "0.png"
                path.parent.mkdir(parents=True)
                Image.fromarray((127 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)).save(path)
        for protocol in ("answer-loss", "yes-no", "multiple-choice"):
            yield from adapter.answers(weights, photos, protocol, Path(folder) / protocol)


CASES = [one_sided, contrasts, crossed, swapped, discovered, compared, planned, checked, paper, annotators]
CASES += [mitigation, judged, generative]


def numbers(rows):
    schema = dict.fromkeys(KEYS, pl.String) | dict.fromkeys(adapter.COLUMNS, pl.Float64) | {"text": pl.String}
    found = pl.DataFrame(
        [{name: row.get(name) for name in schema} for row in rows], schema=schema, strict=False
    )
    known = found.filter(pl.any_horizontal(pl.col(adapter.COLUMNS).is_not_null()))
    assert not known.select(KEYS).is_duplicated().any()
    return known


def frozen(path):
    return pl.read_csv(path, schema_overrides=SCHEMA)


def moved(expected, found, tolerance=1e-9):
    """Return what is in one table only, or differs by more than the tolerance, in any column of the first."""
    both = expected.join(found, on=KEYS, how="full", suffix=" now")
    wrong = pl.any_horizontal(pl.col(f"{KEYS[0]}", f"{KEYS[0]} now").is_null())
    for name in set(expected.columns) - set(KEYS):
        before, now = pl.col(name), pl.col(f"{name} now")
        far = before != now if expected.schema[name] == pl.String else (before - now).abs() > tolerance
        wrong |= far.fill_null(value=False) | (before.is_null() != now.is_null())
    return both.filter(wrong).to_dicts()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_numbers_do_not_move(case):
    name = case.__name__
    expected = frozen(HERE / "numbers" / f"{name}.csv")
    found = numbers(case()).join(expected, on=KEYS, how="semi")  # a new metric moves no number
    assert not moved(expected, found, TOLERANCES.get(name, 1e-9))


@pytest.mark.parametrize("source", ["demo", "swap"])
def test_the_given_numbers_come_out(source):
    table = given(source)
    rows = (
        adapter.effects(table, 0.001)
        if source == "swap"
        else chain(adapter.scores(table), adapter.comparison(table))
    )
    expected = (
        frozen(HERE / "given" / "numbers.csv").filter(source=source).drop("source").rename({"p": "p_value"})
    )
    found = numbers(rows).join(expected, on=KEYS, how="semi")
    assert not moved(expected, found)


def test_the_papers_models_keep_their_distances():
    printed = pl.read_csv(HERE / "given" / "published_distances.csv")
    expected = printed.select(
        pl.concat_str("model", "source", separator=", "),
        quantity=pl.lit("distance"),
        value="residual",
        low="low",
        high="high",
        p_value="p",
    )
    assert not moved(expected, numbers(adapter.comparison()).filter(quantity="distance"))


def test_a_hundred_millionth_is_noticed():
    expected = frozen(HERE / "numbers" / "one_sided.csv")
    for name in ("value", "low", "p_value", "classes_high"):
        place = expected[name].is_not_null().arg_max()
        change = pl.when(pl.int_range(pl.len()) == place).then(pl.col(name) + 1e-8).otherwise(name)
        assert len(moved(expected, expected.with_columns(change))) == 1
    assert len(moved(expected, expected[1:])) == len(moved(expected[1:], expected)) == 1


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        os.environ["COUNTERGROUND_CACHE"] = folder
        for case in CASES:
            if case.__name__ in sys.argv[1:] or not sys.argv[1:]:
                found = numbers(case()).with_columns(pl.col(pl.Float64).round(12))
                found.write_csv(HERE / "numbers" / f"{case.__name__}.csv")

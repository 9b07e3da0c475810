"""Ranks with their ranges, and rank correlations of class-wise drops."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from paper_sized import OPEN_CLIP_REFEREE, paper_sizes, printed_accuracies
from scipy.stats import norm, spearmanr

from counterground.comparison import (
    drop_agreement,
    full_comparison,
    model_points,
    rank_models,
)
from counterground.metrics import DROP, Contrast, Design
from counterground.published import load_table
from counterground.results import Run


def test_the_papers_ranks():
    ranks = rank_models(model_points())
    ordered = ranks.sort("rank")
    assert ordered["model"][0] == "CLIP-DFN5B-ViT/H/14-384"
    assert ordered.row(-1, named=True)["model"] == "CLIP-LAION400M-ViT/B/32"
    assert ordered.row(-1)[-4:] == (43, 43, 43, 43)
    assert (ranks["rank_low"] <= ranks["rank"]).all()
    assert (ranks["rank"] <= ranks["rank_high"]).all()
    assert ordered["rank_high"][0] == 7


@pytest.mark.parametrize(
    "model",
    ["CLIP-LAION400M-ViT/B/16", "CLIP-LAION2B-ViT/B/32", "CLIP-OpenAI-ViT/B/32", "CLIP-LAION400M-ViT/L/14"],
)
def test_the_binomial_error_is_near_and_not_under_the_one_of_the_class_wise_accuracies(model):
    ranks = rank_models(model_points())
    approximate = ranks.filter(pl.col("model") == model)["standard_error"][0]
    levels, sizes = printed_accuracies(model), paper_sizes()
    exact = np.sqrt((levels * (1 - levels) / sizes).sum()) / 45
    assert exact <= approximate <= 1.4 * exact


def test_paired_tests_decide_where_photos_are_shared(make_run):
    """Two models that differ on few photos, always in the same way, are told apart only when paired."""
    run = make_run(
        {"torchvision:a": (0.8, 0.6), "torchvision:b": (0.8, 0.55), "torchvision:c": (0.8, 0.59)},
        sizes=np.full((12, 2), 100),
        name="own",
    )
    points = model_points([run], published=False)
    told = rank_models(points, paired={(0, 1): 1e-6, (0, 2): 0.9, (1, 2): 1e-6})
    assert told.select("rank", "rank_low", "rank_high").rows() == [(1, 1, 2), (3, 3, 3), (2, 1, 2)]
    errors = (points["drop_high"] - points["drop_low"]) / (2 * norm.ppf(0.975))
    assert told["standard_error"].to_list() == pytest.approx(errors.to_list())
    untold = rank_models(points, paired={(0, 1): None, (0, 2): None, (1, 2): None})
    assert untold.select("rank_low", "rank_high").unique().rows() == [(1, 3)]
    found = full_comparison(run, published=False)
    p_values = dict(
        zip(
            [(0, 1), (0, 2), (1, 2)],
            found.tests.filter(pl.col("metric") == "drop")["p_value"],
            strict=True,
        )
    )
    assert found.ranks.drop("row").equals(rank_models(points, paired=p_values).drop("row"))


SHARED = {"open_clip:a/x": 0, "open_clip:b/x": 15, "open_clip:c/x": 30}


@pytest.fixture
def nested(make_run):
    """Function: (path, specs, **setting) -> Run whose models are wrong on 0, 15 or 30 more counter photos."""

    def make(path, specs, **setting):
        right = dict.fromkeys(specs, (0.8, 0.6))
        run = make_run(right, sizes=np.full((6, 2), 40), name="stamps", path=path, **setting)
        parts = []
        for spec in specs:
            rows = run.predictions.filter(model=specs[0]).sort("path").with_columns(model=pl.lit(spec))
            first = rows["correct"].to_numpy().copy()
            places = np.flatnonzero(first & (rows["group"] == "counter").to_numpy())
            first[places[:: len(places) // 30][: SHARED[spec]]] = False
            parts.append(rows.with_columns(correct=pl.Series(first)))
        found = pl.concat(parts)
        return Run(run.path, run.info, found)

    return make


def test_ranks_rest_on_all_pairs_whichever_are_told(nested):
    run = nested("mine", list(SHARED))
    whole = full_comparison(run, published=False)
    # Independent standard errors could not tell the first from the last.
    assert whole.ranks.filter(rank=1)["rank_high"][0] < 3
    for spec in SHARED:
        narrowed = full_comparison(run, published=False, against=spec)
        assert narrowed.ranks.equals(whole.ranks)
        assert set(narrowed.tests["versus"]) == {spec}


def test_models_asked_in_different_ways_are_paired_by_their_photos(nested):
    together = full_comparison(nested("mine", list(SHARED)), published=False).ranks
    apart = full_comparison(
        [
            nested(name, [spec], names=names)
            for (name, names), spec in zip(
                (("p", "openai"), ("q", "wordnet"), ("r", "x")), SHARED, strict=True
            )
        ],
        published=False,
    )
    assert apart.tests.is_empty()
    ranks = ["model", "rank", "rank_low", "rank_high"]
    assert apart.ranks.select(ranks).equals(together.select(ranks))


def test_the_ranges_hold_together_as_often_as_they_should():
    """Ten models of known drops, drawn anew: all true ranks lie in their ranges in at least 95 %."""
    rng = np.random.default_rng(0)
    truth = np.array([0.10, 0.11, 0.12, 0.12, 0.14, 0.16, 0.17, 0.2, 0.22, 0.25])
    columns = {"model": [str(k) for k in range(10)], "source": ["run"] * 10}
    held = 0
    for _ in range(300):
        drops = truth + rng.normal(0, 0.02, 10)
        points = pl.DataFrame(
            {**columns, "drop": drops, "drop_low": drops - 0.0392, "drop_high": drops + 0.0392}
        )
        ranks = rank_models(points)
        least = np.array([1 + (truth < value).sum() for value in truth])
        most = np.array([(truth <= value).sum() for value in truth])
        held += bool(
            ((ranks["rank_low"].to_numpy() <= most) & (ranks["rank_high"].to_numpy() >= least)).all()
        )
    assert held / 300 >= 0.95


def test_agreement_of_the_papers_five_is_spearmans():
    found = drop_agreement()
    assert found.height == 10
    wide = load_table("classwise_results").unique(["model", "class_id"], keep="first", maintain_order=True)
    drops = {model: part.sort("class_id")["drop"].to_numpy() for (model,), part in wide.group_by("model")}
    for row in found.iter_rows(named=True):
        expected = spearmanr(drops[row["model"]], drops[row["versus"]]).statistic
        assert row["correlation"] == pytest.approx(expected)
        assert (row["low"], row["high"]) == (None, None)  # errors on the same photos are in it
        assert row["classes"] == 45


@pytest.mark.parametrize(("effect", "lowest", "highest"), [(0.0, -0.15, 0.15), (1.0, 0.5, 1.0)])
def test_drops_by_chance_on_the_same_photos_do_not_agree(make_run, effect, lowest, highest):
    """Two models of 40 classes that err on the same photos, with and without backgrounds that matter."""
    run = make_run(
        {f"torchvision:{name}": np.full((40, 2), 0.8) for name in "ab"}, sizes=np.full((40, 2), 40)
    )
    rng = np.random.default_rng(1)
    shared = rng.normal(0.8, 0.9, (40, 2, 40))  # class, group, photo
    shared += rng.normal(0, effect, (40, 1, 1)) * [[[0.5], [-0.5]]]
    right = np.array([shared + rng.normal(0, 0.45, shared.shape) > 0 for _ in range(2)])
    drawn = run.predictions.sort("model", "class_index", "group", "path").with_columns(
        correct=right.ravel(), cluster=pl.lit(None, dtype=pl.String)
    )
    found = drop_agreement({"run": Run(run.path, run.info, drawn)}, published=False)
    (row,) = found.iter_rows(named=True)
    drops = right[..., 0, :].mean(-1) - right[..., 1, :].mean(-1)
    assert spearmanr(*drops).statistic > 0.4
    assert lowest < row["correlation"] < highest
    assert (row["low"] > 0) == (effect > 0)


def test_halves_are_of_the_clusters_of_the_design(make_run):
    """Two models err on the same sessions of five photos; no background matters."""
    made = make_run(
        {f"torchvision:{name}": np.full((40, 2), 0.8) for name in "ab"}, sizes=np.full((40, 2), 40)
    )
    rng = np.random.default_rng(3)
    shared = np.repeat(rng.normal(0.8, 1.0, (40, 2, 8)), 5, axis=-1)  # class, group, session of a photo
    right = np.array([shared + rng.normal(0, 0.3, shared.shape) > 0 for _ in range(2)])
    session = [f"{number}" for number in np.repeat(np.arange(640), 5)] * 2
    drawn = made.predictions.sort("model", "class_index", "group", "path").with_columns(
        correct=right.ravel(), cluster=pl.lit(None, dtype=pl.String), session=pl.Series(session)
    )
    found = {}
    for clusters in (("session",), ("session", "background")):
        design = Design(clusters=clusters)
        record = made.info.benchmark.model_copy(update={"design": design.to_json()})
        info = made.info.model_copy(update={"benchmark": record})
        run = Run(made.path, info, drawn)
        (found[len(clusters)],) = drop_agreement({"run": run}, published=False).iter_rows(named=True)
    assert -0.15 < found[1]["correlation"] < 0.15
    assert found[2]["correlation"] > 0.4
    assert found[2]["low"] is None


def test_a_run_that_repeats_a_model_agrees_with_its_printed_drops(referee_run):
    found = drop_agreement({"referee": referee_run})
    own = found.filter(
        (pl.col("versus") == OPEN_CLIP_REFEREE) & (pl.col("model") == "CLIP-LAION400M-ViT/B/32")
    )
    assert found.height == 15
    assert own["correlation"][0] > 0.99
    assert own["versus_source"][0] == "referee"


def test_a_model_near_chance_is_not_ranked(make_run):
    """At 0 % a model cannot drop: first by drop, it would pass for one that hardly relies on backgrounds."""
    found = full_comparison(make_run({"sees": (0.9, 0.6), "guesses": (0.0, 0.0)}), published=False)
    assert found.points["near_chance"].to_list() == [False, True]
    assert found.models.select("label", "rank", "of").rows() == [("sees", 1, 1), ("guesses", None, None)]
    (guessing,) = [each for each in found.findings if each.code == "near_chance"]
    assert guessing.numbers["models"] == ("guesses",)


def test_what_is_compared_is_the_first_contrast_of_the_first_run(make_run):
    mirrored = Contrast("mirrored", "group=counter", "group=common")

    def run(path, *contrasts):
        levels = {f"torchvision:{path}": (0.8, 0.6)}
        made = make_run(levels, sizes=np.full((4, 2), 20), name="stamps", path=path)
        design = Design(contrasts=contrasts).to_json()
        benchmark = made.info.benchmark.model_copy(update={"design": design})
        info = made.info.model_copy(update={"benchmark": benchmark})
        return Run(made.path, info, made.predictions)

    one, two = run("a", mirrored, DROP), run("b", DROP, mirrored)
    assert full_comparison([one, two], published=False).contrast == mirrored
    assert full_comparison([two, one], published=False).contrast == DROP


def test_errors_by_clusters_of_two_designs_are_not_subtracted(make_run, tmp_path):
    """Another version of one benchmark's design leaves its photos, and so its version, as they are."""

    def run(name, design):
        made = make_run(
            {f"torchvision:{name}": np.full((8, 2), 0.7)}, sizes=np.full((8, 2), 20), path=tmp_path / name
        )
        rows = made.predictions.sort("path").with_columns(session=pl.int_range(pl.len()).cast(pl.String))
        record = made.info.benchmark.model_copy(update={"design": design.to_json()})
        info = made.info.model_copy(update={"benchmark": record})
        return Run(made.path, info, rows)

    design = Design(clusters=("session",))
    runs = [run("a", design), run("b", replace(design, clusters=("background",)))]
    found = full_comparison(runs, published=False)
    assert found.tests.is_empty()
    assert {each.numbers["others"] for each in found.findings if each.code == "not_tested"} == {
        ("a",),
        ("b",),
    }
    assert found.agreement["low"].to_list() == [None]
    assert found.models["rank"].null_count() == 0
    of_three = full_comparison([*runs, run("c", design)], published=False)
    assert set(of_three.tests.select("model", "versus").rows()) == {("torchvision:a", "torchvision:c")}
    pairs = of_three.agreement.select("model", "versus", "low").rows()
    assert {pair[:2]: pair[2] is not None for pair in pairs} == {
        ("torchvision:a", "torchvision:b"): False,
        ("torchvision:a", "torchvision:c"): True,
        ("torchvision:b", "torchvision:c"): False,
    }

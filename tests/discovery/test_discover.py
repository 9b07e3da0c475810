"""What `discover` writes, says and refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import colour_model
import numpy as np
import polars as pl
import pytest

import counterground as cg
from counterground.catalogue import Finding
from counterground.comparison import selection_of

# Many pairs are made here: a command would need many classes.
from counterground.discovery import discover_pairs, read_discovery
from counterground.errors import CounterGroundError, OtherNamesWarning, UsageError
from counterground.metrics import DROP, Contrast, Design
from counterground.photos import Discovered, read_benchmark
from counterground.settings import DiscoverSettings

REFEREE = "colour_model:brightness"  # of tests/support: right about one time in three


def discovered(benchmark, out, model=REFEREE, label_space="benchmark", **changes):
    options = {"min_drop": 0, "min_photos": 1, "seed": 3, "write_anyway": True, **changes}
    return discover_pairs(benchmark, model, DiscoverSettings(label_space=label_space, **options), out)


def test_discover_writes_a_benchmark_of_the_other_half(photos, tmp_path):
    benchmark = read_benchmark(photos)
    found = discovered(benchmark, tmp_path / "pairs")
    again = read_benchmark(tmp_path / "pairs")
    assert again.photos.equals(found.benchmark.photos)
    assert set(again.photos["path"]) < set(benchmark.photos["path"])
    chose = found.cells.filter(pl.col("half") == "chooses")["n"].sum()
    reports = found.cells.filter(pl.col("half") == "reports")["n"].sum()
    assert chose + reports == 48
    expected = {
        (row["class_index"], row[group]): group
        for row in found.pairs.iter_rows(named=True)
        for group in ("common", "counter")
    }
    for row in again.photos.iter_rows(named=True):
        assert row["group"] == expected[row["class_index"], row["background"]]
        assert (tmp_path / "pairs" / again.root / row["path"]).exists()
    assert found.sentence == " ".join(again.notes)
    read = read_discovery(tmp_path / "pairs")
    assert read.pairs.equals(found.pairs)
    tables = dict.fromkeys(("pairs", "cells", "benchmark"))
    assert vars(read) | tables == vars(found) | tables
    assert read_discovery(tmp_path) is None
    came_from = f"photos@{benchmark.version[:8]}"
    expected = Discovered(REFEREE, "half", 0, came_from, "photos", referee_candidates="benchmark")
    assert again.discovery == found.benchmark.discovery
    assert replace(again.discovery, fingerprints=()) == expected
    (record,) = cg.open_run(tmp_path / "pairs" / "referee").info.models
    assert again.discovery.fingerprints == (record.fingerprint,)
    record = json.loads((tmp_path / "pairs" / "discovery.json").read_text())
    assert record["chosen_drop"]["value"] == pytest.approx(found.pairs["drop"].mean())
    assert record["exceeds_chance"] is False
    assert record["held_out_by_chance"]["p"] == found.held_out_by_chance.p


def test_the_held_out_drop_is_what_evaluate_says_of_the_benchmark(photos, tmp_path):
    found = discovered(read_benchmark(photos), tmp_path / "pairs")
    run = cg.evaluate(
        tmp_path / "pairs", REFEREE, label_space="benchmark", out=tmp_path / "run", report=False
    )
    (drop,) = run.estimates().filter(pl.col("class_index").is_null(), metric="drop").rows(named=True)
    for name in ("value", "low", "high", "n", "clusters"):
        assert getattr(found.reported_drop, name) == pytest.approx(drop[name], abs=1e-12)


def test_halves_share_none_of_the_clusters_that_the_design_names(photos, tmp_path):
    benchmark = read_benchmark(photos)
    places = pl.Series("place", [f"place {number % 8}" for number in range(len(benchmark.photos))])
    visitors = pl.Series("visitor", [f"visitor {number % 5}" for number in range(len(benchmark.photos))])
    gap = Contrast("gap", "place=place 0", "place=place 1")
    of_places = replace(
        benchmark,
        photos=benchmark.photos.with_columns(places, visitors),
        design=Design(contrasts=(gap,), clusters=("place", "visitor")),
    )
    found = discovered(of_places, tmp_path / "pairs")
    kept = found.benchmark.photos.select("path", "place")
    others = of_places.photos.join(kept, on="path", how="anti").join(
        found.pairs.unpivot(["common", "counter"], index="class_index", value_name="background"),
        on=["class_index", "background"],
        how="semi",
    )
    assert not set(kept["place"]) & set(others["place"])
    assert found.reported_drop.clusters == kept["place"].n_unique()
    assert "the column place alone, not of visitor" in found.sentence
    assert found.benchmark.design.contrasts == (DROP, gap)


def test_copies_of_a_photo_are_in_one_half_whichever_column_the_design_names(photos, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "with copies")
    for path in sorted(folder.rglob("*.*")):
        shutil.copy(path, path.with_stem(f"{path.stem}-copy"))
    benchmark = read_benchmark(folder)
    own = benchmark.photos.with_columns(visitor="path")
    found = discovered(
        replace(benchmark, photos=own, design=Design(clusters=("visitor",))), tmp_path / "pairs"
    )
    kept = found.benchmark.photos
    assert kept.height == 2 * kept["photo_id"].n_unique() == 2 * found.reported_drop.clusters


def test_without_a_split_the_sentence_says_that_the_drop_is_biased(photos, tmp_path):
    found = discovered(read_benchmark(photos), tmp_path / "pairs", split="none")
    assert found.reported_drop is None
    assert Finding("chose_here", REFEREE, {"noun": "drop"}).text in found.sentence
    assert len(found.benchmark.photos) == 16 * len(found.pairs)
    assert found._repr_html_().count("<tr>") == 1 + len(found.pairs) + 1 + 3


def test_a_swapped_benchmark_says_that_its_interval_is_too_narrow(photos, tmp_path):
    found = discovered(read_benchmark(photos), tmp_path / "pairs", split="cross")
    assert found.benchmark.discovery.split == "cross"
    assert set(found.pairs["half"]) == {"first", "second"}
    too_narrow = Finding("chose_other_half", REFEREE).text
    assert too_narrow in found.benchmark.notes
    assert " first " in repr(found)
    run = cg.evaluate(
        tmp_path / "pairs", REFEREE, label_space="benchmark", out=tmp_path / "run", report=False
    )
    assert too_narrow in run.info.benchmark.notes
    (drop,) = run.estimates().filter(pl.col("class_index").is_null(), metric="drop").rows(named=True)
    assert found.reported_drop.high - found.reported_drop.low > drop["high"] - drop["low"]
    assert "chose_other_half" in {each.code for each in cg.compare(run).findings}


def test_a_swap_of_one_half_alone_is_no_swap(tmp_path):
    """Where one half keeps no pair, the photos of the benchmark are held out, and their interval is right."""
    right = np.eye(3, dtype=np.uint8) * 200
    for seed in range(20):
        rng = np.random.default_rng(seed)
        names = [name for name in colour_model.NAMES[:2] for _ in range(40)]
        backgrounds = (["snow"] * 20 + ["grass"] * 20) * 2
        chances = [0.75] * 20 + [0.25] * 20 + [1.0] * 40
        shown = [place // 40 if rng.random() < chance else 1 for place, chance in enumerate(chances)]
        pixels = [
            np.full((8, 8, 3), right[colour], np.uint8) + np.uint8(n // 2) for n, colour in enumerate(shown)
        ]
        frame = {"path": pixels, "class_name": names, "background": backgrounds}
        made = cg.Benchmark.from_frame(frame, name="photos")
        found = discovered(made, tmp_path / str(seed), split="cross", min_drop=0.5)
        if found.pairs["half"].n_unique() == 1:
            break
    assert found.pairs["half"].n_unique() == 1
    assert found.benchmark.discovery.split == "half"
    assert Finding("chose_other_half", REFEREE).text not in found.sentence


def test_a_mitigated_referee_has_the_narrow_interval_of_its_referee(photos, tmp_path):
    discovered(read_benchmark(photos), tmp_path / "pairs", split="cross")
    run = cg.evaluate(
        tmp_path / "pairs", REFEREE, label_space="benchmark", out=tmp_path / "run", report=False
    )
    (own,) = run.info.models
    about = {"mitigation": {"method": "dfr"}}
    other = own.model_copy(update={"name": "brightness + dfr", "fingerprint": "0", "description": about})
    for fingerprint in (own.fingerprint, "unknown"):
        chose = own if fingerprint == own.fingerprint else own.model_copy(update={"description": {}})
        both = replace(run, info=run.info.model_copy(update={"models": [chose, other]}))
        assert selection_of(both).effects == {own.name: "narrow", "brightness + dfr": "narrow"}


def test_nothing_found_is_no_benchmark(photos, tmp_path):
    benchmark, out = read_benchmark(photos), tmp_path / "pairs"
    found = discovered(benchmark, out, write_anyway=False)
    assert found.benchmark is None
    assert not found.exceeds_chance
    assert found.sentence.startswith("No more than chance")
    assert {entry.name for entry in out.iterdir()} == {
        "cells.parquet", "discovery.json", "pairs.parquet", "referee"
    }  # fmt: skip
    with pytest.raises(CounterGroundError, match="a discovery that wrote no benchmark"):
        read_benchmark(out)
    read = read_discovery(out)
    assert read.benchmark is None
    assert repr(read) == repr(found)

    written = discovered(benchmark, out)
    assert len(written.benchmark) == len(read_benchmark(out))
    assert written.sentence.startswith("No more than chance")
    assert any("No more than chance" in note for note in read_benchmark(out).notes)
    assert discovered(benchmark, out, write_anyway=False).benchmark is None
    assert not (out / "photos.parquet").exists()


def test_a_discovery_without_a_benchmark_is_replaced_by_another_one_and_a_benchmark_is_not(photos, tmp_path):
    benchmark, out = read_benchmark(photos), tmp_path / "pairs"
    assert discovered(benchmark, out, min_drop=0.99).benchmark is None
    fewer = replace(benchmark, photos=benchmark.photos[:-1])
    assert discovered(fewer, out, min_drop=0.99).benchmark is None
    for label_space in ("benchmark", "imagenet"):
        found = discovered(benchmark, out, "colour_model:thousand", label_space, min_drop=0.98)
        assert found.benchmark is None
        assert found.min_drop == read_discovery(out).min_drop == 0.98
        assert read_discovery(out).pairs.is_empty()
    written = discovered(benchmark, out)
    assert len(read_benchmark(out)) == len(written.benchmark)
    with pytest.raises(UsageError, match="holds another discovery"):
        discovered(benchmark, out, min_drop=0.01)
    (out / "benchmark.json").unlink()  # the photos are still those of a benchmark
    with pytest.raises(UsageError, match="holds another discovery"):
        discovered(benchmark, out, min_drop=0.01)


def test_other_names_than_chose_the_pairs_are_told_before_the_run_and_in_it(photos, tmp_path):
    discovered(read_benchmark(photos), tmp_path / "pairs")
    asked = {"out": tmp_path / "run", "report": False, "overwrite": True}
    said = "with the label space 'benchmark', but this run uses 'imagenet'"
    with pytest.warns(OtherNamesWarning, match=said) as caught:
        run = cg.evaluate(tmp_path / "pairs", "colour_model:thousand", **asked)
    (note,) = [str(each.message) for each in caught]
    assert run.info.warnings.count(note) == 1
    assert run.info.benchmark.referee_candidates == "benchmark"
    for same in ("benchmark", tmp_path / "pairs" / "referee" / "label_space.json"):
        run = cg.evaluate(tmp_path / "pairs", "colour_model:thousand", label_space=same, **asked)
        assert not any("label space" in each for each in run.info.warnings)


def test_a_committee_is_recorded_and_warned_of(photos, tmp_path):
    models = {"light": REFEREE, "again": "colour_model:thousand"}
    found = discovered(read_benchmark(photos), tmp_path / "pairs", models)
    assert found.referee == "light and again"
    assert "Pairs chosen by light and again" in repr(found)
    how = read_benchmark(tmp_path / "pairs").discovery
    assert how == found.benchmark.discovery
    assert how.committee == how.referees == (REFEREE, "colour_model:thousand")
    for number, model in enumerate(how.referees):
        run = cg.evaluate(
            tmp_path / "pairs", model, label_space="benchmark", out=tmp_path / f"run {number}", report=False
        )
        assert ("chose_pairs", model) in {(each.code, each.subject) for each in cg.compare(run).findings}


def test_a_referee_is_told_from_another_file_of_its_name(photos, own_modules, tmp_path):
    models = []
    for seed, name in (("seed1", "brightness"), ("seed2", "thousand")):
        (tmp_path / seed).mkdir()
        file = tmp_path / seed / "own.py"
        file.write_text(f"from colour_model import {name}\n\ndef load():\n    return {name}()\n")
        models.append(f"{file}:load")
    discovered(read_benchmark(photos), tmp_path / "pairs", models[0], split="none")
    named = {"first": models[0], "second": models[1]}
    cg.evaluate(tmp_path / "pairs", named, label_space="benchmark", out=tmp_path / "run", report=False)
    run = cg.open_run(tmp_path / "run")
    assert [record.spec for record in run.info.models] == models
    assert selection_of(run).effects == {"first": "inflated"}


@pytest.mark.parametrize("split", ["half", "cross", "none"])
def test_pairs_chosen_on_all_their_photos_are_not_searched_again(photos, tmp_path, split):
    """No half of them is held out: without any effect, each would confirm the choice."""
    discovered(read_benchmark(photos), tmp_path / "pairs", split="none")
    with pytest.raises(UsageError, match=r"chosen on these same photos .* search photos instead"):
        discovered(read_benchmark(tmp_path / "pairs"), tmp_path / "again", split=split)


def test_what_counteranimals_own_choice_gives_is_not_taken_for_more_than_chance(tmp_path):
    """Both halves share the choice that was made on all its photos."""
    right = np.eye(3, dtype=np.uint8) * 200  # red, green, blue: what the referee takes for each class
    colours = [right[(animal + shift) % 3] for animal in range(3) for shift in (0, 1) for _ in range(8)]
    frame = {
        "path": [np.full((8, 8, 3), colour, np.uint8) + np.uint8(n) for n, colour in enumerate(colours)],
        "class_name": [name for name in colour_model.NAMES for _ in range(16)],
        "background": (["snow"] * 8 + ["grass"] * 8) * 3,
    }
    benchmark = cg.Benchmark.from_frame(frame, name="photos")
    own = discovered(benchmark, tmp_path / "own")
    assert own.exceeds_chance
    discovered(benchmark.described(name="CounterAnimal"), tmp_path / "theirs")
    said = Finding("chosen_here", "", {"noun": "drop"}).text
    assert said in read_benchmark(tmp_path / "theirs").notes
    assert said not in own.sentence


def test_wrong_asks_are_named(photos, tmp_path):
    benchmark = read_benchmark(photos)

    def ask(found=benchmark, out=tmp_path / "pairs", **changes):
        return discovered(found, out, **{"min_drop": 0.05, "min_photos": 2, **changes})

    with pytest.raises(
        CounterGroundError, match="No class of photos has at least 30 photos on two backgrounds, in each half"
    ):
        ask(min_photos=30)
    single = benchmark.photos.filter(pl.col("group") == "common")
    bare = type(benchmark)("bare", benchmark.root, single, benchmark.classes)
    with pytest.raises(CounterGroundError, match="on two labelled backgrounds"):
        ask(bare)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photos.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match="holds files that are not a discovery"):
        ask(out=tmp_path / "other")


def test_a_discovery_that_was_killed_twice_goes_on(photos, tmp_path):
    benchmark = read_benchmark(photos)
    whole = discovered(benchmark, tmp_path / "pairs")
    (tmp_path / "pairs" / "discovery.json").unlink()  # while it wrote
    (tmp_path / "pairs" / "referee" / "run.json").unlink()  # and while its referee was evaluated again
    again = discovered(benchmark, tmp_path / "pairs")
    assert again.cells.equals(whole.cells)
    assert again.sentence == whole.sentence


def test_a_referee_may_be_a_model_in_memory(photos, tmp_path):
    how = {"label_space": "benchmark", "min_drop": 0, "min_photos": 1, "seed": 3}
    how["write_anyway"] = True
    found = cg.discover(photos, colour_model.brightness(), out=tmp_path / "pairs", **how)
    assert found.pairs.equals(cg.discover(photos, REFEREE, out=tmp_path / "by spec", **how).pairs)
    assert (found.referee, found.benchmark.discovery.referee) == ("Sequential", "object:Sequential")
    named = cg.discover(photos, f"light={REFEREE}", out=tmp_path / "named", **how)
    assert (named.referee, named.benchmark.discovery.referee) == ("light", REFEREE)

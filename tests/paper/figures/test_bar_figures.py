"""What stands in figures 3 to 10 and 15: the heights of bars, their texts, intervals and colours."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from paper_sized import make_paper_run

from counterground.comparison import model_points
from counterground.paper.figures import write_figures

# What room a bar's text takes, and what a missing value becomes, are rules of their own.
from counterground.paper.figures._bars import Bars, draw_bars, room_for_texts
from counterground.paper.figures._style import GRID, QUIET, new_figure, wrap
from counterground.published import load_table
from counterground.results import ModelRecord


def bars(axes):
    """Series name -> heights, in order of place."""
    return {
        container.get_label(): [bar.get_height() for bar in container]
        for container in axes.containers
        if isinstance(container, BarContainer)
    }


def labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


@pytest.mark.parametrize("number", ["5", "6", "7", "8", "9", "10"])
def test_bars_have_the_printed_heights(paper, number):
    rows = load_table("figure_bars").filter(pl.col("figure").str.starts_with(f"Figure {number}("))
    panels = [axes for axes in paper[0][f"figure-{number}"].figure.axes if axes.get_visible()]
    parts = rows.partition_by("figure", maintain_order=True)
    assert len(panels) == len(parts) == 2
    for axes, part in zip(panels, parts, strict=True):
        assert part["fixed"][0] in axes.get_title(loc="left")
        assert labels(axes) == part["label"].unique(maintain_order=True).to_list()
        drawn = bars(axes)
        assert {name.replace(" ", "_") for name in drawn} == set(part["series"])
        for name, heights in drawn.items():
            printed = part.filter(series=name.replace(" ", "_"))["value"].to_list()
            np.testing.assert_allclose(heights, printed)
            texts = {text.get_text() for text in axes.texts}
            assert {f"{value:.1f}" for value in printed} <= texts


def test_bars_begin_at_zero(paper):
    for number in range(3, 11):
        for axes in paper[0][f"figure-{number}"].figure.axes:
            assert axes.get_ylim()[0] == 0


def test_imagenet_models_have_the_colour_of_their_family(paper):
    axes = paper[0]["figure-9"].figure.axes[0]
    colours = [to_hex(bar.get_facecolor()) for bar in axes.containers[0]]
    red, _, blue = (int(colours[-1][k : k + 2], 16) for k in (1, 3, 5))
    assert labels(axes)[-1] == "ImageNet"
    assert red > blue
    assert all(int(colour[5:7], 16) > int(colour[1:3], 16) for colour in colours[:-1])


def test_group_sizes_are_those_of_figure_3(paper):
    drawing = paper[0]["figure-3"]
    sizes = load_table("group_sizes")
    for group in ("common", "counter"):
        drawn = [height for axes in drawing.figure.axes for height in bars(axes)[group]]
        assert drawn == sizes[f"n_{group}"].to_list()
    marked = [label for axes in drawing.figure.axes for label in labels(axes) if "†" in label]
    assert marked == ["prairie chicken †"]
    assert "259" in drawing.notes[0]


@pytest.mark.parametrize(("stem", "which"), [("figure-4", "Figure 4"), ("figure-15", "Figure 15")])
def test_class_drops_are_those_printed(paper, stem, which):
    drawing = paper[0][stem]
    rows = load_table("figure_class_drops").filter(
        (pl.col("figure") == which) | pl.col("figure").str.starts_with(which + "(")
    )
    parts = rows.partition_by("figure", maintain_order=True)
    assert len(drawing.figure.axes) == len(parts)
    for axes, part in zip(drawing.figure.axes, parts, strict=True):
        assert axes.get_title(loc="left").endswith(part["model"][0])
        np.testing.assert_allclose(bars(axes)["drop"], part["drop"].to_list())


def test_own_class_drops_are_the_scores_with_their_intervals(own, own_run):
    axes = own[0]["figure-4-own"].figure.axes[0]
    rows = own_run.scores.filter(model="efficientnet-lite0", metric="drop").filter(
        pl.col("class_index").is_not_null() & pl.col("value").is_not_null()
    )
    names = dict(own_run.predictions.select("class_index", "class_name").unique().iter_rows())
    expected = {names[row["class_index"]]: row for row in rows.iter_rows(named=True)}
    drawn = dict(zip(labels(axes), bars(axes)["drop"], strict=True))
    assert len(drawn) == 8  # vulture has no counter photos: left out, not drawn as 0
    assert "vulture" not in drawn
    for name, height in drawn.items():
        assert height == pytest.approx(100 * expected[name]["value"])
    assert list(drawn.values()) == sorted(drawn.values(), reverse=True)
    spans = [
        segment[:, 1]
        for container in axes.containers
        if isinstance(container, ErrorbarContainer)
        for segment in container.lines[2][0].get_segments()
    ]
    bounds = [[100 * expected[name]["low"], 100 * expected[name]["high"]] for name in drawn]
    np.testing.assert_allclose(spans, bounds)


def test_own_group_sizes_count_photos_once(own, own_run):
    axes = own[0]["figure-3-own"].figure.axes[0]
    drawn = bars(axes)
    assert drawn["common"] == [20.0] * 9
    assert drawn["counter"] == [20.0 if place != 3 else 0.0 for place in range(9)]
    assert labels(axes)[3] == "vulture"


def test_own_bars_are_models_with_intervals(own, own_run):
    points = model_points([own_run], published=False)
    axes = own[0]["figure-5-own"].figure.axes[0]
    assert labels(axes) == points["label"].to_list()
    for group in ("common", "counter"):
        np.testing.assert_allclose(bars(axes)[group], 100 * points[group].to_numpy())


def test_own_panels_hold_what_differs_in_one_thing(beside, counteranimal_run):
    points = model_points([counteranimal_run], published=False)
    by_data = beside[0]["figure-8-own"].figure.axes
    assert [axes.get_title(loc="left") for axes in by_data] == ["ViT/B/32"]
    rows = points.filter(backbone="ViT/B/32")
    assert labels(by_data[0]) == rows["pretrain_dataset"].to_list()
    np.testing.assert_allclose(bars(by_data[0])["drop"], 100 * rows["drop"].to_numpy())
    by_backbone = beside[0]["figure-7-own"].figure.axes[0]
    assert by_backbone.get_title(loc="left") == "LAION2B"
    assert labels(by_backbone) == ["ViT/B/32", "ViT/B/16"]


def test_measured_values_stand_on_the_printed_bars(beside, counteranimal_run):
    panel = beside[0]["figure-5"].figure.axes[1]
    points = model_points([counteranimal_run], published=False)
    measured = [
        (float(container.lines[0].get_xdata()[0]), float(container.lines[0].get_ydata()[0]))
        for container in panel.containers
        if isinstance(container, ErrorbarContainer)
    ]
    expected = []
    for group, shift in (("common", -0.2), ("counter", 0.2)):
        for place, data in enumerate(labels(panel)):
            same = points.filter(paper_model=f"CLIP-{data}-ViT/B/32")
            expected += [(place + shift, 100 * value) for value in same[group]]
    assert len(expected) == 4
    np.testing.assert_allclose(sorted(measured), sorted(expected))
    assert "Diamonds" in beside[0]["figure-5"].caption


TABLE_3, EARLIER = "open_clip:ViT-B-32/laion2b_s34b_b79k", "open_clip:ViT-B-32/laion2b_e16"


def test_another_checkpoint_is_not_marked_as_the_papers_model(draw):
    run = make_paper_run({EARLIER: (0.7132, 0.4721)})
    figures = draw(["5", "6", "8", "9"], published=True, runs=[run])[0]
    assert not any("Diamonds" in drawing.caption for drawing in figures.values())
    both = make_paper_run({EARLIER: (0.71, 0.47), TABLE_3: (0.73, 0.49)})
    assert "Diamonds" in draw(["5"], published=True, runs=[both])[0]["figure-5"].caption


@pytest.mark.parametrize(("first", "second"), [(TABLE_3, EARLIER), (EARLIER, TABLE_3)])
def test_of_two_checkpoints_the_first_is_drawn_and_the_other_named(draw, first, second):
    levels = {first: (0.8, 0.6), second: (0.7, 0.5), "open_clip:ViT-B-16/laion2b_s34b_b88k": (0.85, 0.7)}
    drawing = draw(["7"], runs=[make_paper_run(levels, sizes=[(20, 20)] * 3)])[0]["figure-7-own"]
    (axes,) = drawing.figure.axes
    assert labels(axes) == ["ViT/B/32", "ViT/B/16"]
    np.testing.assert_allclose(bars(axes)["common"], [80, 85])
    assert drawing.caption.endswith(f"same backbone and training data: {second.partition(':')[2]}.")


def values_beside_bars(axes):
    """Each number's text with the height that it is anchored at and its shift in points."""
    return [
        (text.get_text(), text.xy[1], text.get_position()[0]) for text in axes.texts if text.get_text() != ""
    ]


@pytest.mark.parametrize("stem", ["figure-4-own", "figure-5-own", "figure-7-own", "figure-15-own"])
def test_values_stand_at_their_bars_beside_the_line_of_the_interval(own, stem):
    for axes in own[0][stem].figure.axes:
        heights = [
            bar.get_height() for group in axes.containers if isinstance(group, BarContainer) for bar in group
        ]
        assert heights
        written = values_beside_bars(axes)
        np.testing.assert_allclose(sorted(at for _, at, _ in written), sorted(heights))
        for text, at, shift in written:
            assert float(text.replace("−", "-")) == pytest.approx(at, abs=0.051)
            assert shift >= 2


def test_drops_stay_within_100_points(make_run, draw):
    """Two photos a class give intervals and bars that reach the ends of the scale."""
    run = make_run({"efficientnet-lite0": (0.99, 0.02)}, per_group=2, path="few")
    drawings, _ = draw(["4", "15"], runs=[run])
    assert set(drawings) == {"figure-4-own", "figure-15-own"}
    for drawing in drawings.values():
        for axes in drawing.figure.axes:
            low, high = axes.get_ylim()
            assert -103 < low < high < 103
            assert max(abs(tick) for tick in axes.get_yticks()) <= 100
            tall = [text for text, at, _ in values_beside_bars(axes) if at > 95]
            assert tall
            FigureCanvasAgg(drawing.figure).draw()
            frame = axes.get_window_extent()
            assert all(text.get_window_extent().y1 < frame.y1 + 2 for text in axes.texts)
        assert "Measured on stamps, imagenet." in drawing.caption


def test_panels_of_several_benchmarks_are_told_apart(make_run, draw):
    runs = [
        make_run({"efficientnet-lite0": (0.8, 0.5)}, path=name, name=name, version=name * 8)
        for name in ("forest", "harbour")
    ]
    drawings, _ = draw(["15"], runs=runs)
    titles = [axes.get_title(loc="left") for axes in drawings["figure-15-own"].figure.axes]
    assert ["forest" in titles[0], "harbour" in titles[1]] == [True, True]
    assert "forest, imagenet; harbour, imagenet" in drawings["figure-15-own"].caption


def test_the_key_is_grey_where_panels_differ_in_colour(draw):
    clips = ("open_clip:ViT-B-32/laion2b_s34b_b79k", "open_clip:ViT-B-16/laion2b_s34b_b88k")
    classifiers = ("torchvision:vit_b_32", "torchvision:vit_b_16")
    run = make_paper_run(dict.fromkeys((*clips, *classifiers), (0.8, 0.6)), sizes=[(20, 20)] * 3)
    figure = draw(["7"], runs=[run])[0]["figure-7-own"].figure
    colours = {
        to_hex(group[0].get_facecolor())
        for axes in figure.axes
        for group in axes.containers
        if isinstance(group, BarContainer)
    }
    assert len(colours) == 4  # CLIPs and ImageNet models, common and counter
    (key,) = figure.legends
    assert [to_hex(handle.get_facecolor()) for handle in key.legend_handles] == [QUIET.lower(), GRID.lower()]


def test_titles_and_labels_keep_their_words(make_run, draw):
    words = "composites of the stamps benchmark's cut-outs (see the model card)"
    run = make_run({"counterground:a": (0.8, 0.5), "counterground:b": (0.7, 0.5)}, path="words")
    records = [
        ModelRecord(
            spec=record.spec,
            kind="dual_encoder",
            fingerprint="f",
            description={"architecture": record.spec, "training_data": words, "parameters": 3_000_000},
        )
        for record in run.info.models
    ]
    run = replace(run, info=run.info.model_copy(update={"models": records}))
    drawings, _ = draw(["7"], runs=[run])
    title = drawings["figure-7-own"].figure.axes[0].get_title(loc="left")
    assert " ".join(title.split("\n")) == words
    long = wrap(f"{words}; " * 4, 42)
    assert long.endswith(" …")
    assert set(long.replace("\n", " ").removesuffix(" …").split()) <= set(f"{words};".split()) | {"card);"}


def test_bars_of_many_models_are_as_wide_in_every_line(make_run, draw):
    models = {f"efficientnet-lite{k}-{k:02}": (0.5 + k / 50, 0.4) for k in range(14)}
    drawings, _ = draw(["5"], runs=[make_run(models, path="fourteen")])
    panels = drawings["figure-5-own"].figure.axes
    assert [len(labels(axes)) for axes in panels] == [7, 7]
    assert len({axes.get_xlim() for axes in panels}) == 1


def test_no_grid_line_strikes_through_a_number(paper):
    for axes in paper[0]["figure-10"].figure.axes:
        assert [text.get_text() for text in axes.texts]
        for text in axes.texts:
            assert to_hex(text.get_bbox_patch().get_facecolor()) == "#ffffff"
            assert text.get_zorder() > 1  # the grid lies below bars, see axes.axisbelow


def test_limits_leave_room_for_texts_and_for_intervals():
    for low, high, ends in ((0, 80, ()), (-20, 80, ()), (0, 50, (-90, 97)), (-50, 100, (-97, 99))):
        bottom, top = room_for_texts(low, high, 100, 10, ends)
        point = (top - bottom) / 100
        assert top >= high + 10 * point - 1e-6
        assert bottom <= (low - 10 * point + 1e-6 if low < 0 else 0)
        assert all(bottom < end < top for end in ends)
    assert room_for_texts(0, 80, 100, 10, (-1,))[0] > -5


def test_a_missing_value_has_no_bar():
    axes = new_figure(3, 2).subplots()
    drawn = draw_bars(axes, ["a", "b", "c"], [Bars("drop", [1.0, None, -2.0], ["#000000"] * 3)])
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in drawn[0]] == [(0, 1), (2, -2)]
    assert [text.get_text() for text in axes.texts] == ["1.0", "−2.0"]
    assert [text.get_va() for text in axes.texts] == ["bottom", "top"]


@pytest.mark.parametrize("number", ["4", "15"])
def test_classes_without_a_drop_are_named_where_they_are_left_out(make_run, tmp_path, number):
    run = make_run({"a": (0.8, 0.5)}, lacking={0: "counter", 3: "common"})
    write_figures(run, out=tmp_path, only=[number], formats=["svg"])
    caption = (tmp_path / "captions.md").read_text()
    assert "Without photos in both groups, so not drawn: ice bear, vulture." in caption


OPENAI_B32 = "open_clip:ViT-B-32/openai"


def test_panels_of_one_backbone_say_in_what_settings_they_differ(draw):
    levels, small = {TABLE_3: (0.8, 0.6), OPENAI_B32: (0.7, 0.5)}, [(20, 20)] * 3
    runs = [
        make_paper_run(levels, sizes=small, path="one"),
        make_paper_run(levels, sizes=small, path="eighty", prompts="openai"),
        make_paper_run(levels, sizes=small, path="gelu", as_published=True),
    ]
    for name in ("6", "8"):
        axes = draw([name], runs=runs)[0][f"figure-{name}-own"].figure.axes
        titles = [each.get_title(loc="left") for each in axes if each.get_visible()]
        simple, openai = "ViT/B/32 (simple)", "ViT/B/32 (openai)"
        assert titles == [simple, openai, f"{simple} (as published)"]
    (title,) = [
        each.get_title(loc="left") for each in draw(["6"], runs=runs[2:])[0]["figure-6-own"].figure.axes
    ]
    assert title == "ViT/B/32 (as published)"


def test_measured_values_say_how_they_differ_from_the_printed_ones(draw):
    levels = {TABLE_3: (0.8, 0.6)}
    usual = draw(["5"], published=True, runs=[make_paper_run(levels)])[0]["figure-5"]
    assert "prompts" not in usual.caption.lower()
    assert "published" not in usual.caption
    run = make_paper_run(levels, prompts="openai", as_published=True)
    other = draw(["5"], published=True, runs=[run])[0]["figure-5"]
    assert "Prompts of these CLIPs: openai; printed bars have one prompt." in other.caption
    assert "as published" in other.caption
    for drawing, label in ((usual, "measured"), (other, "measured (as published)")):
        assert label in [text.get_text() for text in drawing.figure.legends[0].get_texts()]


def test_rounding_beyond_the_end_of_an_interval_stops_no_figure(draw):
    run = make_paper_run({TABLE_3: (0.8, 0.6)})
    run = replace(run, scores=run.scores.with_columns(high=pl.col("value") - 1e-15))
    assert "Diamonds" in draw(["5"], published=True, runs=[run])[0]["figure-5"].caption


def test_versions_of_one_benchmark_and_runs_of_one_model_are_told_apart(make_run, draw):
    levels = {"efficientnet-lite0": (0.8, 0.5)}
    runs = [make_run(levels, path=f"{k}/run", version=f"{k}{k}abcdef" * 8) for k in "12"]
    drawings, _ = draw(["2a", "3", "5", "15"], runs=runs)
    titles = [axes.get_title(loc="left") for axes in drawings["figure-15-own"].figure.axes]
    assert ["1/run" in titles[0], "2/run" in titles[1]] == [True, True]
    for stem in ("figure-2a-own", "figure-3-own"):
        assert "stamps (version 11abcdef)" in drawings[stem].caption
        assert "stamps (version 22abcdef)" in drawings[f"{stem}-2"].caption
    panels = [axes.get_title(loc="left") for axes in drawings["figure-5-own"].figure.axes]
    assert ["11abcdef" in panels[0], "22abcdef" in panels[1]] == [True, True]


def test_classes_that_share_a_name_are_two_bars(make_run, draw):
    run = make_run({"a": (0.8, 0.5), "b": (0.7, 0.6)}, classes=["crane", "crane", "ox"], path="cranes")
    drawing = draw(["15"], runs=[run])[0]["figure-15-own"]
    shown = labels(drawing.figure.axes[-1])
    assert sorted(shown) == ["crane (0)", "crane (1)", "ox"]
    for axes, model in zip(drawing.figure.axes, "ab", strict=True):
        drops = run.scores.filter(model=model, metric="drop").drop_nulls("class_index")
        by_index = dict(drops.select("class_index", "value").iter_rows())
        expected = [100 * by_index[{"crane (0)": 0, "crane (1)": 1, "ox": 2}[name]] for name in shown]
        np.testing.assert_allclose(bars(axes)["drop"], expected)

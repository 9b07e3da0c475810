"""A small pool whose every count is known, a large one, and what reads their pages."""

import numpy as np
import polars as pl
import pytest
from html_page import Page
from made_pools import fill_pool

from counterground.construction.pool import BACKGROUND_LABELS
from counterground.construction.pool_page import summarise_pool, write_pool_report
from counterground.metrics import proportion_interval

NASTY = "<script>alert('x')</script>\"&[bold]"
LICENCES = ("cc0", "cc-by", "cc-by-nc", None)


def pool_of(root, sizes):
    """A pool of photos of several licences, two by each observer; ``sizes``: class name -> how many."""
    return fill_pool(
        root,
        sizes,
        licence=lambda number: LICENCES[number % 4],
        cluster=lambda number: f"observer {number // 2}",
    )


@pytest.fixture(scope="session")
def make_pool():
    """Function: (folder, class name -> number of photos) -> Pool."""
    return pool_of


@pytest.fixture(scope="session")
def nasty():
    """The name of a class that would break a page or a terminal that took it for more than text."""
    return NASTY


@pytest.fixture(scope="session")
def cells():
    """What a referee got right, as in cells.parquet of a discovery."""
    return CELLS


def event(path, who, task, *labels, **more):
    return {"path": path, "annotator": who, "task": task, "labels": list(labels)} | more


@pytest.fixture
def pool(tmp_path):
    """Three classes whose every count is known; see the tests."""
    pool = pool_of(tmp_path / "pool", {"ice bear": 8, "flamingo": 6, NASTY: 2})
    paths = pool.photos()["path"].to_list()
    bears, birds = ([path for path in paths if name in path] for name in ("ice_bear", "flamingo"))
    pool.decide_all(
        [
            # Bears: 5 kept (one settled), 1 discarded, 1 disputed, 1 undecided and postponed.
            *(event(path, "ann", "review", "keep", seconds=2.0) for path in bears[:4]),
            *(event(path, "bob", "review", "keep", seconds=9.0, suggestion="{}") for path in bears[:3]),
            event(bears[4], "ann", "review", "clarity", "ambiguity", seconds=4.0),
            event(bears[5], "ann", "review", "keep", seconds=3.0),
            event(bears[5], "bob", "review", "duplicate"),
            event(bears[6], "ann", "review", "keep"),
            event(bears[6], "bob", "review", "label noise"),
            event(bears[6], "cyd", "review", "keep", adjudicates=True),
            event(bears[7], "ann", "review", "later", seconds=30.0, suggestion="{}"),
            # Flamingos: 2 kept, 2 discarded as label noise, 2 undecided.
            *(event(path, "ann", "review", "keep") for path in birds[:2]),
            *(event(path, "bob", "review", "label noise") for path in birds[2:4]),
            *(event(path, "ann", "background", "snow", "ground", seconds=1.0) for path in bears[:3]),
            *(event(path, "bob", "background", "snow") for path in bears[:2]),
            event(bears[2], "bob", "background", "water"),
            event(bears[3], "ann", "background", "grass"),
            event(bears[4], "ann", "background", "sky"),  # discarded: counts nowhere
            event(birds[0], "ann", "background", "water"),
            event(birds[4], "ann", "background", "water"),  # undecided, and stands
        ]
    )
    pool.decide(birds[1], annotator="ann", task="background", labels=["indoor"])
    pool.undo("ann", "background")
    wanted = [{"key": f"inaturalist:{k}", "class_name": "flamingo", "position": k} for k in range(5)]
    pool.add_candidates([*wanted, {"key": "inaturalist:9", "class_name": "dugong", "position": 0}])
    reasons = ("404 Not Found", "404 Not Found", "not a photo: <text/html>")
    pool.mark_candidates([(f"inaturalist:{k}", "flamingo", "failed", r) for k, r in enumerate(reasons)])
    pool.mark_candidates([("inaturalist:3", "flamingo", "got", None)])
    return pool


@pytest.fixture(scope="session")
def big(tmp_path_factory):
    """45 classes with long names x 14 backgrounds, as (summary, cells)."""
    kinds = ("black-footed ferret", "Gila monster", "American egret", "prairie chicken", "three-toed sloth")
    sizes = {f"{kind} {k}{' of a rather long name' * (k % 3)}": 20 for k in range(9) for kind in kinds}
    pool = pool_of(tmp_path_factory.mktemp("big") / "pool", sizes)
    rng = np.random.default_rng(0)
    labels, reasons = BACKGROUND_LABELS, ("label noise", "feature noise", "ambiguity", "clarity", "duplicate")
    events = []
    for path in pool.photos()["path"]:
        side = rng.random()
        if side < 0.8:
            first = "keep" if side < 0.6 else reasons[rng.integers(5)]
            events += [
                event(path, who, "review", first, seconds=2.0) for who in ("ann", "bob")[: 1 + (side < 0.3)]
            ]
            truth = labels[int(14 * rng.random() ** 2)]
            for who in ("ann", "bob")[: 1 + (side < 0.3)]:
                given = truth if rng.random() < 0.8 else labels[rng.integers(14)]
                events.append(event(path, who, "background", given))
    pool.decide_all(events)
    summary = summarise_pool(pool)
    cells = []
    for name, background, n in summary.backgrounds.iter_rows():
        interval = proportion_interval(rng.random(n) < 0.7)
        cells.append((name, background, n, interval.value, interval.low, interval.high, "chooses"))
    columns = ["class_name", "background", "n", "accuracy", "low", "high", "half"]
    return summary, pl.DataFrame(cells, schema=columns, orient="row", infer_schema_length=None)


CELLS = pl.DataFrame(
    [
        ("ice bear", "snow", 10, 0.9, 0.55, 1.0, "chooses"),
        ("ice bear", "snow", 30, 0.5, 0.33, 0.67, "reports"),
        ("ice bear", "artificial turf with lines", 3, 1.0, 0.3, 1.0, "chooses"),
        (NASTY, "water", 1, 0.0, None, None, "reports"),
    ],
    schema=["class_name", "background", "n", "accuracy", "low", "high", "half"],
    orient="row",
)


@pytest.fixture
def page(tmp_path):
    """Function: (pool, **options of write_pool_report) -> Page."""

    def read(pool, **options):
        return Page(write_pool_report(pool, tmp_path / "pool.html", **options).read_text("utf-8"))

    return read

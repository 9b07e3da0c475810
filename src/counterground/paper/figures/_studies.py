"""Figures of coloured digits and of the theorem, as printed and from studies."""

from __future__ import annotations

import polars as pl

from counterground.paper.figures._material import Drawing, Material, Outcome, own
from counterground.paper.study.mnist import draw_colored
from counterground.paper.study.theory import draw_theory
from counterground.published import load_table


def draw_digits(material: Material) -> list[Outcome]:
    """Draw Table 8: accuracy with random and with reversed colours, as printed and from studies."""
    outcomes: list[Outcome] = []
    caption = "MultiColoredMNIST: accuracy on labels 0 and 1, mean and s.d. over seeds, "
    if material.published:
        tests = [f"{test}_{how}" for test in ("rand", "rev") for how in ("mean", "std")]
        printed = load_table("multicoloredmnist_results").select(
            "p_inv", "p_spu", pl.col("method").str.to_lowercase(), pl.col(tests) / 100, k="n_classes"
        )
        figure = draw_colored(printed)
        outcomes.append(Drawing("multicoloredmnist", figure, f"{caption}as printed (Table 8)."))
    for place, study in enumerate(material.of_study("multicoloredmnist")):
        whence = f"from {study.folder.name}; hollow: as printed (Table 8)."
        stem = own("multicoloredmnist", place)
        outcomes.append(Drawing(stem, draw_colored(study.table), f"{caption}{whence}"))
    return outcomes


def draw_the_theorem(material: Material) -> list[Outcome]:
    """Draw the theorem from each theory study; the paper prints formulas, which the study evaluates."""
    caption = (
        "Definition 6.1: marks are simulated, lines exact, the dashed one the bound of theorem 6.2, printed. "
        "The bound is claimed for a background at least 1.5 times as strong as the object; its proof is for "
        "the object-only prompt."
    )
    return [
        Drawing(own("theory", place), draw_theory(study.table), f"{caption} From {study.folder.name}.")
        for place, study in enumerate(material.of_study("theory"))
    ]

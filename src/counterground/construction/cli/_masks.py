"""``counterground data masks``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterground.cli.help import Command, is_quiet
from counterground.cli.options import (
    accept_licence_option,
    device_option,
    each_once,
    out_option,
    overwrite_option,
)

if TYPE_CHECKING:
    from counterground.masks import Masks


def _percent_option(flag: str, default: float, help_text: str) -> Callable[..., Any]:
    return click.option(
        flag,
        default=default,
        show_default=True,
        type=click.FloatRange(0, 100),
        metavar="PERCENT",
        help=help_text,
    )


@click.command(
    cls=Command,
    examples="""
        counterground data masks my-photos --from my-masks --out masks
        counterground data masks my-photos --from annotations.json --out masks
        counterground data masks my-photos --from grabcut --boxes boxes.json --out masks
        counterground data masks my-photos --from rembg:u2net \\
          --accept-licence apache-2.0 --out masks
    """,
)
@click.argument("benchmark")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="SOURCE",
    help="Source of the masks: manifest (masks that the benchmark names), alpha (the photos' alpha channel), "
    "a folder of PNGs named like the photos, a COCO JSON file (polygons, RLE, panoptic), boxes, grabcut "
    "(offline, rough), rembg:NAME, or hf:NAME.",
)
@out_option("Output folder for the masks: new, empty, or from the same command.")
@overwrite_option("set of masks")
@accept_licence_option(
    "Accept the licence of a model's weights; repeatable. Without it, the command names the licence."
)
@click.option(
    "--several",
    default="union",
    show_default=True,
    type=click.Choice(["union", "largest"]),
    help="If there are several objects of the class: use all of them, or the largest.",
)
@click.option(
    "--category",
    "categories",
    multiple=True,
    metavar="CLASS=NAME",
    help="What the annotations or the model call a class, such as 'ice bear=bear'; repeatable.",
)
@click.option(
    "--boxes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="COCO JSON file with object boxes, instead of columns box_x, box_y, box_width, box_height.",
)
@click.option(
    "--segments",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder with the PNGs of panoptic annotations, if it is not next to the JSON file.",
)
@click.option(
    "--inset",
    type=click.FloatRange(0, 50, max_open=True),
    metavar="PERCENT",
    help="grabcut: if the box is unknown, use the photo without a margin of this size on each side.",
)
@click.option(
    "--refine",
    default="closed-form",
    show_default=True,
    type=click.Choice(["closed-form", "knn", "none"]),
    help="grabcut: how to soften the edge.",
)
@_percent_option("--min-area", 1.0, "Minimum area of the object, relative to the photo.")
@_percent_option("--max-area", 90.0, "Maximum area of the object, relative to the photo.")
@click.option(
    "--max-edges",
    default=2,
    show_default=True,
    type=click.IntRange(0, 4),
    metavar="N",
    help="Maximum number of photo sides that the object may touch.",
)
@click.option(
    "--max-parts",
    default=5,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Maximum number of separate parts of the object.",
)
@_percent_option("--max-holes", 10.0, "Maximum area of holes, relative to the object.")
@_percent_option("--min-box-iou", 50.0, "Minimum IoU of the object's bounding box with its known box.")
@device_option("a model")
def masks(
    *,
    benchmark: str,
    source: str,
    out: Path,
    overwrite: bool,
    accept_licences: tuple[str, ...],
    categories: tuple[str, ...],
    inset: float | None,
    max_edges: int,
    max_parts: int,
    min_area: float,
    max_area: float,
    max_holes: float,
    min_box_iou: float,
    **settings: Any,
) -> None:
    """Read or make a mask of the object for each photo, check it, and say why some have none.

    DIR then has one PNG per photo, masks.csv and masks.json. Nothing is guessed: masks that are missing, of
    another size or beyond a limit are named and counted. Repeat an interrupted command to continue it.
    """
    from counterground.api import make_masks
    from counterground.masks import MaskLimits, MaskSettings

    limits = MaskLimits(
        min_area=min_area / 100,
        max_area=max_area / 100,
        max_edges=max_edges,
        max_parts=max_parts,
        max_holes=max_holes / 100,
        min_box_iou=min_box_iou / 100,
    )
    made = make_masks(
        benchmark,
        source,
        out=out,
        settings=MaskSettings(
            categories=each_once(map(_pair, categories), "--category"),
            inset=None if inset is None else inset / 100,
            limits=limits,
            **settings,
        ),
        accept_licences=accept_licences,
        overwrite=overwrite,
        show_progress=not is_quiet(),
    )
    _show(made)


def _pair(text: str) -> tuple[str, str]:
    name, equals, category = text.partition("=")
    if not (equals and name.strip() and category.strip()):
        raise click.BadParameter(f"{text!r} is not CLASS=NAME.", param_hint="--category")
    return name.strip(), category.strip()


def _show(made: Masks) -> None:
    from counterground.cli.show import print_notes, print_table
    from counterground.masks import REASONS
    from counterground.text import one_line

    total = len(made.table)
    rows = [("usable", made.usable, "")]
    rows += [(reason, count, REASONS.get(reason, "")) for reason, count in made.reasons().items()]
    print_table(
        ["mask", "photos", "%", "meaning"],
        [[name, f"{count:,}", f"{count / total:.1%}", meaning] for name, count, meaning in rows],
        numeric=["photos", "%"],
    )
    print_notes(made.notes)
    click.echo(one_line(made.summary()))
    if made.rough:
        click.echo("These masks are rough: look at them before you rely on them.")
        click.echo(f"Next: counterground data label {made.folder} --annotator YOUR-NAME")
    click.echo(f"Masks: {made.folder}")

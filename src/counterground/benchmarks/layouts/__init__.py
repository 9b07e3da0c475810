"""Published data sets, in the layout that their authors gave them."""

from counterground.benchmarks._layout import with_options
from counterground.benchmarks.layouts._counteranimal import counteranimal
from counterground.benchmarks.layouts._imagenet import focus, hard_imagenet, imagenet9, objectnet
from counterground.benchmarks.layouts._places import (
    metashift,
    nico,
    spawrious,
    spuco_animals,
    urbancars,
    waterbirds,
)

LAYOUTS = (
    counteranimal().built_in(),
    with_options(waterbirds, split=("test", "val", "train")),
    imagenet9().built_in(),
    with_options(metashift, split=("test", "train")),
    nico().built_in(),
    focus().built_in(),
    with_options(urbancars, split=("test", "val")),
    with_options(
        spawrious, variant=("o2o_hard", "o2o_medium", "o2o_easy", "m2m_hard", "m2m_medium", "m2m_easy")
    ),
    hard_imagenet().built_in(),
    objectnet().built_in(),
    with_options(spuco_animals, split=("test", "val", "train")),
)

__all__ = ["LAYOUTS"]

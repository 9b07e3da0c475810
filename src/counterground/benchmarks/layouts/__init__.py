"""Published data sets, one file each, in the layout that their authors gave them."""

from counterground.benchmarks.layouts._focus import FOCUS
from counterground.benchmarks.layouts._hard_imagenet import HARD_IMAGENET
from counterground.benchmarks.layouts._imagenet9 import IMAGENET9
from counterground.benchmarks.layouts._metashift import METASHIFT
from counterground.benchmarks.layouts._nico import NICO
from counterground.benchmarks.layouts._objectnet import OBJECTNET
from counterground.benchmarks.layouts._spawrious import SPAWRIOUS
from counterground.benchmarks.layouts._spuco_animals import SPUCO_ANIMALS
from counterground.benchmarks.layouts._urbancars import URBANCARS
from counterground.benchmarks.layouts._waterbirds import WATERBIRDS

LAYOUTS = (
    WATERBIRDS,
    IMAGENET9,
    METASHIFT,
    NICO,
    FOCUS,
    URBANCARS,
    SPAWRIOUS,
    HARD_IMAGENET,
    OBJECTNET,
    SPUCO_ANIMALS,
)

__all__ = ["LAYOUTS"]

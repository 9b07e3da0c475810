"""ColoredCOCO and ColoredStamps (paper section 6): fine-tuning on colours that predict the class."""

from counterground.paper.study.coco._coco import COCO_CLASSES, load_coco_objects
from counterground.paper.study.coco._finetune import OBJECTIVES, Machine, Recipe, before, finetune, photos_of
from counterground.paper.study.coco._losses import clip_loss, siglip_loss
from counterground.paper.study.coco._objects import (
    BIASED,
    COLORS,
    OTHERS,
    Objects,
    caption_obj,
    caption_objbkg,
    on_color,
    paint,
    paint_elsewhere,
)
from counterground.paper.study.coco._results import (
    answer,
    choose,
    compare_objectives,
    draw_sweep,
    summarise,
)
from counterground.paper.study.coco._stamps import load_stamps_objects
from counterground.paper.study.coco._start import load_start, small_start
from counterground.paper.study.coco._study import QUICK, TABLE_7, study_coloredcoco
from counterground.paper.study.coco._trials import (
    CocoSettings,
    Source,
    file_of,
    run_trials,
    trials,
)

__all__ = [
    "BIASED",
    "COCO_CLASSES",
    "COLORS",
    "OBJECTIVES",
    "OTHERS",
    "QUICK",
    "TABLE_7",
    "CocoSettings",
    "Machine",
    "Objects",
    "Recipe",
    "Source",
    "answer",
    "before",
    "caption_obj",
    "caption_objbkg",
    "choose",
    "clip_loss",
    "compare_objectives",
    "draw_sweep",
    "file_of",
    "finetune",
    "load_coco_objects",
    "load_stamps_objects",
    "load_start",
    "on_color",
    "paint",
    "paint_elsewhere",
    "photos_of",
    "run_trials",
    "siglip_loss",
    "small_start",
    "study_coloredcoco",
    "summarise",
    "trials",
]

"""ColoredCOCO and ColoredStamps (paper section 6): fine-tuning on colours that predict the class."""

from counterground.paper.study.coco._study import study_coloredcoco

__all__ = ["study_coloredcoco"]

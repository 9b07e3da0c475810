from typing import Literal

ResultFormat = Literal["bundle", "every-eval-ever", "hub", "timm"]


def write_results(run, format, out):
    raise NotImplementedError

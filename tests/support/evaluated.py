"""Runs on folders of photos and on benchmarks, with their own classes for names."""

from counterground.benchmarks import open_benchmark
from counterground.inference import evaluate_models
from counterground.settings import Settings


def evaluated(photos, models, out, **settings):
    """The run of one model, or of several."""
    asked = Settings(**{"label_space": "benchmark", **settings})
    return evaluate_models(
        open_benchmark(photos), models if isinstance(models, list | dict) else [models], asked, out
    )

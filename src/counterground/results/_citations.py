"""What must be cited for a run: the method, the software, and what each model and benchmark is based on."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources

import polars as pl

from counterground._version import __version__
from counterground.benchmarks import benchmark_references
from counterground.models import references_of
from counterground.results._run import AnyRuns, Run, open_runs
from counterground.results._schema import BenchmarkRecord, ModelRecord
from counterground.text import bibtex, bibtex_comment

METHOD = "wang2024counteranimal"
OURS = "counterground"
_URL = r"% In the preamble: \usepackage{url} (or hyperref), for \url."
_COLLECTED = r"(^|/)inaturalist-[^/]*$"  # the names of files that `collect` writes
_PHOTOS = ("path", "foreground", "background_photo")
_IMAGENET = ("deng2009imagenet", "russakovsky2015imagenet")


def bibliography(runs: AnyRuns) -> str:
    """Return BibTeX for what to cite for these runs, each entry with a line that says what it is for.

    The method (Wang et al. 2024) and CounterGround come first; then what benchmark, names and prompts are
    based on; then, per model, its library, architecture and training data, as far as references are kept
    here. Comments say what is not covered: a user's own benchmark, an unknown architecture or training set.

    Args:
        runs: runs or their folders.

    Raises:
        UsageError: no run, or one given twice.
        CounterGroundError: a run cannot be read.
    """
    opened = open_runs(runs, least=1)
    reasons: dict[str, list[str]] = {METHOD: ["the question and the method"], OURS: ["the program"]}
    remarks: list[str] = []
    for run in opened:
        trained = [_of_training(run.info.train)] if run.info.train else []
        models = [_of_model(model) for model in run.info.models]
        found = [_of_benchmark(run), *trained, _of_names(run), *models]
        for why, keys, missing in found:
            for key in keys:
                reasons.setdefault(key, []).append(why)
            remarks += missing
    # A model family of another package brings whole entries, not keys.
    given = {reference: reference.strip() for reference in reasons if "{" in reference}
    entries = {**_references(), **given, OURS: _our_entry(opened)}
    blocks = [f"% {_listed(why)}\n{entries[key]}" for key, why in reasons.items()]
    comments = [f"% {bibtex_comment(remark)}" for remark in dict.fromkeys(remarks)]
    needs = [_URL] if any(r"\url{" in entries[key] for key in reasons) else []
    return "\n\n".join([*needs, *blocks, *(["\n".join(comments)] if comments else [])])


_Found = tuple[str, list[str], list[str]]


def _of_benchmark(run: Run) -> _Found:
    why, keys, missing = _of_photos(run.info.source)
    paths = pl.concat([run.photos[name] for name in _PHOTOS if name in run.photos.columns])
    if "inaturalist" not in keys and paths.str.contains(_COLLECTED).any():
        keys, missing = [*keys, "inaturalist"], []
    return why, keys, missing


def _of_training(record: BenchmarkRecord) -> _Found:
    why, keys, missing = _of_photos(record)
    return f"{why}, on which heads are fitted", keys, missing


def _of_photos(record: BenchmarkRecord) -> _Found:
    origin = record.origin or record.name
    why = f"the photos of {origin}"
    if keys := list(benchmark_references(origin)):
        return why, keys, []
    missing = f"No entry for the benchmark {record.name} (version {record.version[:12]}): cite who made it."
    return why, [], [missing]


def _of_names(run: Run) -> _Found:
    info = run.info
    keys = list(_IMAGENET) if info.candidates.name in ("imagenet", "confusable") else []
    read = [getattr(info, name) for name in info.read_texts]
    keys += ["miller1995wordnet"] if "names" in info.read_texts and info.names == "wordnet" else []
    keys += ["radford2021clip"] if "openai" in read else []
    return "the names that compete", keys, []


def _of_model(model: ModelRecord) -> _Found:
    own = references_of(model.spec)
    data = model.stated("training_data", str) or ""
    trained = _matching("training_data", data)
    name = f"{model.spec.partition(':')[2] or model.spec} {model.stated('architecture', str) or ''}".lower()
    built = _matching("architectures", name)
    if "chuang2025metaclip2" in built:  # the hub's names say MetaCLIP for both
        trained = ["chuang2025metaclip2" if key == "xu2024metaclip" else key for key in trained]
    missing = []
    architectures = {key for _, *keys in _patterns("architectures") for key in keys}
    if not built and not any(reference in architectures or "{" in reference for reference in own):
        missing.append(f"No entry for the architecture of {model.name}.")
    if not trained:
        missing.append(f"No entry for what {model.name} was trained on; its own model card may say.")
    return model.name, list(dict.fromkeys([*own, *built, *trained])), missing


def _our_entry(runs: Sequence[Run]) -> str:
    versions = dict.fromkeys(run.info.counterground_version or __version__ for run in runs)
    return (
        f"@misc{{{OURS},\n  title = {{{{CounterGround}}}},\n  author = {{{{The CounterGround authors}}}},\n"
        f"  howpublished = {{Python package, version {bibtex(', '.join(versions))}}},\n}}"
    )


def _listed(reasons: Sequence[str]) -> str:
    several = list(dict.fromkeys(reasons))
    more = f" and {len(several) - 4} more" if len(several) > 5 else ""
    return bibtex_comment(f"For {', '.join(several[:4] if more else several)}{more}")


def _matching(of: str, text: str) -> list[str]:
    return [key for pattern, *keys in _patterns(of) if re.search(pattern, text) for key in keys]


@cache
def _patterns(of: str) -> list[list[str]]:
    """Patterns of ``data/citations.toml``, each followed by the keys of what it is based on."""
    rules: list[list[str]] = tomllib.loads(_data("citations.toml"))[of]
    return rules


@cache
def _references() -> dict[str, str]:
    """The entries of ``data/references.bib`` by key."""
    blocks = [block for block in _data("references.bib").split("\n\n") if block]
    return {block.partition("{")[2].partition(",")[0]: block.strip() for block in blocks}


def _data(name: str) -> str:
    return (resources.files("counterground.results") / "data" / name).read_text(encoding="utf-8")

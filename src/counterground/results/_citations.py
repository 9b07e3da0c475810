"""What must be cited for a run: the method, the software, and what each model and benchmark is based on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

import polars as pl

from counterground.benchmarks import benchmark_references
from counterground.models import references_of
from counterground.results._open import AnyRuns, open_runs
from counterground.results._run import Run
from counterground.results._schema import BenchmarkRecord, ModelRecord
from counterground.text import bibtex, bibtex_comment

METHOD = "wang2024counteranimal"
OURS = "counterground"
_URL = r"% In the preamble: \usepackage{url} (or hyperref), for \url."
_COLLECTED = r"(^|/)inaturalist-[^/]*$"  # the names of files that `collect` writes
_PHOTOS = ("path", "foreground", "background_photo")
_IMAGENET = ("deng2009imagenet", "russakovsky2015imagenet")
# The names of training data in a model's description, and what describes them. All that match count.
_DATA = (
    ("WIT-400M", ("radford2021clip",)),
    ("LAION-400M", ("schuhmann2021laion400m",)),
    ("LAION-2B|LAION-5B|LAION-Aesthetic|LAION-COCO|Merged-", ("schuhmann2022laion5b",)),
    ("DataComp|CommonPool", ("gadre2023datacomp",)),
    ("DFN", ("fang2024dfn",)),
    ("DataCompDR", ("vasu2024mobileclip",)),
    ("DFNDR", ("faghri2025mobileclip2",)),
    ("MetaCLIP(?! 2)", ("xu2024metaclip",)),
    ("MetaCLIP 2", ("chuang2025metaclip2",)),
    ("WebLI", ("chen2023pali",)),
    ("YFCC", ("thomee2016yfcc100m",)),
    ("CC-12M", ("changpinyo2021cc12m",)),
    ("RedCaps", ("desai2021redcaps",)),
    ("COYO", ("byeon2022coyo",)),
    ("MS-COCO", ("lin2014coco",)),
    ("NLLB-CLIP", ("visheratin2023nllb",)),
    ("Perception Encoder", ("bolya2025perception",)),
    ("ImageNet-1K", _IMAGENET),
    ("ImageNet-(12|21|22)K", _IMAGENET[:1]),
    ("Instagram-1B", ("mahajan2018exploring",)),
    ("Instagram-3.6B", ("singh2022swag",)),
    ("JFT", ("sun2017jft",)),
    ("iNaturalist 2021", ("vanhorn2021inat",)),
    ("LVD-142M", ("oquab2024dinov2",)),
    ("LVD-1689M", ("simeoni2025dinov3",)),
    ("stamps", ("tuxpaint",)),
)
# Names of architectures as the libraries write them, in lower case. All that match count. Successors and
# relatives (DeiT III, ConvNeXt V2, InceptionNeXt, SE-ResNet, ...) have their own papers and match nothing.
_FAMILIES = (
    (r"siglip2", ("tschannen2025siglip2",)),
    (r"siglip", ("zhai2023siglip", "chen2023pali")),
    (r"\balign", ("jia2021align",)),
    (r"kakaobrain", ("byeon2022coyo",)),
    (r"mobileclip(?!2)", ("vasu2024mobileclip",)),
    (r"mobileclip2", ("faghri2025mobileclip2",)),
    (r"metaclip(?![-_]?2(?!\d))", ("xu2024metaclip",)),
    (r"metaclip[-_]?2(?!\d)", ("chuang2025metaclip2",)),
    (r"(?<!meta)(?<!mobile)clip(?!2)", ("radford2021clip",)),
    (r"\beva0[12]-|\beva0?[12]?_\S*clip_", ("sun2023evaclip",)),
    (r"coca", ("yu2022coca",)),
    (r"nllb", ("visheratin2023nllb",)),
    (r"\bpe[-_]", ("bolya2025perception",)),
    (r"dinov2", ("oquab2024dinov2",)),
    (r"dinov3", ("simeoni2025dinov3",)),
    (r"alexnet", ("krizhevsky2014weird",)),
    (r"vgg", ("simonyan2015vgg",)),
    (r"(?<![a-z])(?<!wide_)(?<!inception_)resnet[-_]?\d|\brn\d", ("he2016resnet",)),
    (r"wide_?resnet", ("zagoruyko2016wide",)),
    (r"(?<![a-z])resnext", ("xie2017resnext",)),
    (r"densenet", ("huang2017densenet",)),
    (r"googlenet", ("szegedy2015googlenet",)),
    (r"inception_?v3", ("szegedy2016inception",)),
    (r"inception_(v4|resnet)", ("szegedy2017inception",)),
    (r"squeezenet", ("iandola2016squeezenet",)),
    (r"shufflenet", ("ma2018shufflenetv2",)),
    (r"mnasnet", ("tan2019mnasnet",)),
    (r"maxvit", ("tu2022maxvit",)),
    (r"mobilenet_?v2", ("sandler2018mobilenetv2",)),
    (r"mobilenet_?v3", ("howard2019mobilenetv3",)),
    (r"efficientnet(?!_?v2)", ("tan2019efficientnet",)),
    (r"efficientnet_?v2", ("tan2021efficientnetv2",)),
    (r"regnet", ("radosavovic2020regnet",)),
    (r"deit(?!3)", ("touvron2021deit",)),
    (r"swin(?!_?v?2|_s3|v)", ("liu2021swin",)),
    (r"swin_?v2", ("liu2022swinv2",)),
    (r"(?<![a-z])convnext(?!v2)", ("liu2022convnext",)),
    (r"\bvit[-_ /f]", ("dosovitskiy2021vit",)),
    (r"\bbeit(?!v2|-?3)", ("bao2022beit",)),
    (r"\bbeit_?v2", ("peng2022beitv2",)),
    (r"llava", ("liu2023llava",)),
    (r"llava.?(v?1\.5)", ("liu2024llava15", "chiang2023vicuna")),
    (r"llava.?(v?1\.6|next)", ("liu2024llavanext",)),
    (r"instructblip", ("dai2023instructblip", "li2023blip2")),
    (r"\bblip-?2", ("li2023blip2",)),
    (r"vicuna", ("chiang2023vicuna",)),
    (r"qwen2-?vl|qwen2_vl", ("wang2024qwen2vl",)),
    (r"qwen2[._]5", ("bai2025qwen25vl",)),
)


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
    trained = [key for pattern, found in _DATA if re.search(pattern, data) for key in found]
    name = f"{model.spec.partition(':')[2] or model.spec} {model.stated('architecture', str) or ''}".lower()
    built = [key for pattern, found in _FAMILIES if re.search(pattern, name) for key in found]
    if "chuang2025metaclip2" in built:  # the hub's names say MetaCLIP for both
        trained = ["chuang2025metaclip2" if key == "xu2024metaclip" else key for key in trained]
    missing = []
    architectures = {key for _, found in _FAMILIES for key in found}
    if not built and not any(reference in architectures or "{" in reference for reference in own):
        missing.append(f"No entry for the architecture of {model.name}.")
    if not trained:
        missing.append(f"No entry for what {model.name} was trained on; its own model card may say.")
    return model.name, list(dict.fromkeys([*own, *built, *trained])), missing


def _our_entry(runs: Sequence[Run]) -> str:
    versions = dict.fromkeys(run.info.counterground_version for run in runs)
    commits = dict.fromkeys(run.info.git[:12] for run in runs if run.info.git)
    note = f"\n  note = {{commit {bibtex(', '.join(commits))}}}," if commits else ""
    return (
        f"@misc{{{OURS},\n  title = {{{{CounterGround}}}},\n  author = {{{{The CounterGround authors}}}},\n"
        f"  howpublished = {{Python package, version {bibtex(', '.join(versions))}}},{note}\n}}"
    )


def _listed(reasons: Sequence[str]) -> str:
    several = list(dict.fromkeys(reasons))
    more = f" and {len(several) - 4} more" if len(several) > 5 else ""
    return bibtex_comment(f"For {', '.join(several[:4] if more else several)}{more}")


@cache
def _references() -> dict[str, str]:
    """The entries of ``data/references.bib`` by key."""
    text = (resources.files("counterground.results") / "data" / "references.bib").read_text(encoding="utf-8")
    blocks = [block for block in text.split("\n\n") if block]
    return {block.partition("{")[2].partition(",")[0]: block.strip() for block in blocks}

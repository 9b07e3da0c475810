"""Show that two commits give the same results: ``record`` each of them, then ``compare`` the records.

    python scripts/equal_results.py record OUT [--source CHECKOUT]
    python scripts/equal_results.py compare BEFORE AFTER

Only CounterGround's command line and the files that it writes are used, so code may be moved and renamed
between the two. Both records need the same interpreter, machine and tiny models (``--models``; beside OUT
by default), which are built once, with random weights.

``compare`` prints a line per check and exits with 1 if one fails. Must be equal: every bit of predictions,
of discovered pairs and of exported photos; scores, csv and json to 1e-12; printed tables figure for figure.
Reported but not failed: p-values, words, pages, drawings, the prose of cards, and settings that moved into
columns of their own ("classification, as published").
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import math
import os
import platform
import re
import resource
import shutil
import string
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

TOLERANCE = 1e-12
CLASSES = ("hen", "lion", "tiger")
SIDES = {"common": "grass", "counter": "sky"}
LITE, BIASED, BALANCED = "efficientnet-lite0", "counterground:stamps-biased", "counterground:stamps-balanced"
SIGLIP, LLAVA, VIT = "hf:models/siglip", "hf:models/llava", "hf:models/vit"
SMALL = "small/manifest.parquet"
EVERY = ("csv", "json", "markdown", "latex", "table")
ROWS = ("csv", "json", "markdown")
ENDINGS = {"csv": "csv", "json": "json", "markdown": "md", "latex": "tex", "table": "txt"}
RESULTS = ("pairs", "pairs-small", "runs", "text", "export", "study", "figures", "report")
USERS_CODE = f"""import torch
from torchvision import transforms


def load():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 3))
    resize = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
    return network, resize, {list(CLASSES)!r}
"""


# ---------------------------------------------------------------------------------------------------- record


@dataclass(frozen=True)
class Step:
    """One command; if ``keep`` names a file, what it prints is kept under that name in ``text/``."""

    arguments: tuple[str, ...]
    keep: str = ""


def evaluations() -> Iterator[Step]:
    """Yield the discovery and all evaluations: classifiers, dual encoders, models that answer in words."""
    yield Step(("discover", "stamps", "--referee", LITE, "--out", "pairs"))
    yield _evaluate("stamps", "stamps-lite0", LITE)
    yield _evaluate("stamps", "stamps-clips", BIASED, BALANCED, SIGLIP)
    names = ("--label-space", "benchmark", "--prompts", "openai", "--names", "wordnet")
    yield _evaluate("stamps", "stamps-45", LITE, BIASED, BALANCED, SIGLIP, options=names)
    lites = (LITE, "efficientnet-lite1", "efficientnet-lite2")
    yield _evaluate("pairs", "pairs", *lites, BIASED, BALANCED, SIGLIP)
    own = ("--label-space", "benchmark")
    yield _evaluate(SMALL, "small", LITE, BALANCED, SIGLIP, VIT, "users:load", options=own)
    yield _evaluate("small/folders", "folders", BIASED, BALANCED, options=own)
    confusable = ("--label-space", "confusable", "--referee", BALANCED)
    yield _evaluate(SMALL, "confusable", LITE, BIASED, options=confusable)
    how = ("--label-space", "benchmark", "--split", "none", "--min-drop", "0")
    yield Step(("discover", SMALL, "--referee", BALANCED, *how, "--out", "pairs-small"))
    yield _evaluate(SMALL, "words-loss", LLAVA, options=own)
    yield _evaluate(SMALL, "words-sum", LLAVA, options=(*own, "--loss", "sum"))
    yield _evaluate(SMALL, "words-yes-no", LLAVA, options=(*own, "--protocol", "yes-no"))
    correct = ("--protocol", "describe", "--article", "correct")
    yield _evaluate(SMALL, "words-describe", LLAVA, options=(*own, *correct))
    yield _evaluate(SMALL, "words-free", LLAVA, options=(*own, "--protocol", "free-form"))


def tables() -> Iterator[Step]:
    """Yield every command that shows results: scores, comparisons, reports, exports, the study."""
    words = ("loss", "sum", "yes-no", "describe", "free")
    small = ("runs/small", *(f"runs/words-{way}" for way in words))
    for style in EVERY:
        yield _told("scores-pairs", style, "scores", "runs/pairs")
        yield _told("scores-pairs-by-class", style, "scores", "runs/pairs", "--by", "class")
    yield Step(
        ("scores", "runs/pairs", "--by", "class", "--format", "parquet", "--out", "text/classes.parquet")
    )
    for style in ("csv", "json"):
        stamps = ("runs/stamps-lite0", "runs/stamps-clips", "runs/stamps-45")
        yield _told("scores-stamps-by-class", style, "scores", *stamps, "--by", "class")
        yield _told("scores-small-by-class", style, "scores", *small, "--by", "class")
        yield _told("scores-confusable", style, "scores", "runs/confusable", "runs/folders")
    yield _told("scores-words", "markdown", "scores", *small)
    yield Step(("scores", "runs/pairs", "--format", "model-card"), "cards.md")
    yield Step(("scores", "runs/pairs", "--format", "bibtex"), "references.bib")
    for style in EVERY:
        yield _told("compare-published", style, "compare", "--published")
        yield _told("compare-reproduce", style, "compare", "--reproduce")
        yield _told("compare-pairs", style, "compare", "runs/pairs")
    logit = ("--against", LITE, "--baseline", "clip", "--scale", "logit")
    for style in ROWS:
        yield _told("compare-pairs-published", style, "compare", "runs/pairs", "--published")
        yield _told("compare-small", style, "compare", *small)
        yield _told("compare-logit", style, "compare", "runs/pairs", *logit)
        yield _told("compare-published-logit", style, "compare", "--published", "--scale", "logit")
    yield _told("models", "json", "models", "--json")
    formats = ("counteranimal", "croissant", "huggingface", "parquet", "webdataset")
    asked = tuple(word for form in formats for word in ("--format", form))
    yield Step(("export", SMALL, *asked, "--out", "export/shared"), "export-shared.txt")
    yield Step(("export", SMALL, *asked, "--private", "--out", "export/private"), "export-private.txt")
    yield Step(("report", "runs/pairs", "--discovery", "pairs", "--out", "report/pairs.html"))
    yield Step(("figures", "runs/pairs", "--published", "--only", "tables", "--out", "figures"))
    yield Step(("study", "theory", "--quick", "--out", "study/theory"))


def _evaluate(benchmark: str, run: str, *models: str, options: Sequence[str] = ()) -> Step:
    named = tuple(word for model in models for word in ("-m", model))
    return Step(("evaluate", benchmark, *named, *options, "--out", f"runs/{run}"))


def _told(name: str, style: str, *arguments: str) -> Step:
    form = () if arguments[0] == "models" else ("--format", style)
    return Step((*arguments, *form), f"{name}.{ENDINGS[style]}")


def record(out: Path, source: Path, models: Path, packages: Path | None) -> None:
    """Run every command with the code of ``source`` and keep what it wrote and printed in ``out``."""
    if out.exists() and any(out.iterdir()):
        sys.exit(f"{out} is not empty: choose another folder.")
    build_models(models)
    for folder in ("text", "log", "export", "report", "study"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    shutil.copytree(models, out / "models")
    (out / "users.py").write_text(USERS_CODE)
    if packages is not None:
        shutil.copytree(packages / "cache" / "packages", out / "cache" / "packages")
    runner = Runner(out, source.resolve())
    runner.check_source()
    evaluate = evaluations()
    runner.run(next(evaluate))  # builds stamps, from which the small benchmark is made
    stamps = next((out / "cache").glob("**/stamps-*/photos.parquet")).parent
    write_small(stamps, out / "small")
    for step in (*evaluate, *tables()):
        runner.run(step)
    content = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "polars": pl.__version__,
        "seconds": round(sum(seconds for _, seconds, _ in runner.done), 1),
        "processor_seconds": round(sum(used for _, _, used in runner.done), 1),
        "steps": [
            {"command": command, "seconds": round(seconds, 1), "processor_seconds": round(used, 1)}
            for command, seconds, used in runner.done
        ],
        "models": _hashes(out / "models"),
        "stamps": _hashes(stamps / "photos") | _hashes(stamps / "masks"),
    }
    (out / "record.json").write_text(json.dumps(content, indent=1) + "\n")
    spent = f"{content['seconds']:.0f} s, {content['processor_seconds']:.0f} s of processor time"
    print(f"{len(runner.done)} commands in {spent}: {out}")


@dataclass
class Runner:
    """Runs commands inside ``out``, so that every path in a result is relative."""

    out: Path
    source: Path
    done: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """One thread and no network, a cache of its own, and tables wide enough for every name."""
        path = os.pathsep.join(filter(None, (str(self.source / "src"), os.environ.get("PYTHONPATH"))))
        given = {key: value for key, value in os.environ.items() if key != "FORCE_COLOR"}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        fixed = {"NO_COLOR": "1", "COLUMNS": "1000", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        cache = str(self.out.resolve() / "cache")
        return {**given, **threads, **fixed, "PYTHONPATH": path, "COUNTERGROUND_CACHE": cache}

    def check_source(self) -> None:
        """Refuse to record code other than what was asked for."""
        code = "import counterground; print(counterground.__file__)"
        found = Path(self._call([sys.executable, "-c", code]).stdout.strip()).resolve()
        if not found.is_relative_to(self.source / "src"):
            sys.exit(f"{found} would be run, not the code in {self.source}.")

    def run(self, step: Step) -> None:
        """Run one command, keep what it prints, and exit if it fails."""
        started, used = time.monotonic(), _processor_seconds()
        command = " ".join(step.arguments)
        done = self._call([sys.executable, "-m", "counterground", *step.arguments])
        log = self.out / "log" / f"{len(self.done):02d}-{step.arguments[0]}.txt"
        log.write_text(f"{command}\n{done.stdout}\n{done.stderr}")
        if done.returncode:
            sys.exit(f"counterground {command}\nended with {done.returncode}: {done.stderr[-2000:]}")
        if step.keep:
            (self.out / "text" / step.keep).write_text(done.stdout.replace(str(self.out), "OUT"))
        self.done.append((command, time.monotonic() - started, _processor_seconds() - used))
        print(f"{self.done[-1][1]:6.1f} s  {command}", flush=True)

    def _call(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            command, cwd=self.out, env=self.environment, capture_output=True, text=True, check=False
        )


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_small(stamps: Path, folder: Path) -> None:
    """Write three classes on two backgrounds: as a manifest with licences, and as folders."""
    chosen = pl.read_parquet(stamps / "photos.parquet").filter(
        pl.col("class_name").is_in(CLASSES), pl.col("background").is_in(SIDES.values())
    )
    chosen = chosen.sort("path")
    group = pl.col("background").replace_strict({background: side for side, background in SIDES.items()})
    licences = ("cc0", "cc-by", "all rights reserved", "cc-by-nc", None)
    listed = [licences[place % len(licences)] for place in range(chosen.height)]
    credit = [f"Author {place}" for place in range(chosen.height)]
    small = chosen.drop("class_index", "photo_id").with_columns(
        group=group, licence=pl.Series(listed, dtype=pl.String), attribution=pl.Series(credit)
    )
    for row in small.iter_rows(named=True):
        inside = f"folders/{row['class_name']}/{row['group']}-{row['background']}/{Path(row['path']).name}"
        for origin, target in ((row["path"], row["path"]), (row["mask"], row["mask"]), (row["path"], inside)):
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(stamps / origin, folder / target)
    small.write_parquet(folder / "manifest.parquet")


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        f"{folder.name}/{path.relative_to(folder).as_posix()}": _hash(path.read_bytes()) for path in files
    }


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ----------------------------------------------------------------------------------------------- tiny models


def build_models(folder: Path) -> None:
    """Write a SigLIP, a LLaVA and a classifier with random weights, unless they already exist."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".models-", dir=folder.parent))
    for name, build in (("siglip", _siglip), ("llava", _llava), ("vit", _vit)):
        build(draft / name)
    draft.chmod(0o755)
    draft.rename(folder)


_TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def _siglip(folder: Path) -> None:
    import sentencepiece  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
        SiglipProcessor,
        SiglipTokenizer,
    )

    torch.manual_seed(0)
    words = ["a photo of a hen", "lion on grass", "tiger in the sky", "quick zebra jumps over black fox"]
    pieces = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words * 20),
        model_writer=pieces,
        vocab_size=60,
        hard_vocab_limit=False,
        unk_id=0,
        eos_id=1,
        bos_id=-1,
        pad_id=-1,
        minloglevel=2,
    )
    folder.mkdir(parents=True)
    (folder / "spiece.model").write_bytes(pieces.getvalue())
    tokenizer = SiglipTokenizer(str(folder / "spiece.model"), model_input_names=["input_ids"])
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": 32}
    vision = {**_TOWER, "image_size": 32, "patch_size": 8}
    model = SiglipModel(SiglipConfig(text_config={**_TOWER, **text}, vision_config=vision)).eval()
    model.logit_bias.data.fill_(-10.0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim and "logit" not in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    images = SiglipImageProcessor(size={"height": 32, "width": 32})
    SiglipProcessor(images, tokenizer).save_pretrained(folder)


_PART = "{% for part in message['content'] | selectattr('type', 'equalto', "
_CHAT = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    f"{_PART}'image') %}}{{{{ '<image>\n' }}}}{{% endfor %}}"
    f"{_PART}'text') %}}{{{{ part['text'] + ' ' }}}}{{% endfor %}}{{% endfor %}}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def _llava(folder: Path) -> None:
    import torch  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    torch.manual_seed(0)
    tokenizer = _llama_tokenizer()
    width, image = 32, 56
    text = LlamaConfig(
        **{**_TOWER, "num_attention_heads": 4, "num_key_value_heads": 2},
        vocab_size=len(tokenizer),
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    towers = {**_TOWER, "num_hidden_layers": 3, "image_size": image, "patch_size": 14}
    vision = CLIPVisionConfig(**towers, projection_dim=width)
    token = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=token)
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)  # with the usual small weights every answer looks alike
    model.eval().save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": image}, crop_size={"height": image, "width": image})
    LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_CHAT,
    ).save_pretrained(folder)


def _llama_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=False))  # noqa: S106
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    letters = [*string.ascii_letters, *string.digits, *string.punctuation, "▁", "\n"]
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=special, initial_alphabet=letters)
    words = (
        "What is the main object in the image? Describe this image in detail. A hen. A lion. A tiger. Yes No"
    )
    tokenizer.train_from_iterator(words.split(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens)


def _vit(folder: Path) -> None:
    import torch  # noqa: PLC0415
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor  # noqa: PLC0415

    torch.manual_seed(0)
    config = ViTConfig(**_TOWER, image_size=32, patch_size=8, id2label=dict(enumerate(CLASSES)))
    model = ViTForImageClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    images = ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.5] * 3)
    images.save_pretrained(folder)


# --------------------------------------------------------------------------------------------------- compare

Kind = Literal["figure", "range", "p-value", "setting", "word", "fact"]
PLURALS: dict[Kind, str] = {
    "figure": "figures",
    "range": "ranges of ranks, which follow from p-values",
    "p-value": "p-values, and what follows from them",
    "setting": "settings",
    "word": "words",
    "fact": "facts that are no results",
}
P_VALUE = re.compile(r"p_value|p_holm|^p( \(Holm\))?$")
P_SENTENCE = re.compile(r"\bp\s*(\\?\$?\s*[<=≤]|\\textless)|p-value", re.IGNORECASE)
RANGE = ("rank_low", "rank_high")
SETTINGS = ("protocol", "prompts")
NUMBER = re.compile(r"[−+-]?\d+(?:[.,]\d+)*")
RANK = re.compile(r"^(.*?\d+) (\d+(?:–|-{1,2}|\\textendash\{\})\d+)$")
PRINTED_P = re.compile(r"^(.*?)\s+((?:< )?[01]\.\d{3})$")
LONG = 40
PICTURES = (".jpg", ".jpeg", ".png")
# What must be equal in JSON files that hold more than results; the rest is reported.
STRICT = {
    "run.json": re.compile(
        r"benchmark\.(name|version|n_photos)|label_space|counts|names|prompts|precision|loss|article|protocol"
        r"|as_published|templates|texts|aliases|models\[\d+\]\.(spec|kind)|settings|study"
    ),
    "benchmark.json": re.compile(r"name$|version$"),
    "label_space.json": re.compile(""),
}
NOTHING = re.compile(r"(?!)")
TIMES = re.compile(r"\d{4}-\d\d-\d\dT[\d:+]+|\b[\d.,]+ (s|seconds?|min|minutes?|h|hours?)\b")
# Headings and answers that have since been renamed.
RENAMED = {"Off line": "Above line", "not told": "inconclusive"}
COMMIT = re.compile(r"\bcommit [0-9a-f]{7,40}\b")
PASSING = re.compile(r"created|seconds|git$")


class Leaf(NamedTuple):
    """One value of a file and what it is."""

    kind: Kind
    value: Any


Leaves = dict[str, Leaf]


@dataclass
class Checks:
    """Prints the outcome of each check, and counts those that fail."""

    ranges_may_differ: bool = False
    failed: int = 0
    same: int = 0
    told: int = 0

    def equal(self, what: str) -> None:
        """Report that a check found no difference."""
        self.same += 1
        print(f"same: {what}")

    def differ(self, what: str, where: str, kind: Kind = "figure") -> None:
        """Report where two results differ: as a failure, or without failing."""
        fails = kind == "figure" or (kind == "range" and not self.ranges_may_differ)
        self.failed += fails
        self.told += not fails
        print(f"{'DIFFERENT' if fails else 'told, not failed'}: {what}: {where}")


def compare(before: Path, after: Path, *, ranges_may_differ: bool = False) -> int:
    """Compare two records and return the exit status."""
    checks = Checks(ranges_may_differ)
    old, new = (json.loads((folder / "record.json").read_text()) for folder in (before, after))
    for key, title in (("models", "files of the tiny models"), ("stamps", "photos and masks of stamps")):
        _compare_hashes(checks, title, old[key], new[key])
    for key in ("python", "platform", "polars"):
        if old[key] != new[key]:
            checks.differ(key, f"{old[key]} before, {new[key]} after", "fact")
    version = {str(run): _version(folder) for run, folder in ((0, before), (1, after))}
    for path in sorted(path for name in RESULTS for path in (before / name).rglob("*") if path.is_file()):
        name = path.relative_to(before).as_posix()
        if name.startswith("export/") and path.suffix in PICTURES:
            continue
        other = after / name
        if not other.is_file():
            checks.differ(name, "missing")
            continue
        _compare_file(checks, name, path, other, (version["0"], version["1"]))
    _compare_photo_sets(checks, before, after)
    print(f"{checks.same} checks same, {checks.failed} different, {checks.told} told and not failed")
    return 1 if checks.failed else 0


def _version(folder: Path) -> str:
    return str(json.loads((folder / "runs" / "pairs" / "run.json").read_text())["counterground_version"])


def _renamed(text: str) -> str:
    """Return a text with today's headings and answers, without the hash of a commit."""
    for before, now in RENAMED.items():
        text = text.replace(before, now)
    return COMMIT.sub("commit", text)


def _compare_file(checks: Checks, name: str, old: Path, new: Path, versions: tuple[str, str]) -> None:
    suffix = old.suffix
    if suffix == ".parquet":
        near = old.name == "scores.parquet" or name.startswith(("study/", "text/", "figures/"))
        _compare_parquet(checks, name, pl.read_parquet(old), pl.read_parquet(new), near=near)
    elif suffix == ".tar":
        _compare_hashes(checks, name, _members(old), _members(new))
    elif suffix in READERS:
        read = READERS[suffix]
        leaves = [
            read(_renamed(path.read_text()).replace(version, "VERSION"))
            for path, version in zip((old, new), versions, strict=True)
        ]
        _compare_leaves(checks, name, *leaves)
    elif suffix == ".html":
        _compare_pages(checks, name, old.read_text(), new.read_text())
    elif old.read_bytes() == new.read_bytes():
        checks.equal(f"{name}: bytes")
    else:
        checks.differ(name, "other bytes", "word")


def _compare_pages(checks: Checks, name: str, old: str, new: str) -> None:
    """Compare pages, ignoring when they were made and how long it took; differences do not fail."""
    a, b = (TIMES.sub("TIME", page.replace("><", ">\n<")).splitlines() for page in (old, new))
    wrong = [
        f"{x.strip()[:LONG]!r} before, {y.strip()[:LONG]!r} after"
        for x, y in zip(a, b, strict=False)
        if x != y
    ]
    if wrong or len(a) != len(b):
        checks.differ(name, _few(wrong or [f"{len(a)} lines before, {len(b)} after"]), "word")
    else:
        checks.equal(f"{name}: the page but for times")


def _compare_hashes(checks: Checks, title: str, old: dict[str, str], new: dict[str, str]) -> None:
    names = sorted({*old, *new})
    wrong = [name for name in names if old.get(name) != new.get(name)]
    # Descriptions of a photo in words are not payload.
    prose = [name for name in wrong if name.endswith((".json", ".md")) and name in old and name in new]
    wrong = [name for name in wrong if name not in prose]
    if prose:
        checks.differ(title, _few([f"{name} has other bytes" for name in prose]), "word")
    if wrong:
        checks.differ(title, _few([f"{name} {_change(name, old, new)}" for name in wrong]))
    else:
        checks.equal(f"{title}: {len(old):,} files")


def _change(name: str, old: dict[str, str], new: dict[str, str]) -> str:
    return "is missing" if name not in new else "is new" if name not in old else "has other bytes"


def _members(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        opened = ((member.name, archive.extractfile(member)) for member in archive)
        return {name: _hash(file.read()) for name, file in opened if file is not None}


def _compare_photo_sets(checks: Checks, before: Path, after: Path) -> None:
    """Compare the photos and masks of exports by their bytes, and check that none has a new shard."""
    for name in sorted(
        root.relative_to(before).as_posix() for root in (before / "export").glob("*/*") if root.is_dir()
    ):
        old, new = (_pictures(folder / name) for folder in (before, after))
        if old or new:
            _compare_hashes(checks, f"{name}: photos and masks", old, new)
        shards = {path.relative_to(after).as_posix() for path in (after / name).rglob("*.[pt]ar*")}
        added = sorted(shard for shard in shards if not (before / shard).exists())
        if added:
            checks.differ(name, _few([f"{shard} is new" for shard in added]))


def _pictures(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.suffix in PICTURES)
    return {path.relative_to(folder).as_posix(): _hash(path.read_bytes()) for path in found}


def _compare_parquet(checks: Checks, name: str, old: pl.DataFrame, new: pl.DataFrame, *, near: bool) -> None:
    """Compare the columns of the first table: bit by bit, or numbers to 1e-12."""
    absent = [column for column in old.columns if column not in new.columns]
    if absent:
        checks.differ(name, f"columns missing: {', '.join(absent)}")
        return
    if old.height != new.height:
        checks.differ(name, f"{old.height} rows before, {new.height} after")
        return
    wrong, settings = [], []
    for column in old.columns:
        a, b = old[column], new[column]
        if a.dtype != b.dtype:
            wrong.append(f"{column} is {b.dtype}, was {a.dtype}")
            continue
        rows = _unequal(a, b, near=near)
        if rows and column in SETTINGS and len(new.columns) > len(old.columns):
            moved = [row for row in rows if _moved(a[row], b[row])]
            settings += [f"{column}: {a[row]!r} is now {b[row]!r}" for row in moved]
            rows = [row for row in rows if row not in set(moved)]
        if rows:
            shown = _short(a[rows[0]]), _short(b[rows[0]])
            wrong.append(f"{column}, row {rows[0]}: {shown[0]} before, {shown[1]} after ({len(rows)} rows)")
    if settings:
        checks.differ(name, _few(list(dict.fromkeys(settings))), "setting")
    if wrong:
        checks.differ(name, _few(wrong))
        return
    restricted = new.select(old.columns)
    if not near and not settings and _bytes(old) != _bytes(restricted):
        checks.differ(name, "equal values, other bytes when written again")
        return
    how = "numbers to 1e-12" if near else "bit by bit"
    checks.equal(f"{name}: {old.height:,} rows, {len(old.columns)} columns, {how}")


def _unequal(a: pl.Series, b: pl.Series, *, near: bool) -> list[int]:
    """Return the rows where two columns differ; NaN equals NaN with the same bits, null equals null."""
    if a.dtype.is_nested():
        pairs = zip(a.to_list(), b.to_list(), strict=True)
        return [row for row, (x, y) in enumerate(pairs) if x != y]
    if a.dtype.is_float():
        if near:
            both_nan = a.is_nan() & b.is_nan()
            far = ((a - b).abs() <= TOLERANCE) | (a == b) | both_nan
            differ = ~far.fill_null(value=True) | (a.is_null() != b.is_null())
            return differ.fill_null(value=True).arg_true().to_list()
        bits = "u4" if a.dtype == pl.Float32 else "u8"
        x, y = (series.fill_null(0.0).to_numpy().view(bits) for series in (a, b))
        differ = pl.Series(x != y) | (a.is_null() != b.is_null())
        return differ.arg_true().to_list()
    return a.ne_missing(b).arg_true().to_list()


def _bytes(frame: pl.DataFrame) -> bytes:
    written = io.BytesIO()
    frame.rechunk().write_parquet(written, compression="uncompressed", statistics=False)
    return written.getvalue()


def _moved(old: Any, new: Any) -> bool:
    """Whether a setting lost its part after a comma: "answer-loss, sum" is now "answer-loss"."""
    return isinstance(old, str) and isinstance(new, str) and old.startswith(f"{new}, ")


def _compare_leaves(checks: Checks, name: str, old: Leaves, new: Leaves) -> None:
    old, new = _strict(name, old), _strict(name, new)
    printed = not name.endswith((".csv", ".json"))
    wrong: dict[Kind, list[str]] = {}
    for where, leaf in old.items():
        other, kind = new.get(where), leaf.kind
        if other is None:
            kind = "figure" if kind in ("setting", "range") else kind
            wrong.setdefault(kind, []).append(f"{where} is missing, was {_short(leaf.value)}")
        elif not _alike(leaf.value, other.value, exact=printed):
            if kind == "setting" and not _moved(leaf.value, other.value):
                kind = "figure"
            shown = f"{where}: {_short(leaf.value)} before, {_short(other.value)} after"
            wrong.setdefault(kind, []).append(shown)
    for where in [where for where in new if printed and where not in old]:
        wrong.setdefault(new[where].kind, []).append(f"{where} is new: {_short(new[where].value)}")
    for kind, places in wrong.items():
        checks.differ(f"{name}: {PLURALS[kind]}", _few(places), kind)
    counts = Counter(leaf.kind for leaf in old.values())
    kinds: tuple[Kind, ...] = ("figure", "p-value", "range", "fact")
    for kind in kinds:
        if counts[kind] and kind not in wrong:
            checks.equal(f"{name}: {counts[kind]:,} {PLURALS[kind]}")


def _strict(name: str, leaves: Leaves) -> Leaves:
    """Leave out when a file was made, and turn what is not a result in it into facts, which never fail."""
    path = Path(name)
    card = path.parts[0] == "export" and path.suffix in (".json", ".md")
    strict = STRICT.get(path.name, NOTHING if card else None)
    if strict is None:
        return leaves
    return {
        where: leaf if strict.match(where) else Leaf("fact", leaf.value)
        for where, leaf in leaves.items()
        if strict.match(where) or not PASSING.search(where)
    }


def _alike(old: Any, new: Any, *, exact: bool) -> bool:
    if isinstance(old, bool) or isinstance(new, bool) or exact:
        return type(old) is type(new) and old == new
    if isinstance(old, (int, float)) and isinstance(new, (int, float)):
        return old == new or abs(old - new) <= TOLERANCE or (math.isnan(old) and math.isnan(new))
    return type(old) is type(new) and old == new


def _few(places: Sequence[str], most: int = 3) -> str:
    more = f"; and {len(places) - most} more" if len(places) > most else ""
    return "; ".join(places[:most]) + more


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 2 * LONG else f"{text[: 2 * LONG]}..."


# ------------------------------------------------------------------------------------- what the files contain


def read_json(text: str) -> Leaves:
    """Return every value of a JSON document by its path in the document."""
    leaves: Leaves = {}
    _walk(json.loads(text), "", "", leaves)
    return leaves


def _walk(value: Any, where: str, key: str, leaves: Leaves) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _walk(inner, f"{where}.{name}" if where else name, name, leaves)
    elif isinstance(value, list):
        prose = bool(value) and all(isinstance(inner, str) and _is_prose(inner) for inner in value)
        leaves[f"{where}, length"] = Leaf("word" if prose else "figure", len(value))
        for place, inner in enumerate(value):
            _walk(inner, f"{where}[{place}]", key, leaves)
    elif isinstance(value, str) and _is_prose(value):
        _prose(where, value, leaves)
    else:
        leaves[where] = Leaf(_kind(key), value)


def read_csv(text: str) -> Leaves:
    """Return every cell by row and column; numbers are read as numbers."""
    rows = list(csv.DictReader(io.StringIO(text)))
    leaves: Leaves = {"rows": Leaf("figure", len(rows))}
    for place, row in enumerate(rows):
        for column, cell in row.items():
            where = f"row {place}, {column}"
            if isinstance(cell, str) and _is_prose(cell):
                _prose(where, cell, leaves)
            else:
                leaves[where] = Leaf(_kind(column), _number(cell))
    return leaves


def _number(cell: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


def _kind(key: str) -> Kind:
    if P_VALUE.search(key):
        return "p-value"
    if key in RANGE:
        return "range"
    return "setting" if key in SETTINGS else "figure"


def _is_prose(text: str) -> bool:
    return " " in text and (len(text) > LONG or text.endswith("."))


def _prose(where: str, text: str, leaves: Leaves, start: int = 0) -> int:
    """Add the numbers of a text one by one, and its words as one; return the count of numbers."""
    number = start
    for sentence in re.split(r"(?<=[.!?]) ", text):
        kind: Kind = "p-value" if P_SENTENCE.search(sentence) else "figure"
        for found in NUMBER.findall(sentence):
            number += 1
            leaves[f"{where}, number {number}"] = Leaf(kind, found)
    words = " ".join(NUMBER.sub("#", text).split())
    if words:
        leaves[f"{where}, words"] = Leaf("word", words)
    return number


def read_markdown(text: str) -> Leaves:
    """Return the cells of tables by title, and the numbers of everything else in order."""
    return _read_tables(text, lambda line: _cells(line) if line.startswith("|") else None)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def read_latex(text: str) -> Leaves:
    """Return the cells of tables by title, and the numbers of everything else in order."""

    def cells(line: str) -> list[str] | None:
        if not re.search(r"(?<!\\)&", line) or r"\caption" in line:
            return None
        body = re.sub(r"\\(top|mid)rule|\\end(first)?head|\\\\\*?", "", line)
        return [cell.strip() for cell in re.split(r"(?<!\\)&", body)]

    return _read_tables(text, cells)


def _read_tables(text: str, cells: Callable[[str], list[str] | None]) -> Leaves:
    leaves: Leaves = {}
    titles: list[str] = []
    table = row = number = 0
    for line, content in enumerate(text.splitlines()):
        found = cells(content)
        if found is None:
            if not re.search(r"\\addlinespace|multicolumn|rule", content):
                titles = []
            number = _prose("text", content, leaves, number)
            leaves[f"line {line}, words"] = leaves.pop("text, words", Leaf("word", ""))
        elif not titles:
            titles, table, row = found, table + 1, 0
            leaves[f"table {table}, titles"] = Leaf("word", found)
        else:
            row += 1
            _row(f"table {table}, row {row} ({found[0]})", titles, found, leaves)
    return leaves


def _row(where: str, titles: Sequence[str], cells: Sequence[str], leaves: Leaves) -> None:
    leaves[f"{where}, cells"] = Leaf("figure", len(cells))
    for place, cell in enumerate(cells):
        title = titles[place] if place < len(titles) else str(place)
        here = f"{where}, {title} (column {place})"
        ranked = RANK.match(cell) if title == "Rank" else None
        if ranked:
            leaves[here] = Leaf("figure", ranked[1])
            leaves[f"{here}, range"] = Leaf("range", ranked[2])
        else:
            leaves[here] = Leaf("p-value" if P_VALUE.search(title) else "figure", cell)


def read_terminal(text: str) -> Leaves:
    """Return the numbers that were printed, in order; p-values and ranges of ranks come last in a row."""
    leaves: Leaves = {}
    number = 0
    above: list[str] = []
    has_p = has_rank = False
    for line, content in enumerate(text.splitlines()):
        if re.fullmatch(r"[\s─━]{10,}", content):
            titles = " ".join(above[-2:])
            has_p, has_rank = "(Holm)" in titles, "Rank" in titles
        rest = content.rstrip()
        p, rank = PRINTED_P.match(rest) if has_p else None, RANK.match(rest) if has_rank else None
        if p:
            rest = p[1]
            leaves[f"line {line}, p"] = Leaf("p-value", p[2])
        elif rank:
            rest = rank[1]
            leaves[f"line {line}, range"] = Leaf("range", rank[2])
        number = _prose("text", rest, leaves, number)
        leaves[f"line {line}, words"] = leaves.pop("text, words", Leaf("word", ""))
        above.append(content)
    return leaves


READERS: dict[str, Callable[[str], Leaves]] = {
    ".json": read_json,
    ".csv": read_csv,
    ".md": read_markdown,
    ".tex": read_latex,
    ".txt": read_terminal,
    ".bib": read_terminal,
}


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record", help="run every command and keep the results")
    recorder.add_argument("out", type=Path)
    here = Path(__file__).resolve().parents[1]
    recorder.add_argument("--source", type=Path, default=here, help="checkout whose src/ is run")
    recorder.add_argument(
        "--models", type=Path, help="tiny models, built there once  [default: OUT/../models]"
    )
    recorder.add_argument("--packages-from", type=Path, metavar="RECORD", help="take its Debian packages")
    comparer = commands.add_parser("compare", help="compare two records; 1 where results differ")
    comparer.add_argument("before", type=Path)
    comparer.add_argument("after", type=Path)
    comparer.add_argument(
        "--ranges-may-differ",
        action="store_true",
        help="tell ranges of ranks, which follow from p-values, without failing",
    )
    given = parser.parse_args()
    if given.command == "record":
        models = given.models or given.out.resolve().parent / "models"
        record(given.out.resolve(), given.source, models, given.packages_from)
        return 0
    return compare(given.before, given.after, ranges_may_differ=given.ranges_may_differ)


if __name__ == "__main__":
    sys.exit(main())

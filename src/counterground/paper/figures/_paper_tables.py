"""Tables 1 to 16 of the paper as data: CSV and Parquet with notes, LaTeX in booktabs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from counterground.files import write_parquet, write_text
from counterground.published import load_table
from counterground.text import latex

_MEASURES = ("common", "counter", "drop")
_BELOW = ("note", "remark")  # texts that LaTeX has below the table
_MODEL = ("backbone", "pretrain_dataset", *_MEASURES)
_HEADS = {
    "class_id": "id",
    "object_label": "object label",
    "common_background": "common",
    "counter_background": "counter",
    "pretrain_dataset": "pre-training data",
    "high_quality": "filtered",
    "checkpoint_printed": "checkpoint",
    "in_distribution": "in distr.",
    "out_of_distribution": "out of distr.",
    "open_clip_model_name": "OpenCLIP model (ours)",
    "open_clip_pretrained": "tag (ours)",
    "certainty": "tag is (ours)",
    "n_classes": "$k$",
    "n_samples": "photos",
    "p_inv": r"$p_\mathrm{inv}$",
    "p_spu": r"$p_\mathrm{spu}$",
} | {
    f"{test}_{how}": f"{test.capitalize()} {word}"
    for test in ("rand", "rev", "rest")
    for how, word in (("mean", "mean"), ("std", "s.d."))
}


@dataclass(frozen=True)
class PaperTable:
    """One table as printed: percent and points; ``frame`` ends with the column ``note``."""

    number: int
    title: str
    frame: pl.DataFrame


def paper_tables() -> list[PaperTable]:
    """Return tables 1 to 16."""
    titles = {
        1: ("Examples of classes, CLIP-LAION400M-ViT/B/32", load_table("table1_examples")),
        2: ("Classes and their backgrounds", _classes()),
        3: ("CLIPs, 1 vs. 1000", _clips("Table 3", "high_quality")),
        4: ("ImageNet models, 1 vs. 1000", _imagenet("Table 4")),
        5: ("CLIPs and vision-language models, 1 vs. 20", _generative()),
        6: (
            "Checkpoints; OpenCLIP model, tag, certainty (of the tag only) and remark are ours",
            _checkpoints(),
        ),
        7: ("ColoredCOCO", load_table("coloredcoco_results")),
        8: (
            "MultiColoredMNIST, accuracy on labels 0 and 1 (Rand, Rev) and on the rest",
            load_table("multicoloredmnist_results"),
        ),
        9: ("CLIPs by checkpoint, 1 vs. 1000", _clips("Table 9", "checkpoint")),
        10: ("CLIPs with 80 prompts, 1 vs. 1000", _clips("Table 10")),
        11: ("CLIPs without balancing, 1 vs. 1000", _clips("Table 11")),
        12: ("ImageNet models without balancing, 1 vs. 1000", _imagenet("Table 12")),
        13: ("CLIPs, 1 vs. 20", _clips("Table 13")),
        14: ("ImageNet models, 1 vs. 20", _imagenet("Table 14")),
        15: ("Class by class, three backbones trained on LAION400M", _classwise("Table 15")),
        16: ("Class by class, ViT/B/32 trained on three data sets", _classwise("Table 16")),
    }
    return [PaperTable(number, title, frame) for number, (title, frame) in titles.items()]


def write_paper_tables(folder: Path) -> list[Path]:
    """Write ``table-01.csv``, ``.parquet`` and ``.tex`` to ``table-16`` into ``folder``."""
    written = []
    for table in paper_tables():
        stem = folder / f"table-{table.number:02d}"
        write_text(stem.with_suffix(".csv"), table.frame.write_csv())
        write_parquet(stem.with_suffix(".parquet"), table.frame)
        write_text(stem.with_suffix(".tex"), table_latex(table))
        written += [stem.with_suffix(suffix) for suffix in (".csv", ".parquet", ".tex")]
    return written


def table_latex(table: PaperTable) -> str:
    """Write one table in booktabs; letters lead from rows to the notes and remarks below it."""
    if table.number in (15, 16):
        return _wide(table)
    below = table.frame.select(name for name in _BELOW if name in table.frame.columns)
    frame = table.frame.drop(below.columns)
    letters = _letters(pl.concat(below.get_columns()))
    rows = [
        [
            _cell(name, value) + ("".join(letters.get(text, "") for text in texts) if place == 0 else "")
            for place, (name, value) in enumerate(row.items())
        ]
        for row, texts in zip(frame.to_dicts(), below.rows(), strict=True)
    ]
    heads = [_HEADS.get(name) or latex(name.replace("_", " ")) for name in frame.columns]
    alignment = "".join("r" if kind.is_numeric() else "l" for kind in frame.dtypes)
    return _tabular(table, alignment, [" & ".join(heads) + r" \\"], rows, letters)


def _wide(table: PaperTable) -> str:
    """Tables 15 and 16: a row for each class, three columns for each model."""
    models = table.frame["model"].unique(maintain_order=True).to_list()
    letters = _letters(table.frame["note"])
    rows = []
    for (identity, label), part in table.frame.group_by("class_id", "object_label", maintain_order=True):
        row = [str(identity), latex(str(label))]
        for cells in part.to_dicts():
            row += [_cell(name, cells[name]) for name in _MEASURES]
            row[-1] += letters.get(cells["note"], "")
        rows.append(row)
    spans = " & ".join(rf"\multicolumn{{3}}{{c}}{{{latex(model)}}}" for model in models)
    rules = "".join(rf"\cmidrule(lr){{{3 + 3 * k}-{5 + 3 * k}}}" for k in range(len(models)))
    heads = " & ".join(["id", "object label", *_MEASURES * len(models)]) + r" \\"
    return _tabular(table, "rl" + "rrr" * len(models), [rf" & & {spans} \\", rules, heads], rows, letters)


def _tabular(
    table: PaperTable,
    alignment: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    letters: dict[str, str],
) -> str:
    lines = [
        f"% Needs \\usepackage{{booktabs}}. Table {table.number} of arXiv 2403.11497: {table.title}.",
        rf"\begin{{tabular}}{{@{{}}{alignment}@{{}}}}",
        r"\toprule",
        *heads,
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    for note, letter in letters.items():
        lines += ["", rf"{{\footnotesize {letter} {latex(_without_number(note))}\par}}"]
    return "\n".join(lines) + "\n"


def _letters(notes: pl.Series) -> dict[str, str]:
    distinct = notes.drop_nulls().unique(maintain_order=True).to_list()
    return {note: rf"\textsuperscript{{{chr(ord('a') + place)}}}" for place, note in enumerate(distinct)}


def _without_number(note: str) -> str:
    return note.split("] ", 1)[-1] if note.startswith("[") else note


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "--"
    if isinstance(value, bool):
        return "*" if value else ""
    if isinstance(value, float):
        return f"{value:g}" if name in ("p_inv", "p_spu") else f"{value:.2f}".replace("-", "$-$")
    return latex(str(value))


def _classes() -> pl.DataFrame:
    kept = ("id", "object_label", "common_background", "counter_background", "note")
    return load_table("classes").select(kept)


def _clips(table: str, *extra: str) -> pl.DataFrame:
    columns = [*_MODEL[:2], *extra, *_MEASURES, "note"]
    return load_table("clip_results").filter(table=table).select(columns)


def _imagenet(table: str) -> pl.DataFrame:
    return load_table("imagenet_results").filter(table=table).select("backbone", *_MEASURES, "note")


def _generative() -> pl.DataFrame:
    clips = _clips("Table 5").with_columns(model=pl.format("CLIP-{}-{}", "pretrain_dataset", "backbone"))
    columns = ["model", *_MEASURES, "note"]
    return pl.concat([clips.select(columns), load_table("lvlm_results").select(columns)])


def _checkpoints() -> pl.DataFrame:
    kept = (
        "backbone",
        "pretrain_dataset",
        "checkpoint_printed",
        "open_clip_model_name",
        "open_clip_pretrained",
    )
    rows = load_table("checkpoints").filter(pl.col("checkpoint_printed").is_not_null(), table="Table 3")
    return rows.select(*kept, "certainty", "remark", "note")


def _classwise(table: str) -> pl.DataFrame:
    labels = load_table("classes").select(class_id="id", object_label="object_label")
    rows = load_table("classwise_results").filter(table=table)
    joined = rows.join(labels, on="class_id", maintain_order="left")
    return joined.select("class_id", "object_label", "model", *_MEASURES, "note")

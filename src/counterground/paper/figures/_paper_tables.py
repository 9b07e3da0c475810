"""Tables 1 to 16 of the paper as data: CSV and Parquet with notes, LaTeX in booktabs."""

from __future__ import annotations

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
    below = table.frame.select(name for name in _BELOW if name in table.frame.columns)
    frame = table.frame.drop(below.columns)
    distinct = pl.concat(below.get_columns()).drop_nulls().unique(maintain_order=True)
    letters = {note: rf"\textsuperscript{{{chr(ord('a') + place)}}}" for place, note in enumerate(distinct)}
    rows = []
    for cells, texts in zip(frame.to_dicts(), below.rows(), strict=True):
        first, *others = (_cell(name, value) for name, value in cells.items())
        rows.append([first + "".join(letters.get(text, "") for text in texts), *others])
    alignment = "".join("r" if kind.is_numeric() else "l" for kind in frame.dtypes)
    lines = [
        f"% Needs \\usepackage{{booktabs}}. Table {table.number} of arXiv 2403.11497: {table.title}.",
        rf"\begin{{tabular}}{{@{{}}{alignment}@{{}}}}",
        r"\toprule",
        " & ".join(latex(name.replace("_", " ")) for name in frame.columns) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    for note, letter in letters.items():
        lines += ["", rf"{{\footnotesize {letter} {latex(note)}\par}}"]
    return "\n".join(lines) + "\n"


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

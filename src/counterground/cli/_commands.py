"""``counterground evaluate``, ``discover``, ``swap`` and ``mitigate``: what runs models."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

import click

from counterground.cli.help import Command
from counterground.cli.options import format_option, model_option, out_option, settings_option
from counterground.settings import (
    CheckSettings,
    CompareSettings,
    DiscoverSettings,
    EvaluateSettings,
    MitigateSettings,
    PlanSettings,
    ReportSettings,
    SwapSettings,
)

_MODELS = "Model to evaluate; repeatable. 'NAME=MODEL' sets its name in tables and charts."


@click.command(
    cls=Command,
    examples="""
        counterground evaluate stamps -m efficientnet-lite0 -o runs/first
        counterground evaluate my-photos -m efficientnet-lite0 --limit 20 -o trial
        counterground evaluate my-photos -m open_clip:ViT-B-32/laion2b_s34b_b79k \\
          -m hf:google/siglip2-base-patch16-224 -o runs/both
        counterground evaluate my-photos -m hf:llava-hf/llava-1.5-7b-hf \\
          --label-space benchmark -X precision=bf16 -o runs/llava
        counterground evaluate my-photos -m 'efficientnet-lite0?head=prototypes' \\
          --label-space benchmark -o runs/fitted
        counterground evaluate labels.csv --predictions predictions.csv -o runs/given
    """,
)
@click.argument("data")
@model_option("models", _MODELS, multiple=True)
@out_option("Output folder for the run: run.json, predictions.parquet, scores.parquet, report.html.")
@settings_option(EvaluateSettings)
def evaluate(data: str, models: tuple[str, ...], out: Path, settings: EvaluateSettings) -> None:
    """Evaluate models, or predictions that exist, on DATA and write a run, with a report, into a folder.

    DATA is a built-in benchmark, a folder of photos, a pool, a table of paths or URLs
    ('photos.csv?image=url&label=kind'), COCO annotations, a data set ('hf:NAME?split=test') or tar files on
    the web ('https://HOST/{00..09}.tar'); `counterground models` lists models. The same command resumes a
    run that was stopped. To add a model to a finished run, evaluate it into another folder: scores, compare
    and report take several runs.

    --predictions reads what another program predicted, and needs no model library.
    """
    from counterground.api import evaluate as run_evaluation
    from counterground.cli.show import show_run

    show_run(run_evaluation(data, models, out=out, settings=settings))
    _say_report(out, written=settings.report)


def _say_report(out: Path, *, written: bool) -> None:
    if written:
        click.echo(f"Report: {out / 'report.html'}")


@click.command(
    cls=Command,
    examples="""
        counterground discover stamps --referee efficientnet-lite0 -o pairs
        counterground discover my-pool --referee efficientnet-lite0 --split cross \\
          -o pairs
        counterground discover my-photos --referee efficientnet-lite0 \\
          --find-backgrounds -o pairs
    """,
)
@click.argument("data")
@click.option(
    "--referee",
    "referees",
    required=True,
    multiple=True,
    metavar="MODEL",
    help="Model whose accuracy chooses the backgrounds; repeat to use the mean of several. 'NAME=MODEL' "
    "sets its name.",
)
@out_option("Output folder for the benchmark; photos are not copied.")
@settings_option(DiscoverSettings)
def discover(data: str, referees: tuple[str, ...], out: Path, settings: DiscoverSettings) -> None:
    """Find each class's best (common) and worst (counter) background for a referee model.

    Photos need backgrounds: folders <class>/<background>/, a column of the manifest, the labels of a pool, or
    --find-backgrounds, which finds groups of photos with like backgrounds and asks for their names.
    With --split half, pairs are chosen on one half of the photos and the benchmark holds the other half.
    If their drop is no larger than chance explains, one line says so and no benchmark is written.
    """
    from counterground.api import discover as run_discovery
    from counterground.cli.show import show_discovery

    discovery = run_discovery(data, referees, out=out, settings=settings)
    show_discovery(discovery)
    if settings.find_backgrounds:
        click.echo(f"Groups, to be named: {out / 'groups.html'}")
    if discovery.benchmark is not None:
        click.echo(f"Benchmark: {out}")


@click.command(
    cls=Command,
    examples="""
        counterground swap my-photos -m efficientnet-lite0 --masks my-masks \\
          -o runs/swap
        counterground swap my-photos -m efficientnet-lite0 --masks annotations.json \\
          --kinds original,same,other,grey -o runs/swap
    """,
)
@click.argument("data")
@model_option("models", _MODELS, required=True, multiple=True)
@out_option("Output folder for the run, as in evaluate.")
@settings_option(SwapSettings)
def swap(data: str, models: tuple[str, ...], out: Path, settings: SwapSettings) -> None:
    """Put the objects of DATA on other backgrounds and evaluate models on the composites.

    The same object on each background shows what the background causes. DATA needs masks of its objects
    and labels of its backgrounds; with groups (folders common-<background> and counter-<background>, or
    discover), the drop is decomposed. The run is like one of evaluate: scores, compare and report read it.
    """
    from counterground.api import swap as run_swap
    from counterground.cli.show import show_swap

    show_swap(run_swap(data, models, out=out, settings=settings))
    _say_report(out, written=settings.report)


def _list_methods(context: click.Context, _option: click.Parameter, given: bool) -> None:
    if given:
        from counterground.cli.show import show_methods

        show_methods()
        context.exit()


@click.command(
    cls=Command,
    examples="""
        counterground mitigate pairs -m counterground:stamps-biased \\
          --method text-projection --method roboshot -o runs/mitigated
        counterground mitigate pairs -m efficientnet-lite0 --method all \\
          --label-space benchmark -o runs/mitigated-lite
        counterground mitigate --list
    """,
)
@click.argument("data")
@model_option(
    "model",
    "Model to mitigate: a dual encoder (CLIP) or a classifier. 'NAME=MODEL' sets its name.",
    required=True,
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    required=True,
    metavar="METHOD",
    help="Method to try; repeatable. 'all': every method that this model and DATA allow.",
)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_methods,
    help="List the methods and what each needs, then exit.",
)
@out_option("Output folder for the run, mitigation.json, mitigation.csv and the mitigated heads.")
@settings_option(MitigateSettings)
@format_option(help_text="Output format; csv and json hold fractions.")
def mitigate(
    data: str,
    model: str,
    methods: tuple[str, ...],
    *,
    out: Path,
    style: str,
    settings: MitigateSettings,
) -> None:
    """Make a model rely less on the background, and measure what that costs.

    Works on stored features: no weight of the model is changed, only its head, or how features reach it. Each
    method is fitted on a third of the clusters (observers, background photographs), its setting is chosen on
    another third, and it is judged on the last. The thirds take turns, so every photo is judged once. The
    folder is a run like any other: scores, compare and report read it.
    """
    from counterground.api import mitigate as mitigate_model
    from counterground.cli.show import print_text, show_mitigated

    missing: list[str] = []
    mitigated = mitigate_model(data, model, methods, out=out, settings=settings, warn=missing.append)
    if style == "table":
        show_mitigated(mitigated, out)
    else:
        print_text(mitigated.record.write(style))
    for line in missing:
        click.echo(line, err=True)


Style = Literal["table", "csv", "json", "markdown", "latex"]


@click.command(
    cls=Command,
    examples="""
        counterground scores runs/first --by class
        counterground scores runs/a runs/b -m efficientnet-lite0 --format csv
        counterground scores runs/first --by background
        counterground scores runs/first --contrast drop
        counterground scores runs/first --format latex -o scores.tex
    """,
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--by", metavar="NAME", help="One row per class, cell, background, or value of another attribute."
)
@click.option(
    "--contrast",
    metavar="NAME|TEXT",
    help="Show one contrast: a name, or LEFT - RIGHT within COLUMN, such as "
    "'place=water - place=land within class_name'.",
)
@click.option(
    "--effects",
    is_flag=True,
    help="Show what backgrounds cause, from a run of `counterground swap`: the drop = background + size and "
    "position + rest, each background, BG-Gap, and the cost of editing. Also works with --by class.",
)
@model_option("models", "Show only this model; repeatable.", multiple=True)
@format_option(get_args(Style))
@out_option(
    "Write to a file instead of the screen.",
    file=True,
    required=False,
    type=click.Path(path_type=Path, dir_okay=False),
)
def scores(
    *,
    runs: tuple[Path, ...],
    by: str | None,
    contrast: str | None,
    effects: bool,
    models: tuple[str, ...],
    style: Style,
    out: Path | None,
) -> None:
    """Show the scores of one or more RUN folders: percent in tables, fractions in csv and json.

    With more than one RUN, a column names the run.
    """
    from counterground.cli.show import print_text
    from counterground.files import write_text
    from counterground.findings import judged_scores
    from counterground.results import open_runs, plain_text, refuse_run_file, select_models

    opened = open_runs(runs)
    if out is not None:
        refuse_run_file("--out", out)
    if models:
        opened = list(select_models({run.path: run for run in opened}, models).values())
    view = judged_scores(opened, by=by, contrast=contrast, effects=effects, named=len(runs) > 1)
    written = view if style == "table" else view.write(style)
    if out is None:
        print_text(written)
    else:
        write_text(out, plain_text(written, width=120) + "\n")
        click.echo(f"Scores: {out}")


@click.command(
    cls=Command,
    examples="""
        counterground compare runs/a runs/b
        counterground compare --published
        counterground compare runs/a runs/b --contrast drop
        counterground compare runs/a --published --against efficientnet-lite0
        counterground compare --setting openai-prompts
    """,
)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@settings_option(CompareSettings)
@format_option(
    help_text="Output format; csv has one row per model, in fractions, with warnings on stderr; json has "
    "everything."
)
def compare(runs: tuple[Path, ...], *, style: str, settings: CompareSettings) -> None:
    """Compare the models of RUN folders with each other and with the paper's.

    Differences are tested on the same photos only (paired, Holm-corrected); warnings name comparisons
    that are not fair. --published compares with the paper's 43 models, even without a RUN, and --setting
    chooses which of its tables they come from.
    """
    from counterground.api import compare as compare_runs
    from counterground.cli.show import print_view
    from counterground.errors import UsageError

    if not runs and not settings.published and settings.setting is None:
        raise UsageError(
            "There is nothing to compare: give RUN folders, or --published for the paper's models."
        )
    comparison = compare_runs(runs, settings=settings)
    print_view(comparison, style)


@click.command(
    cls=Command,
    examples="""
        counterground report runs/first -o report.html
        counterground report runs/a runs/b --benchmark my-photos -o report.html
        counterground report runs/pairs --discovery pairs -o report.html
        counterground report runs/first --contrast drop -o report.html
    """,
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@out_option("HTML file to write.", file=True)
@settings_option(ReportSettings)
def report(runs: tuple[Path, ...], out: Path, settings: ReportSettings) -> None:
    """Write one self-contained HTML file about one or more RUN folders.

    Together with runs of evaluate on the same photos, runs of swap and mitigate show how much of the drop is
    the background and what would make it smaller.
    """
    from counterground.api import report as write_report
    from counterground.cli.show import print_notes
    from counterground.errors import UsageError

    if settings.benchmarks and not settings.photos:
        raise UsageError("--benchmark says where photos are and --no-photos leaves them out: use only one.")
    absent: list[str] = []
    path = write_report(runs, out, settings=settings, warn=absent.append)
    print_notes(absent)
    click.echo(f"Report: {path}")


@click.command(
    cls=Command,
    examples="""
        counterground plan --drop 10% --classes 20 --photos 15
        counterground plan runs/first --drop 5% --power 90%
    """,
)
@click.argument("run", required=False, type=click.Path(path_type=Path))
@settings_option(PlanSettings)
@format_option(help_text="Output format; csv and json hold fractions.")
def plan(run: Path | None, *, style: str, settings: PlanSettings) -> None:
    """Say how many photos are needed to detect a drop, and what the photos at hand can detect.

    With RUN (a pilot on some photos), the variance of photos and clusters is estimated for each of its
    models; without RUN, it is assumed. A drop is detected if its 95 % interval lies above 0.
    For a run on composites (swap), the background effect takes the place of the drop.
    """
    from counterground.api import plan as make_plan
    from counterground.cli.show import print_view

    print_view(make_plan(run, settings=settings), style)


@click.command(
    cls=Command,
    examples="""
        counterground check runs/first --max-drop 10%
        counterground check runs/a --max-drop 10% --min-accuracy 80% --junit a.xml
        counterground check runs/a --baseline runs/b --margin 2%
    """,
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the verdicts as JUnit XML.",
)
@settings_option(CheckSettings)
@format_option(help_text="Output format; csv and json hold fractions.")
def check(run: Path, *, junit: Path | None, style: str, settings: CheckSettings) -> None:
    """Check the models of RUN against limits on drop and accuracy: pass, fail or undecided.

    A model passes if its whole 95 % interval is within the limit, fails if the whole interval is beyond it,
    and is undecided otherwise. With several models or limits, the intervals are corrected for their number. A
    model that chose the pairs on the same photos cannot fail by its drop, which selection inflates. For a run
    on composites (swap), the background effect takes the place of the drop.

    Exit status: 0 all pass, 3 some fail, 4 some are undecided and none fails, 1 the work failed, 2 wrong
    usage.
    """
    from counterground.api import check as check_models
    from counterground.cli.show import print_view
    from counterground.decision import STATUS
    from counterground.files import write_text
    from counterground.results import refuse_run_file

    if junit is not None:
        refuse_run_file("--junit", junit)
    found = check_models(run, settings=settings)
    if junit is not None:
        write_text(junit, found.junit())
    with suppress(BrokenPipeError):  # if the reader has gone (`| grep -q`), the verdict remains
        print_view(found, style)
    click.get_current_context().exit(STATUS[found.verdict])

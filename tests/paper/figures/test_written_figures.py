"""Files: formats, determinism, captions; the command and what it says where something is lacking."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.t2CharStringPen import T2CharStringPen
from made_runs import of_composites, write_run
from PIL import Image

import counterground as cg
from counterground.cli import main
from counterground.errors import CounterGroundError, UsageError
from counterground.metrics import Contrast, Design
from counterground.paper.figures import FIGURES, write_figures

# Which figures a choice means, without drawing them.
from counterground.paper.figures._catalogue import chosen_names
from counterground.results import without_mixtures

PROGRAM = (
    "import sys; from counterground.paper.figures import write_figures;"
    "write_figures(out=sys.argv[1], only=['2a', '5'], formats=['pdf', 'svg', 'png'])"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("figures")
    return write_figures(out=out, only=["2a", "5"], formats=["png", "svg", "pdf"])


def test_three_formats_at_the_size_of_print(written):
    names = {path.name for path in written.files}
    stems = ("figure-2a", "figure-5")
    assert names == {f"{s}.{kind}" for s in stems for kind in ("pdf", "svg", "png")} | {"captions.md"}
    with Image.open(written.folder / "figure-2a.png") as image:
        assert image.width == 990  # 3.3 inches, 300 an inch
    with Image.open(written.folder / "figure-5.png") as image:
        assert image.width == 2070
    assert re.search(rb"/MediaBox \[ ?0 0 237\.6 ", (written.folder / "figure-2a.pdf").read_bytes())


def test_text_stays_text(written):
    svg = (written.folder / "figure-2a.svg").read_text()
    assert "counter accuracy (%, probit scale)</text>" in svg
    pdf = (written.folder / "figure-2a.pdf").read_bytes()
    assert b"/Type0" in pdf
    assert b"/Type3" not in pdf


def test_the_same_numbers_give_the_same_bytes_in_another_process(written, tmp_path):
    install_font(tmp_path / "fonts", "Noto Sans", "企鹅")
    environment = os.environ | {
        "PYTHONHASHSEED": "7",
        "MPLCONFIGDIR": str(tmp_path / "mpl"),
        "XDG_DATA_HOME": str(tmp_path),
    }
    (tmp_path / "mpl").mkdir()
    (tmp_path / "mpl" / "matplotlibrc").write_text("font.size: 20\naxes.facecolor: red\n")
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "again")], env=environment, check=True, timeout=120
    )
    assert written.files
    for path in written.files:
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name
        assert not re.search(rb"CreationDate|ModDate|<dc:date>", path.read_bytes()), path.name


def test_captions_say_what_is_drawn_and_what_contradicts_it(tmp_path):
    out = write_figures(out=tmp_path, only=["3", "theory"], formats=["svg"])
    text = (tmp_path / "captions.md").read_text()
    assert "**figure-3**" in text
    assert "multiple of 259 photos" in text
    assert out.absent == ("Figure theory: add --study DIR of `counterground study theory --out DIR`.",)


def test_captions_repeat_what_a_run_says_of_itself(make_run, tmp_path):
    run = make_run({"efficientnet-lite0": (0.8, 0.5)}, notes=["Conditional on cut-outs."], warnings=["Ties!"])
    write_figures(run, out=tmp_path, only=["3"], formats=["svg"])
    text = (tmp_path / "captions.md").read_text()
    assert "Conditional on cut-outs." in text
    assert "Warning: Ties" in text


def test_captions_tell_runs_of_one_folder_name_apart(make_run, tmp_path):
    runs = [make_run({"efficientnet-lite0": (0.8, 0.5)}, path=f"{k}/run") for k in "12"]
    write_figures(runs, out=tmp_path, only=["3"], formats=["svg"])
    text = (tmp_path / "captions.md").read_text()
    assert "**1/run**: stamps" in text
    assert "**2/run**: stamps" in text


def test_models_loaded_as_published_say_so(make_run, draw):
    run = make_run({"efficientnet-lite0": (0.8, 0.5)}, as_published=True)
    drawings, _ = draw(["2a", "4", "5"], runs=[run])
    for stem in ("figure-2a-own", "figure-5-own", "figure-4-own"):
        axes = drawings[stem].figure.axes[0]
        texts = [text.get_text() for text in (*axes.texts, *axes.get_xticklabels(), axes._left_title)]
        assert any("as published" in text for text in texts), stem


def test_only_takes_numbers_in_any_dress():
    assert chosen_names(["2"]) == ["2a", "2b"]
    assert chosen_names(["figure-4", "2B"]) == ["2b", "4"]
    assert chosen_names(["1"]) == ["1"]
    assert chosen_names([]) == [*FIGURES, "tables"]


@pytest.mark.parametrize("name", ["2c", "16", "", "all"])
def test_unknown_figures_give_one_line(name, tmp_path, capsys):
    assert main(["figures", "--only", name, "--out", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert repr(name) in lines[0]
    assert "2a, 2b" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_and_tells_what_is_absent(tmp_path, capsys):
    assert main(["figures", "--only", "8", "--only", "1", "--format", "svg", "--out", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert (tmp_path / "figure-8.svg").is_file()
    assert (
        captured.err
        == "Figure 1: no photos at hand: name the benchmark that holds them with --benchmark BENCHMARK.\n"
    )
    assert captured.out == f"Figures: {tmp_path} (1 file; captions.md says what they show)\n"


def test_nothing_to_draw_is_a_failure_with_its_reason(tmp_path, capsys):
    assert main(["figures", "--only", "theory", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "add --study DIR" in said


def test_what_is_no_run_and_what_is_no_format(tmp_path):
    with pytest.raises(CounterGroundError, match="is not a run folder"):
        write_figures(tmp_path, out=tmp_path / "out")
    with pytest.raises(UsageError, match="'gif'"):
        write_figures(out=tmp_path, formats=["gif"])
    (tmp_path / "file").write_text("")
    with pytest.raises(CounterGroundError, match="Cannot write"):
        write_figures(out=tmp_path / "file", only=["8"])


def test_a_run_alone_is_drawn_without_the_paper(own_run, tmp_path):
    out = cg.write_figures(own_run, out=tmp_path, only=["3", "10", "tables"], formats=["svg"])
    assert {path.name for path in out.files} == {"figure-3-own.svg", "captions.md"}
    figure, tables = out.absent
    assert "--published" in figure
    assert tables.startswith("Tables: add --published for the paper's")


DRAW = (
    "import sys; from counterground.cli import main;"
    "sys.exit(main(['figures', sys.argv[1], '--only', '3', '--only', '4', '-o', sys.argv[2]]))"
)


def install_font(folder, family, text):
    """Write a font whose glyphs for a text are squares, with outlines as those of Noto Sans CJK (CFF)."""
    pen = T2CharStringPen(900, None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (800, 700), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.getCharString()
    glyphs = [".notdef", *(f"uni{ord(character):04X}" for character in text)]
    font = FontBuilder(1000, isTTF=False)
    font.setupGlyphOrder(glyphs)
    font.setupCharacterMap({ord(character): name for character, name in zip(text, glyphs[1:], strict=True)})
    font.setupCFF(family, {}, dict.fromkeys(glyphs, square), {})
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (900, 100)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    folder.mkdir()
    font.save(folder / "font.otf")


def test_names_that_dejavu_lacks_are_drawn_with_an_installed_font_or_noted_once(make_run, tmp_path):
    """Cuneiform, which no font of the list has, so that the test does not depend on those installed."""
    names = ["𒀀𒀁", "ice bear 𒀂", "𒀁", "flamingo"]
    folder = write_run(make_run({"efficientnet-lite0": (0.8, 0.5)}, classes=names), tmp_path / "run")
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path)}
    notes = []
    for round_ in ("without", "with"):
        command = [sys.executable, "-c", DRAW, str(folder), str(tmp_path / round_)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        assert "Glyph" not in done.stderr
        notes.append([line for line in done.stderr.splitlines() if "boxes" in line])
        if round_ == "without":
            install_font(tmp_path / "fonts", "Symbola", "𒀀𒀁")
    (first,), (then,) = notes
    assert first.startswith("Names have 3 characters that no available font has, drawn as boxes: 𒀀𒀁𒀂 ")
    assert "1 character that no available font has, drawn as boxes: 𒀂 " in then
    assert then in (tmp_path / "with" / "captions.md").read_text()
    boxes, squares = (tmp_path / round_ / "figure-4-own.png" for round_ in ("without", "with"))
    assert boxes.read_bytes() != squares.read_bytes()
    # A PDF may not hold such outlines as Type 42: not all programs show them.
    assert b"/FontFile2" not in (tmp_path / "with" / "figure-4-own.pdf").read_bytes()


def test_runs_are_opened_by_folder(own_run, tmp_path):
    folder = write_run(own_run, tmp_path / "run")
    assert main(["figures", str(folder), "--only", "5", "--format", "svg", "--out", str(tmp_path / "f")]) == 0
    assert (tmp_path / "f" / "figure-5-own.svg").is_file()


def test_figures_that_need_the_same_share_a_line(own_run, tmp_path):
    out = write_figures(own_run, out=tmp_path, only=["2b", "3", "14", "multicoloredmnist"], formats=["svg"])
    assert len(out.absent) == 2
    assert out.absent[0].startswith("Figures 2b, 14: the runs hold no model")
    assert out.absent[1].startswith("Figure multicoloredmnist: add --published, or --study DIR")


def test_example_images_of_the_paper_are_not_ours_to_draw(tmp_path):
    out = write_figures(out=tmp_path, only=["11", "12", "8"], formats=["svg"])
    (line,) = out.absent
    assert line.startswith("Figures 11, 12: example images of the paper")
    assert "--only multicoloredmnist" in line
    assert [path.name for path in out.files] == ["figure-8.svg", "captions.md"]


def test_figures_of_earlier_calls_in_the_folder_are_named(tmp_path):
    first = write_figures(out=tmp_path / "out", only=["3"], formats=["svg"])
    (tmp_path / "out" / "figure-of-mine.svg").touch()
    assert write_figures(out=tmp_path / "out", only=["3"], formats=["svg"]).notes == first.notes == ()
    note = "captions.md describes this call only; out also holds 1 figure of earlier calls (figure-3.svg)."
    assert write_figures(out=tmp_path / "out", only=["4"], formats=["svg"]).notes == (note,)
    assert note in (tmp_path / "out" / "captions.md").read_text("utf-8")


def test_runs_whose_models_are_left_out_are_named(make_run, tmp_path):
    runs = [
        make_run({"m": (0.8, 0.5)}, path="a"),
        make_run({"m": (0.8, 0.5)}, path="b", groups=False, version="cd34" * 16),
    ]
    note = "No drop can be computed from b, whose models are left out."
    assert note in write_figures(runs, out=tmp_path, only=["5"], formats=["svg"]).notes
    assert write_figures(runs[:1], out=tmp_path, only=["5"], formats=["svg"]).notes == ()


def test_composites_beside_photos_have_no_groups(make_run, tmp_path):
    plain, swapped = (make_run({"m": (0.8, 0.5)}, path=path, version=2 * path * 32) for path in "ab")
    design = Design(contrasts=(Contrast("sky", "background=sky", "all"),))
    benchmark = swapped.info.benchmark.model_copy(update={"design": design.to_json()})
    swapped = replace(swapped, info=swapped.info.model_copy(update={"benchmark": benchmark}))
    swapped = of_composites(swapped, plain)
    swapped = replace(swapped, scores=without_mixtures(swapped.scores, swapped.info))
    written = write_figures([plain, swapped], out=tmp_path, only=["3"], formats=["svg"])
    assert [path.name for path in written.files] == ["figure-3-own.svg", "captions.md"]
    assert "composites of several kinds: name its run alone" in written.absent[0]

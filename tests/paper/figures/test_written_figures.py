"""Files: formats, determinism, captions; the command and what it says where something is lacking."""

import os
import re
import subprocess
import sys

import pytest
from PIL import Image

from counterground.cli import main
from counterground.errors import UsageError
from counterground.paper.figures import FIGURES, chosen_names, write_figures

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


def test_the_same_numbers_give_the_same_bytes_in_another_process(written, tmp_path):
    environment = os.environ | {
        "PYTHONHASHSEED": "7",
        "MPLCONFIGDIR": str(tmp_path / "mpl"),
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


def test_only_takes_numbers_in_any_dress():
    assert chosen_names(["2"]) == ["2a", "2b"]
    assert chosen_names(["figure-4", "2B"]) == ["2b", "4"]
    assert chosen_names(["1"]) == ["1"]
    assert chosen_names([]) == [*FIGURES, "tables"]


@pytest.mark.parametrize("name", ["2c", "16", "", "all"])
def test_unknown_figures_give_one_line(name, tmp_path, capsys):
    assert main(["paper", "figures", "--only", name, "--out", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert repr(name) in lines[0]
    assert "2a, 2b" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_and_tells_what_is_absent(tmp_path, capsys):
    assert (
        main(["paper", "figures", "--only", "8", "--only", "1", "--format", "svg", "--out", str(tmp_path)])
        == 0
    )
    captured = capsys.readouterr()
    assert (tmp_path / "figure-8.svg").is_file()
    assert captured.err.startswith("Figure 1: ")
    assert captured.err.count("\n") == 1
    assert str(tmp_path) in captured.out


def test_nothing_to_draw_is_a_failure_with_its_reason(tmp_path, capsys):
    assert main(["paper", "figures", "--only", "theory", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "add --study DIR" in said


def test_what_is_no_format_is_refused(tmp_path):
    with pytest.raises(UsageError, match="'gif'"):
        write_figures(out=tmp_path, formats=["gif"])

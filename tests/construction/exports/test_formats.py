"""An export format that another package adds, used through the command."""

import sys

from other_package import install

from counterground.cli import main
from counterground.photos import write_benchmark

CODE = """
from counterground.construction.exports import ExportFormat, copy_photos

def write(contents, folder, tick):
    copy_photos(contents, folder, tick)
    lines = contents.benchmark.photos.select("path", "class_name").iter_rows()
    (folder / "list.txt").write_text("".join(f"{path} {name}\\n" for path, name in lines))

PLAIN = ExportFormat("plain", "Photos, and a list of their classes.", "open('list.txt')", write)
"""


def test_a_format_of_another_package_gets_card_and_credits_as_ours(grouped, tmp_path, monkeypatch, capsys):
    install(tmp_path / "site", "mine", CODE, {"counterground.exports": {"plain": "mine:PLAIN"}})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    write_benchmark(grouped, tmp_path / "benchmark")
    command = [
        "data",
        "export",
        str(tmp_path / "benchmark"),
        "--private",
        "--out",
        str(tmp_path / "out"),
        "--format",
    ]
    assert main([*command, "plain"]) == 0
    assert len((tmp_path / "out" / "list.txt").read_text().splitlines()) == len(grouped)
    assert "a list of their classes" in (tmp_path / "out" / "README.md").read_text()
    assert (tmp_path / "out" / "ATTRIBUTION.csv").is_file()
    assert main([*command, "plane"]) == 2
    assert "Did you mean 'plain'?" in capsys.readouterr().err
    sys.modules.pop("mine", None)

"""Write the pages of the documentation site into a folder, for ``make docs``.

The site has the pages of ``docs/``, the README as its front page, the tutorial, every file of the
repository that a page links to, and a generated reference: for the commands from their options, for
the Python interface from its docstrings. Formulae become MathML, which browsers draw themselves, so pages
load nothing from elsewhere.

    python scripts/make_site.py FOLDER

"""

from __future__ import annotations

import html
import posixpath
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import click
import nbformat
from latex2mathml.converter import convert

import counterground as package
from counterground.cli import counterground
from counterground.settings import settings_of

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Files beside ``docs/`` that are pages, and where the site puts them."""
ROOMS = ("metrics", "models", "photos", "published", "results")
"""Rooms whose public names packages and notebooks use, besides those of ``counterground`` itself."""
LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".toml": "toml", ".csv": "text"}
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))|(?<=<img src=\")([^\"]+)(?=\")")
_CODE = re.compile(r"(^( *)```.*?^\2```|``.+?``|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\w$\\])\$([^\s$](?:[^$\n]*[^\s$])?)\$(?![\w$])", re.DOTALL)


class Site:
    """The pages written so far, and the files that they link to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._done = folder, set[str]()
        self._waiting = [
            *PAGES,
            *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
        ]

    def write(self) -> None:
        """Write every page and what it links to, until nothing new is linked to."""
        while self._waiting:
            source = self._waiting.pop()
            if source not in self._done:
                self._done.add(source)
                self._copy(source)

    def put(self, page: str, text: str) -> None:
        """Write one page of the site."""
        path = self.folder / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _copy(self, source: str) -> None:
        path, page = ROOT / source, place(source)
        if path.is_dir():
            files = [
                each
                for each in sorted(path.rglob("*"))
                if each.suffix in LANGUAGES or each.name == "README.md"
            ]
            self.put(page, f"# {source}\n\n" + "\n\n".join(map(shown, files)) + "\n")
        elif path.suffix == ".md":
            self.put(page, self._page(source, path.read_text(encoding="utf-8")))
        elif path.suffix == ".ipynb":
            self.put(page, self._page(source, notebook(path)))
        elif path.suffix in LANGUAGES:
            self.put(page, f"# {source}\n\n{shown(path)}\n")
        else:
            (self.folder / page).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, self.folder / page)

    def _page(self, source: str, text: str) -> str:
        parts = _CODE.split(text)  # text, code, indent of the code, text, ...
        text = "".join(
            part if number % 3 else _MATH.sub(formula, part)
            for number, part in enumerate(parts)
            if number % 3 < 2
        )

        def moved(link: re.Match[str]) -> str:
            target, anchor = link[1] or link[3], link[2] or ""
            if "://" in target or target.startswith(("mailto:", "data:")):
                return target + anchor
            found = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
            if not (ROOT / found).exists():
                raise SystemExit(f"{source} links to {target}, which does not exist.")
            self._waiting.append(found)
            return posixpath.relpath(place(found), posixpath.dirname(place(source)) or ".") + anchor

        return "".join(part if code else _LINK.sub(moved, part) for code, part in outside_fences(text))


def place(source: str) -> str:
    """Return where the site puts a file of the repository."""
    if source in PAGES:
        return PAGES[source]
    if source.startswith("docs/"):
        return source.removeprefix("docs/").replace(".ipynb", ".md")
    path = ROOT / source
    if path.is_dir() or path.suffix in LANGUAGES:
        return f"repository/{source.rstrip('/')}.md"
    return f"repository/{source.removeprefix('src/counterground/').replace('README.md', 'index.md')}"


def outside_fences(text: str) -> list[tuple[bool, str]]:
    """Split a page into what is a block of code and what is not."""
    parts = re.split(r"(^( *)```.*?^\2```)", text, flags=re.DOTALL | re.MULTILINE)
    return [(bool(number % 3), part) for number, part in enumerate(parts) if number % 3 < 2]


def formula(found: re.Match[str]) -> str:
    """Turn LaTeX into MathML: ``$$...$$`` on its own line, ``$...$`` within one."""
    display = "block" if found[1] else "inline"
    said = convert((found[1] or found[2]).strip(), display=display).replace("\n", "").replace("|", "&#124;")
    return f'<div class="formula">{said}</div>' if found[1] else f"<span>{said}</span>"


def shown(path: Path) -> str:
    """Return a file as a block of code under its name."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8").replace("\n#", "\n##").replace("# ", "## ", 1)
    code = path.read_text(encoding="utf-8").rstrip()
    return f"`{path.relative_to(ROOT)}`\n\n```{LANGUAGES[path.suffix]}\n{code}\n```"


def notebook(path: Path) -> str:
    """Return the cells of a notebook as a page."""
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(
        cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```" for cell in cells
    )


def command_page(name: str, command: click.Command, parent: click.Context) -> str:
    """Return the page of a command: what it does, its usage, its options, examples."""
    return f"# {name}\n\n" + "\n".join(_described(command, click.Context(command, parent, f"{name}"), 2))


def _described(command: click.Command, context: click.Context, level: int) -> list[str]:
    lines = [_escaped(" ".join(part.split())) + "\n" for part in _paragraphs(command.help or "")]
    lines += ["```text", " ".join([context.command_path, *command.collect_usage_pieces(context)]), "```\n"]
    records = [
        record
        for each in command.get_params(context)
        if (record := each.get_help_record(context)) and record[1]
    ]
    if records:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [
            f"| {_code(option)} | {_escaped(' '.join(meaning.split()))} |" for option, meaning in records
        ]
        lines.append("")
    if further := getattr(command.callback, "settings", None):
        lines += ["| `-X` | meaning |", "|---|---|"]
        lines += [
            f"| {_code(f'{each.option[2:]}={each.placeholder}')} | {_escaped(each.described)} |"
            for each in settings_of(further)
            if each.settable and each.name not in further.usual
        ]
        lines.append("")
    if examples := getattr(command, "examples", ""):
        lines += ["```console", examples, "```\n"]
    for name, under in getattr(command, "commands", {}).items():
        lines += [f"{'#' * level} {context.info_name} {name}\n"]
        lines += _described(under, click.Context(under, context, name), level + 1)
    return lines


def _paragraphs(text: str) -> list[str]:
    return [part.replace("\b", "") for part in re.split(r"\n\s*\n", text.strip())]


def _code(text: str) -> str:
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def _escaped(text: str) -> str:
    """Keep text between backticks as code, and show every other character literally."""
    parts = text.split("`")
    shown_parts = [
        _code(part)
        if at % 2
        else re.sub(r"([*_\[\]{}])", r"\\\1", html.escape(part, quote=False)).replace("|", "&#124;")
        for at, part in enumerate(parts)
    ]
    return "".join(shown_parts)


def reference(site: Site) -> None:
    """Write the pages of all commands, and of the public names of the package and some of its rooms."""
    top = click.Context(counterground, info_name="counterground")
    lines = [
        "# Commands\n",
        "Generated from the commands themselves; `counterground COMMAND --help` prints the same.\n",
    ]
    known = [name for names in counterground.headings.values() for name in names]
    groups = [name for name in counterground.list_commands(top) if name not in known]
    for heading, names in [*counterground.headings.items(), ("Groups of commands", groups)]:
        lines += [f"## {heading}\n"]
        for name in names:
            command = counterground.find(name)
            assert command is not None
            first = " ".join(_paragraphs(command.help or "")[0].split())
            lines.append(f"- [`{name}`]({name}.md): {_escaped(first)}")
            site.put(f"reference/commands/{name}.md", command_page(name, command, top))
        lines.append("")
    site.put("reference/commands/index.md", "\n".join(lines))
    site.put(
        "reference/python/index.md",
        _names("counterground", package.__all__, "What `import counterground as cg` offers."),
    )
    for room in ROOMS:
        module: Any = __import__(f"counterground.{room}", fromlist=["__all__"])
        about = f"The public names of `counterground.{room}`."
        site.put(f"reference/python/{room}.md", _names(f"counterground.{room}", module.__all__, about))


def _names(module: str, names: list[str], about: str) -> str:
    """Return a page of docstrings, in alphabetical order, functions before classes; no constants."""

    def kind(name: str) -> int:
        return int(name[0].isupper())

    public = sorted(
        (name for name in names if not name.startswith("_") and not name.isupper()),
        key=lambda name: (kind(name), name.lower()),
    )
    return "\n".join([f"# {module}\n", f"{about}\n", *(f"::: {module}.{name}\n" for name in public)])


def main() -> None:
    """Write the site into the folder named on the command line."""
    (name,) = sys.argv[1:]
    folder = Path(name)
    shutil.rmtree(folder, ignore_errors=True)
    site = Site(folder)
    site.write()
    reference(site)


if __name__ == "__main__":
    main()

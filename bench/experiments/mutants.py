"""Do tests notice a mistake in the code that they cover? The table of docs/reliability.md.

    python bench/experiments/mutants.py [--sample 420] [--seed 0] [--out mutants.jsonl] [--rooms ROOM ...]
        [--longest SECONDS] [--survivors [FOLDER ...] | --again MUTANT ...]

A mutant is the package with one mistake in a copy of its source: another comparison, operator, number,
truth value or slice; a negated condition; an argument, statement or returned value left out. Texts,
annotations, decorators, imports and ``strict=True`` stay. The sample is uniform, and each room's share is
proportional to its lines. Of the tests in the room's own folder, those that run the changed line are run
until one fails. All are run if none is known to run it, and with ``--again``. ``--longest`` leaves out tests
that take longer. ``--survivors`` tries surviving mutants again, with tests that are new or were left out, and
with those of the named folders, whose commands use the room. A test fails if it twice takes ten times as long
as without a mistake, plus half a minute. For a cached function only the first test that runs it is known:
``--again`` tries all. Measurements are kept beside ``--out``: a second start resumes, and two starts may try
two rooms in parallel.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
ROOMS = ("metrics", "comparison", "published", "photos")
# Simulation and damage tests that take minutes are left out; mutants that only they would notice survive.
MINUTES = "not (test_coverage or hold_the_truth or hold_the_true_distance or damage_anywhere)"
OTHERS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub,
    ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


class Mutant(NamedTuple):
    """One mistake: where it is, and the whole text of the file that contains it."""

    file: str
    line: int
    name: str
    text: str


def mistakes(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Each mistake: the node that is replaced, and its replacement."""
    match node:
        case ast.Compare(left, [kind, *more], comparators) if type(kind) in OTHERS:
            yield node, ast.Compare(left, [OTHERS[type(kind)](), *more], comparators)
        case ast.BinOp(left, kind, right) if type(kind) in OTHERS:
            yield node, ast.BinOp(left, OTHERS[type(kind)](), right)
        case ast.AugAssign(target, kind, value) if type(kind) in OTHERS:
            yield node, ast.AugAssign(target, OTHERS[type(kind)](), value)
        case ast.BoolOp(kind, values):
            yield node, ast.BoolOp(OTHERS[type(kind)](), values)
        case ast.UnaryOp(ast.Not() | ast.USub() | ast.Invert(), operand):
            yield node, operand
        case ast.If(test) | ast.IfExp(test) | ast.While(test) | ast.comprehension(ifs=[test, *_]):
            yield test, ast.UnaryOp(ast.Not(), test)
        case ast.Constant(bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield node, ast.Constant(value + 1)
            yield node, ast.Constant(value - 1)
        case ast.Return(ast.expr()):
            yield node, ast.Return()
        case ast.Call(function, arguments, keywords):
            for left_out in (each for each in keywords if each.arg != "strict"):
                yield node, ast.Call(function, arguments, [each for each in keywords if each is not left_out])
        case ast.Slice(lower, upper, step):
            if lower:
                yield node, ast.Slice(None, upper, step)
            if upper:
                yield node, ast.Slice(lower, None, step)
    match node:
        case ast.Expr(ast.Call() | ast.Yield() | ast.YieldFrom()):
            yield node, ast.Pass()
        case ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            yield node, ast.Pass()


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run, except texts and decorators."""
    if isinstance(tree, (ast.JoinedStr, ast.Import, ast.ImportFrom)) or getattr(tree, "arg", "") == "strict":
        return
    yield tree
    for field, value in ast.iter_fields(tree):
        if field not in ("annotation", "returns", "decorator_list"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from nodes(child)


def mutants(room: Path) -> Iterator[Mutant]:
    """Every mutant of a room."""
    for file in sorted(room.rglob("*.py")):
        source = file.read_bytes()
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        seen: Counter[str] = Counter()
        for node in nodes(ast.parse(source)):
            for wrong, new in mistakes(node):
                written = ast.unparse(new)
                if isinstance(wrong, ast.expr) and not isinstance(wrong, ast.Slice):
                    written = f"({written})"
                start = starts[wrong.lineno - 1] + wrong.col_offset
                end = starts[wrong.end_lineno - 1] + wrong.end_col_offset
                where = f"{file.relative_to(room.parent)}:{wrong.lineno}"
                name = f"{where} {' '.join(source[start:end].decode().split())} -> {written}"
                seen[name] += 1
                name += f" ({seen[name]})" if seen[name] > 1 else ""
                text = source[:start].decode() + written + source[end:].decode()
                yield Mutant(str(file.relative_to(room.parent)), wrong.lineno, name, text)


class Watch:
    """Orders tests, ends those that hang, and notes how long each took and which failed."""

    def __init__(self, said: Path, seconds: Mapping[str, float], first: Set[str], known: Set[str]) -> None:
        self.said, self.seconds, self.first, self.known = said, seconds, first, known
        self.found: dict[str, object] = {"seconds": {}, "failed": None}

    def pytest_sessionstart(self) -> None:
        """Do not shrink failing examples: nobody reads them."""
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        own = settings.get_profile("counterground")
        settings.register_profile("mutants", own, phases=phases, database=None, derandomize=True)
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items) -> None:
        """Begin with tests that run the changed line, the shortest first; leave out those known to pass."""
        items[:] = [item for item in items if item.nodeid not in self.known]
        items.sort(key=lambda item: (item.nodeid not in self.first, self.seconds.get(item.nodeid, 0)))

    def pytest_collectreport(self, report) -> None:
        """A file that cannot be imported counts as failed."""
        if report.failed:
            self.found["failed"] = report.nodeid

    def pytest_runtest_logstart(self, nodeid) -> None:
        """Kill this process if a test hangs."""
        if nodeid in self.seconds:
            signal.alarm(int(30 + 10 * self.seconds[nodeid]))

    def pytest_runtest_logreport(self, report) -> None:
        """Add up the times of a test and of its fixtures."""
        taken = self.found["seconds"]
        taken[report.nodeid] = taken.get(report.nodeid, 0) + report.duration
        if report.failed and not self.found["failed"]:
            self.found["failed"] = report.nodeid

    def pytest_sessionfinish(self) -> None:
        """Tell the parent."""
        self.said.write_text(json.dumps(self.found))


def run_tests(
    copy: Path, *tests: str, seconds: Mapping[str, float], first: Set[str], known: Set[str] = frozenset()
) -> dict[str, Any]:
    """Run tests, except those ``known`` to pass, in a process forked from this one; return what they find."""
    said = copy / "said.json"
    said.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        os.setsid()
        output = os.open(copy / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        import pytest

        always = ("-x", "-k", MINUTES, "-p", "no:cacheprovider", f"--basetemp={copy / 'temporary'}")
        os._exit(pytest.main([*always, *tests], plugins=[Watch(said, seconds, first, known)]))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what a test has left running
    found = json.loads(said.read_text()) if said.exists() else {}
    return {**found, "status": status}


def without_mistake(copy: Path, room: str, kept: Path) -> tuple[dict[str, float], dict[str, list[str]]]:
    """The seconds of each test, and by ``FILE:LINE`` the tests and fixtures that run it; measured once."""
    from coverage import CoverageData

    if not kept.exists():
        os.environ["COVERAGE_FILE"] = str(copy / ".coverage")
        measure = (f"--cov=counterground.{room}", "--cov-context=test", "--cov-report=")
        _keep_compiled(True)
        found = run_tests(copy, f"tests/{room}", *measure, seconds={}, first=frozenset())
        if found["status"]:
            sys.exit(f"{room}: the tests fail without a mistake\n{(copy / 'output').read_text()[-3000:]}")
        data = CoverageData(str(copy / ".coverage"))
        data.read()
        lines = {
            f"{Path(file).relative_to(copy / 'src' / 'counterground')}:{line}": list(filter(None, names))
            for file in data.measured_files()
            for line, names in data.contexts_by_lineno(file).items()
        }
        kept.write_text(json.dumps((found["seconds"], lines)))
    _keep_compiled(False)
    seconds, lines = json.loads(kept.read_text())
    return seconds, lines


def that_run(lines: Mapping[str, list[str]], mutant: Mutant) -> set[str]:
    """The tests that run a line; the whole file if a fixture runs it, which is noted for one test only."""
    # Coverage does not note every line of a statement on several lines.
    places = (f"{mutant.file}:{line}" for line in range(mutant.line, mutant.line - 9, -1))
    names = next((lines[place] for place in places if place in lines), ())
    files = {name.partition("::")[0] for name in names if name.endswith("|setup")}
    return files | {
        test for test in (name.rpartition("|")[0] for name in names) if test.partition("::")[0] not in files
    }


def main() -> None:
    """Try each mutant of the sample; print a row for each room, and the mutants that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=420)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument(
        "--again", nargs="*", default=[], metavar="MUTANT", help="their beginnings: try these instead"
    )
    parser.add_argument("--rooms", nargs="*", default=ROOMS, choices=ROOMS, help="try those of these only")
    parser.add_argument("--longest", type=float, default=float("inf"), help="seconds of a test")
    parser.add_argument("--survivors", nargs="*", metavar="FOLDER", help="try them again")
    options = parser.parse_args()
    out = options.out.absolute()
    os.chdir(ROOT)
    size = {room: sum(len(file.read_bytes().splitlines()) for file in _files(room)) for room in ROOMS}
    chosen = {}
    for room in ROOMS:
        every = list(mutants(ROOT / "src" / "counterground" / room))
        count = round(options.sample * size[room] / sum(size.values()))
        chosen[room] = random.Random(options.seed).sample(every, count)
        if options.again:
            chosen[room] = [each for each in every if each.name.startswith(tuple(options.again))]
        print(f"{room}: {len(every)} mutants, {len(chosen[room])} of them to try", flush=True)
    results = {}
    if out.exists():
        results = {row["name"]: row for row in map(json.loads, out.read_text().splitlines())}
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(copy / "src", quiet=2)
        os.environ["PYTHONPATH"] = str(copy / "src")
        sys.path.insert(0, str(copy / "src"))
        _prepare()
        for room in options.rooms:
            left = [each for each in chosen[room] if options.again or each.name not in results]
            if options.survivors is not None:
                left = [each for each in chosen[room] if results.get(each.name, {}).get("status") == 0]
            if left:
                _try(copy, room, left, results, out, options)
    _print(chosen, results)


def _files(room: str) -> list[Path]:
    return list((ROOT / "src" / "counterground" / room).rglob("*.py"))


def _prepare() -> None:
    """Import what the package imports, but not the package: children import a mutant of it."""
    import open_clip  # noqa: F401
    import pytest  # noqa: F401

    import counterground.api
    import counterground.cli  # noqa: F401

    for name in [name for name in sys.modules if name.partition(".")[0] == "counterground"]:
        del sys.modules[name]
    gc.freeze()


def _keep_compiled(keep: bool) -> None:
    """Write compiled files only before a mistake: one written in the same second would be used instead."""
    sys.dont_write_bytecode = not keep
    os.environ["PYTHONDONTWRITEBYTECODE"] = "" if keep else "1"


def _try(copy: Path, room: str, left: list[Mutant], results: dict, out: Path, options: Any) -> None:
    kept = out.with_suffix(f".{room}.json")
    seconds, lines = without_mistake(copy, room, kept)
    measured = kept.stat().st_mtime
    print(f"{room}: {len(seconds)} tests, {sum(seconds.values()):.0f} s", flush=True)
    for number, mutant in enumerate(left, start=1):
        file = copy / "src" / "counterground" / mutant.file
        source = file.read_text()
        file.write_text(mutant.text)
        start = time.monotonic()
        first, known = that_run(lines, mutant), set()
        tests = [f"tests/{room}"]
        if options.survivors is not None:
            tests += [f"tests/{folder}" for folder in options.survivors]
            # Of the room's tests in unchanged files, those that ran, and those that do not run the line.
            known = {test for test in seconds if test not in first or seconds[test] <= options.longest}
            known = {test for test in known if Path(test.partition("::")[0]).stat().st_mtime < measured}
        elif first and not options.again:
            # By file, since tests may have been renamed; new tests run too.
            tests = sorted({test.partition("::")[0] for test in first})
            known = {test for test in seconds if not first & {test, test.partition("::")[0]}}
            known |= {test for test in seconds if seconds[test] > options.longest}
        found = run_tests(copy, *tests, seconds=seconds, first=first, known=known)
        if found["status"] == -signal.SIGALRM:  # perhaps the machine was busy
            found = run_tests(copy, *tests, seconds=seconds, first=first, known=known)
        # No test was left to run.
        status = 0 if found["status"] == 5 else found["status"]
        file.write_text(source)
        row = {"name": mutant.name, "room": room, "status": status, "by": found.get("failed")}
        results[mutant.name] = row
        with out.open("a") as rows:
            rows.write(json.dumps(row) + "\n")
        said = "killed" if status else "survived"
        print(number, f"{time.monotonic() - start:.0f} s", said, mutant.name, flush=True)


def _print(chosen: dict[str, list[Mutant]], results: dict) -> None:
    from statsmodels.stats.proportion import proportion_confint

    tried = {
        room: [results[each.name] for each in some if each.name in results] for room, some in chosen.items()
    }
    tried["all"] = [row for rows in tried.values() for row in rows]
    print("| room | mutants tried | killed | of them by time | survived |\n|---|---:|---:|---:|---:|")
    for room, rows in tried.items():
        states = [row["status"] for row in rows]
        counts = (len(states), sum(map(bool, states)), states.count(-signal.SIGALRM), states.count(0))
        print("|", " | ".join([room, *map(str, counts)]), "|")
    killed = sum(bool(row["status"]) for row in tried["all"])
    low, high = proportion_confint(killed, len(tried["all"]), method="wilson")
    print(f"killed: {killed / len(tried['all']):.1%} [{low:.1%}, {high:.1%}]")
    print(*(f"survived: {row['name']}" for row in tried["all"] if row["status"] == 0), sep="\n")


if __name__ == "__main__":
    main()

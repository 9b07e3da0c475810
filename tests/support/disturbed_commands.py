"""The commands that write, on small inputs: what each reads, what it leaves, and whether that is the same."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import re
import shutil
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from faulty_disk import FAILURES, KILLS, PATIENCE, Fault, FaultyDisk, Ran, Running
from inaturalist_server import INaturalistServer
from made_pools import fill_pool
from noise_photos import save_animals
from photo_server import photo_bytes
from safetensors.numpy import load_file

# What differs between two runs that are left alone: times, what is computed from them, a commit meanwhile.
_VOLATILE = {"created", "seconds", "at", "added_at", "sealed", "digest", "git", "cpu_seconds"}
_PASSING = re.compile(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?|[\d.,]+ (s|seconds?)\b|\b[0-9a-f]{40}(-dirty)?\b"
)
_DRAWN = re.compile(r"(?<=\.)[\w-]{8}(?=\.(tmp|draft)\b)")
_LONGEST_LINE = 600

_End = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Results that changed, files that are left, and how the command failed, where it was run again."""


@dataclass
class Command:
    """A command on a small input.

    Attributes:
        name: of it.
        words: its arguments.
        prepare: makes what it reads, in ``home``.
        first: a module that its process imports first.
        needs: modules that it imports and that take long.
        only: part of the paths of the calls that are disturbed.
    """

    name: str
    words: str
    prepare: Callable[[Path], None]
    first: str = ""
    needs: tuple[str, ...] = ()
    only: str = ""

    def begin(self, disk: FaultyDisk) -> None:
        """Make everything as it is before the command."""
        inputs = disk.root.parent / f"inputs-{self.name}"
        if not inputs.exists():
            inputs.mkdir()
            self.prepare(inputs)
        disk.clear()
        shutil.copytree(inputs, disk.root / "home", dirs_exist_ok=True)

    def start(self, disk: FaultyDisk, fault: Fault | None = None, **more: Any) -> Running:
        """Start it; see ``FaultyDisk.start``."""
        return disk.start(self.words, fault, first=self.first, needs=self.needs, **more)

    def run(self, disk: FaultyDisk, fault: Fault | None = None, **more: Any) -> Ran:
        """Run it to its end."""
        return self.start(disk, fault, **more).wait()

    def lost(self, _disk: FaultyDisk) -> list[str]:
        """Return what was promised to whoever used it, and is not there."""
        return []


class Label(Command):
    """``counterground label``, and an annotator who sends what was not answered again, as the page does."""

    def begin(self, disk: FaultyDisk) -> None:
        super().begin(disk)
        self.answered: set[str] = set()

    def run(self, disk: FaultyDisk, fault: Fault | None = None, **more: Any) -> Ran:
        process = self.start(disk, fault, **more)
        end = time.monotonic() + PATIENCE
        while not (link := re.search(r"http://127.0.0.1:(\d+)(/enter\S+)", process.out())):
            if process.ended() or time.monotonic() > end:
                return process.wait()
            time.sleep(0.005)
        with suppress(OSError, http.client.HTTPException):  # it was killed
            self._annotate(int(link[1]), link[2])
        process.send(signal.SIGINT)
        return process.wait()

    def _annotate(self, port: int, enter: str) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            connection.request("GET", enter)
            answer = connection.getresponse()
            answer.read()
            cookie = (answer.getheader("Set-Cookie") or "").split(";")[0]
            origin = f"http://127.0.0.1:{port}"
            headers = {"Content-Type": "application/json", "Origin": origin, "Cookie": cookie}

            def post(path: str, body: dict[str, Any]) -> tuple[int, Any]:
                sent = json.dumps({"annotator": "ann"} | body)
                connection.request("POST", path, sent, headers)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())

            post("/api/next", {"task": "background", "leased": [], "count": 3})
            for event in _EVENTS:
                for _ in range(2):
                    status, said = post("/api/events", {"events": [event]})
                    if status == 200:
                        assert said["results"][0]["ok"], said
                        self.answered.add(event["token"])
                        break
                    assert status == 503, (status, said)
                    assert len(said["error"]) < _LONGEST_LINE
                else:  # what comes later waits, as on the page
                    return

    def lost(self, disk: FaultyDisk) -> list[str]:
        with _copy_of(disk.root / "home" / "out" / "decisions.sqlite") as database:
            there = {token for (token,) in database.execute("SELECT token FROM decision")}
        return sorted(self.answered - there)


def _decision(number: int, label: str) -> dict[str, Any]:
    path, token = f"files/flamingo/{number:03d}.png", str(uuid.UUID(int=number + 1))
    return {
        "kind": "decide",
        "token": token,
        "task": "background",
        "path": path,
        "labels": [label],
        "seconds": 1.0,
    }


_EVENTS = [
    _decision(0, "water"),
    _decision(1, "grass"),
    {"kind": "undo", "token": str(uuid.UUID(int=99)), "task": "background", "of": str(uuid.UUID(int=2))},
    _decision(2, "sand"),
]


@dataclass(frozen=True)
class Finding:
    """What one disturbed run and its repetition left that an undisturbed run does not.

    ``lost``: promises; ``changed``: results; ``left``: files; ``said``: ends without one clear line.
    """

    command: str
    fault: Fault
    call: str
    lost: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether there is nothing."""
        return not (self.lost or self.changed or self.left or self.said)


class Undisturbed:
    """A command left alone: its calls, what it leaves, and the comparison of others with that."""

    def __init__(self, command: Command, disk: FaultyDisk) -> None:
        self.command, self.disk = command, disk
        command.begin(disk)
        self._ended: dict[str, _End] = {_state_of(disk.root): ((), (), ())}
        ran = command.run(disk)
        assert ran.status == 0, f"{command.name}: {ran.status} {ran.err[-3000:]}"
        self.calls = [call.split(" ", 2)[1:] for call in ran.calls]
        self.contents = contents_of(disk.root / "home")
        self.files = _files(disk.root)

    def faults(self) -> Iterator[Fault]:
        """Yield every kind of fault at every call."""
        for at, (call, path) in enumerate(self.calls, start=1):
            if self.command.only not in path:
                continue
            for kind in (*FAILURES, *KILLS):
                if kind != "torn" or call == "write":
                    yield Fault(kind, at)

    def disturb(self, fault: Fault) -> Finding:
        """Run the command with a fault, then once more without; compare.

        What it leaves is compared once for files that are the same to the byte.
        """
        self.command.begin(self.disk)
        ran = self.command.run(self.disk, fault, repeat=True)
        call = next((one for one in ran.calls if one.startswith(f"{fault.at} ")), "")
        said = _unclear(ran, fault)
        lost = tuple(self.command.lost(self.disk))
        changed = self._changes_at_once(ran, fault)
        state = _state_of(self.disk.root)
        if state not in self._ended:
            again = self.command.run(self.disk)
            failed = (f"again: {again.status} {again.err[-400:]}",) if again.status else ()
            self._ended[state] = (self.changes(), self.leftovers(), failed)
        then, left, failed = self._ended[state]
        return Finding(self.command.name, fault, call, lost, changed + then, left, said + failed)

    def changes(self) -> tuple[str, ...]:
        """Return the results that are not those of the undisturbed run."""
        found = contents_of(self.disk.root / "home")
        names = sorted({*found, *self.contents})
        return tuple(name for name in names if not _same(found.get(name), self.contents.get(name)))

    def leftovers(self) -> tuple[str, ...]:
        """Return files and folders that the undisturbed run does not leave."""
        return tuple(sorted(_files(self.disk.root) - self.files))

    def _changes_at_once(self, ran: Ran, fault: Fault) -> tuple[str, ...]:
        """Return the results that differ although the command says that it is done."""
        refused = isinstance(self.command, Label) and fault.kind in FAILURES  # the page waits, and asks again
        return () if ran.status or refused else tuple(f"at once: {name}" for name in self.changes())

    def soak(self, kills: int, dice: random.Random) -> Soaked:
        """Kill the command at random moments, several times in turn, and then let it end; again and again."""
        found = Soaked()
        while found.kills < kills:
            self.command.begin(self.disk)
            for _ in range(min(dice.randint(1, 6), kills - found.kills)):
                moment = (dice.randrange(len(self.calls)), dice.uniform(0, 0.02))
                ran = self.command.run(self.disk, kill_after=moment)
                found.kills += ran.killed
                found.lost += len(self.command.lost(self.disk))
            found.rounds += 1
            again = self.command.run(self.disk)
            changed = self.changes()
            found.changed += bool(changed) or again.status != 0
            found.left += len(self.leftovers())
            if again.status or changed or self.leftovers():
                found.notes.append(f"{again.status} {again.err[-400:]} {changed} {self.leftovers()}")
        return found


@dataclass
class Soaked:
    """What random kills did: ``rounds`` of ``kills``; promises lost, results changed, files left."""

    kills: int = 0
    rounds: int = 0
    lost: int = 0
    changed: int = 0
    left: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether they did nothing."""
        return not (self.lost or self.changed or self.left)


def _unclear(ran: Ran, fault: Fault) -> tuple[str, ...]:
    if ran.killed:
        return () if fault.kind in KILLS else ("killed",)
    if ran.status == 0:
        return ()
    lines = ran.err.strip().splitlines()
    clear = (
        ran.status in (1, 2)
        and len(lines) == 1
        and len(lines[0]) <= _LONGEST_LINE
        and "bug in CounterGround" not in lines[0]
    )
    return () if clear else (f"{ran.status}: {ran.err[-1500:]}",)


def _state_of(root: Path) -> str:
    """Return a digest of all files, of which temporary ones may be called anything."""
    digest = hashlib.sha256()
    named = sorted((_DRAWN.sub("", path.relative_to(root).as_posix()), path) for path in root.rglob("*"))
    for name, path in named:
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        digest.update(f"{name}\n{content}\n".encode())
    return digest.hexdigest()


def _files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def contents_of(folder: Path) -> dict[str, Any]:
    """Return what the files below ``folder/out*`` say, without times."""
    found = {}
    for file in sorted(folder.glob("out*/**/*")):
        if file.is_file() and not file.name.startswith(".") and not file.name.endswith(("-wal", "-shm")):
            found[file.relative_to(folder).as_posix()] = _content(file)
    return found


def _content(file: Path) -> Any:
    if file.suffix == ".parquet":
        frame = pl.read_parquet(file)
        return frame.drop([name for name in frame.columns if name in _VOLATILE])
    if file.suffix == ".json":
        return _stable(json.loads(file.read_text()))
    if file.suffix == ".sqlite":
        return _tables(file)
    if file.suffix == ".safetensors":  # the order of its header is drawn anew
        return {name: (str(each.dtype), each.tolist()) for name, each in load_file(file).items()}
    if file.suffix == ".html":
        return _PASSING.sub("", file.read_text())
    return file.read_bytes()


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _stable(each) for name, each in value.items() if name not in _VOLATILE}
    return [_stable(each) for each in value] if isinstance(value, list) else value


@contextmanager
def _copy_of(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy: opening the file itself would mend what a killed process left."""
    with TemporaryDirectory() as folder:
        for part in file.parent.glob(f"{file.name}*"):
            shutil.copy(part, folder)
        with closing(sqlite3.connect(Path(folder, file.name))) as database:
            yield database


def _tables(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    tables = {}
    with _copy_of(file) as database:
        database.row_factory = sqlite3.Row
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in sorted({*names} - {"lease", "sqlite_sequence"}):
            rows = [dict(row) for row in database.execute(f"SELECT * FROM {name}")]
            rows = [row for row in rows if row.get("name") not in ("label_ports", "pool_key")]
            kept = [tuple(value for key, value in row.items() if key not in _VOLATILE) for row in rows]
            tables[name] = sorted(kept, key=repr)
    return tables


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, pl.DataFrame) and isinstance(other, pl.DataFrame):
        return one.equals(other, null_equal=True)
    return type(one) is type(other) and bool(one == other)


# The commands.


def _animals(home: Path) -> None:
    save_animals(home / "photos", 3)


def _discs(home: Path) -> None:
    from disc_photos import disc_photos

    from counterground.photos import write_benchmark

    write_benchmark(disc_photos(home / "discs", 2), home / "benchmark")


def _planted(home: Path) -> None:
    from planted_photos import planted_benchmark

    from counterground.photos import write_benchmark

    (home / "photos").mkdir()
    write_benchmark(planted_benchmark(3, masks=home / "photos", mask=None), home / "benchmark")


def _labelled(home: Path) -> None:
    for seed, (animal, ground) in enumerate([("zebra", "grass"), ("zebra", "road"), ("flamingo", "water")]):
        (home / "photos" / animal / ground).mkdir(parents=True)
        (home / "photos" / animal / ground / "0.jpg").write_bytes(photo_bytes(seed))


def _pool(home: Path) -> None:
    fill_pool(home / "out", {"flamingo": 4}, width=20, height=16).close()


def _nothing(home: Path) -> None:
    """Nothing is read."""


def _one_animal(home: Path) -> None:
    save_animals(home / "photos", 1)
    for folder in sorted((home / "photos").iterdir())[1:]:
        shutil.rmtree(folder)


@contextmanager
def disturbed_commands() -> Iterator[dict[str, Command]]:
    """Yield the commands by name; iNaturalist is a server on loopback."""
    with INaturalistServer() as server:
        zebra = server.add_taxon("Equus quagga", common_name="Plains Zebra")
        for other in ("Equus zebra", "Equus grevyi"):
            server.add_taxon(other)
        for seed in range(3):
            server.add_observation(zebra, [photo_bytes(seed)])
        fast = f"--requests-per-minute 1000000 --api-url {server.api_url}"
        formats = " ".join(
            f"--format {name}"
            for name in ("counteranimal", "parquet", "webdataset", "huggingface", "croissant")
        )
        torch = ("open_clip", "torchvision.transforms.v2.functional", "counterground.api", "colour_model")
        usual = "--label-space benchmark --quiet -o out"
        commands = [
            Command(
                "evaluate",
                f"evaluate photos -m colour_model:brightness --batch-size 8 {usual}",
                _animals,
                first="no_report",  # the page takes long, and is made last
                needs=torch,
            ),
            Command("collect", f"collect out -c zebra --per-class 2 {fast}", _nothing),
            Command("import", "import out photos", _labelled),
            Label("label", "label out --annotator ann --no-open", _pool),
            Command(
                "discover",
                "discover photos --referee colour_model:thousand --min-photos 1 --split none "
                "--write-anyway --quiet -o out",
                _animals,
                needs=torch,
            ),
            Command("export", f"export photos {formats} --private -o out", _one_animal),
            Command("pool", "pool out -o out/page.html", _pool),
            Command(
                "study",
                "study theory --quick -o out",
                _nothing,
                first="small_theory",
                needs=("matplotlib.figure", "scipy.stats"),
            ),
            Command(
                "swap",
                f"swap benchmark -m disc_photos:foreground_only --backgrounds-per-label 1 {usual}",
                _discs,
                first="no_report",
                needs=(*torch, "counterground.composites", "disc_photos"),
            ),
            Command(
                "report",
                f"evaluate photos -m colour_model:brightness {usual}",
                _one_animal,
                needs=(*torch, "counterground.reporting"),
                only="report.html",
            ),
            Command(
                "mitigate",
                "mitigate benchmark -m planted_photos:Planted --method text-projection --quiet -o out",
                _planted,
                needs=(*torch, "counterground.mitigation", "sklearn.linear_model", "planted_photos"),
            ),
        ]
        yield {command.name: command for command in commands}

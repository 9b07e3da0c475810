"""A real server in a process of its own, a real browser, small drawn photos."""

import http.client
import os
import re
import signal
from pathlib import Path

import forked
import pytest
from made_pools import fill_pool


@pytest.fixture(scope="session")
def audit():
    """JavaScript that finds what cannot be read, named or hit on a page."""
    return Path(__file__).with_name("audit.js").read_text()


@pytest.fixture
def make_pool():
    """Function: (folder, class name -> number of photos) -> Pool."""
    return lambda folder, sizes: fill_pool(folder, sizes, width=40, height=30)


@pytest.fixture
def pool(tmp_path, make_pool):
    with make_pool(tmp_path / "pool", {"flamingo": 4, "ice bear": 4}) as pool:
        yield pool


class Server:
    """`counterground data label` as a process of its own, on a pool or a folder of masks."""

    def __init__(self, folder, pool, *options, annotators=("ann",)):
        names = [word for name in annotators for word in ("--annotator", name)]
        served = pool if isinstance(pool, Path) else pool.root
        self.errors = folder / "errors.txt"
        os.mkfifo(folder / "out")
        self.process = forked.start(
            forked.COMMAND,
            "data",
            "label",
            served,
            "--no-open",
            *names,
            *options,
            output=(folder / "out", self.errors),
        )
        self.out = (folder / "out").open()
        self.links = {}
        self.said = []
        while len(self.links) < len(annotators):
            self.read_link()
        self.base = re.match(r"http://[^/]+", next(iter(self.links.values())))[0]
        self.port = int(self.base.rsplit(":", 1)[1])

    def read_link(self):
        """Wait for the next link and return it."""
        for line in self.out:
            self.said.append(line)
            if match := re.search(r"^(\S.*?) +(http://\S+)$", line):
                self.links[match[1].strip()] = match[2]
                return match[2]
        raise AssertionError(f"the server ended: {self.errors.read_text()}")

    def stop(self):
        """Stop as Ctrl-C does once it answers; return what was printed since."""
        asked = http.client.HTTPConnection("127.0.0.1", self.port)
        asked.request("GET", "/")
        asked.getresponse().read()
        asked.close()
        os.kill(self.process.pid, signal.SIGINT)
        printed = self.out.read()
        self.process.join()
        assert self.process.exitcode == 0
        assert self.errors.read_text() == ""
        return printed

    def kill(self):
        """End it as kill -9 does, and wait until it is gone."""
        self.process.kill()
        self.process.join()


@pytest.fixture
def serve(tmp_path_factory):
    servers = []

    def start(pool, *options, **more):
        servers.append(Server(tmp_path_factory.mktemp("server"), pool, *options, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
        server.out.close()


class Visitor:
    """One annotator's browser; `trouble` collects what should not be there.

    Where there are outages the browser reports requests that failed: that is then no trouble.
    """

    def __init__(self, chromium, link, *, outages=False, **options):
        self.outages = outages
        self.context = chromium.new_context(viewport={"width": 1280, "height": 800}, **options)
        self.context.set_default_timeout(30_000)  # a busy machine is no reason to fail
        self.page = self.context.new_page()
        self.trouble = []
        self.hosts = set()
        self.page.on(
            "console", lambda message: message.type in {"error", "warning"} and self.note(message.text)
        )
        self.page.on("pageerror", lambda error: self.note(str(error)))
        self.page.on("request", lambda request: self.hosts.add(re.match(r"\w+:(//[^/]*)?", request.url)[0]))
        self.host = link.split("/")[2]
        self.enter(link)

    def note(self, text):
        if not (self.outages and text.startswith("Failed to load resource")):
            self.trouble.append(text)

    def enter(self, link):
        self.page.goto(link)
        self.page.wait_for_selector("body[data-annotator]")

    def see(self):
        """Wait until a photo can be decided on, and return its number."""
        self.page.wait_for_selector(".choice:enabled")
        self.page.wait_for_selector(".view img")
        return self.shown()

    def shown(self):
        return self.page.evaluate("document.querySelector('.view img')?.getAttribute('src') ?? ''")

    def press(self, key):
        """Press a key and wait for another photo, or the end."""
        before = self.shown()
        self.page.keyboard.press(key)
        self.page.wait_for_function(
            "was => (document.querySelector('.view img')?.getAttribute('src') ?? '') !== was", arg=before
        )

    def saved(self):
        """Wait until the page says that everything is saved."""
        self.page.wait_for_selector("#saved[data-state=saved]")


@pytest.fixture
def visit(chromium):
    visitors = []

    def start(link, **options):
        visitors.append(Visitor(chromium, link, **options))
        return visitors[-1]

    yield start
    for visitor in visitors:
        if not visitor.page.is_closed():  # a request may still be with what a test routes it to
            visitor.page.unroute_all(behavior="ignoreErrors")
        visitor.context.close()
        assert visitor.trouble == []
        assert {host.partition("//")[2] for host in visitor.hosts} <= {visitor.host, ""}

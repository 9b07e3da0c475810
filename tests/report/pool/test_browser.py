"""A pool's page as a browser lays it out. Needs Chromium (Debian: apt-get install chromium)."""

import json
import re
import subprocess
from html import unescape

import pytest

from counterground.report import write_pool_report

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
# A headless window is never narrower than 500 pixels, so the page is measured in a frame of the wanted width.
OUTER = """<!DOCTYPE html><iframe src="probed.html" style="border:0;width:{width}px;height:900px"></iframe>
<script>addEventListener("message", e => {{ document.documentElement.dataset.probe = e.data; }});</script>"""
PROBE = """<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  const root = document.documentElement, width = root.clientWidth, box = e => e.getBoundingClientRect();
  const inScroller = e => e.closest(".scroll") && !e.classList.contains("scroll");
  const wide = [...document.body.querySelectorAll("*")].filter(e => e.getClientRects().length)
    .filter(e => !inScroller(e) && !e.closest("thead") && box(e).right > width + 1)
    .map(e => e.tagName + "." + e.getAttribute("class") + " " + e.textContent.slice(0, 30));
  const touching = list => {
    let n = 0;
    list.forEach((a, i) => list.slice(i + 1).forEach(b => {
      if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) n++;
    }));
    return n;
  };
  let heads = 0, headsOver = 0, headsCut = 0, cells = 0, spilled = 0;
  document.querySelectorAll(".heat thead svg.strip").forEach(svg => {
    const boxes = [...svg.querySelectorAll("text")].map(box);
    heads += boxes.length; headsOver += touching(boxes);
    headsCut += boxes.filter(b => b.top < box(svg).top - 1 || b.bottom > box(svg).bottom + 1).length;
  });
  const parse = c => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const lum = c => parse(c).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((s, v, k) => s + v * [.2126, .7152, .0722][k], 0);
  const page = getComputedStyle(document.body).backgroundColor;
  let lowest = 21;
  document.querySelectorAll(".heat .cells g").forEach(g => {
    const text = g.querySelector("text"), rect = g.querySelector("rect");
    cells++;
    if (!text) return;
    const inner = box(text), outer = box(rect);
    if (inner.left < outer.left || inner.right > outer.right) spilled++;
    if (inner.top < outer.top || inner.bottom > outer.bottom) spilled++;
    const fill = getComputedStyle(rect).fill, under = fill === "none" ? page : fill;
    const [a, b] = [lum(getComputedStyle(text).fill), lum(under)].sort((x, y) => x - y);
    lowest = Math.min(lowest, (b + .05) / (a + .05));
  });
  parent.postMessage(JSON.stringify({width, scrollWidth: root.scrollWidth, wide: wide.slice(0, 5), heads,
    headsOver, headsCut, cells, spilled, lowest, dark: lum(page) < .2}), "*");
});
</script></body>"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory, browser_program):
    def run(page, *options):
        profile = tmp_path_factory.mktemp("profile")
        line = [browser_program, *FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout

    return run


def probe(chromium, report, width, dark):
    """Let a copy of the page measure itself; only the copy may run a script."""
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report.read_text("utf-8"))
    report.with_name("probed.html").write_text(html.replace("</body>", PROBE), "utf-8")
    outer = report.with_name("outer.html")
    outer.write_text(OUTER.format(width=width), "utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    dom = chromium(outer, "--window-size=1400,1000", scheme, "--virtual-time-budget=3000", "--dump-dom")
    return json.loads(unescape(re.search(r'data-probe="([^"]*)"', dom).group(1)))


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (800, False), (1280, True)])
def test_heat_maps_of_45_classes_fit_and_can_be_read(chromium, big, tmp_path, width, dark):
    summary, cells = big
    report = write_pool_report(
        summary, tmp_path / "pool.html", cells=cells, referee="a:referee/of-a-long-name"
    )
    seen = probe(chromium, report, width, dark)
    assert (seen["width"], seen["dark"]) == (width, dark)
    assert seen["scrollWidth"] <= width
    assert seen["wide"] == []
    assert (seen["heads"], seen["cells"]) == (14 + 14 + 5, 45 * (14 + 14 + 5))
    assert (seen["headsOver"], seen["headsCut"], seen["spilled"]) == (0, 0, 0)
    assert seen["lowest"] >= 4.5


@pytest.mark.parametrize("width", [390, 1280])
def test_strange_names_and_many_labels_fit_too(chromium, pool, tmp_path, width, cells):
    labels = [f"{'long ' * (k % 4)}background {k}" for k in range(23)]
    pool.set_setting("background_labels", [*labels, "snow", "water"])
    seen = probe(chromium, write_pool_report(pool, tmp_path / "pool.html", cells=cells), width, dark=False)
    assert seen["scrollWidth"] <= width
    assert seen["wide"] == []
    assert (seen["headsOver"], seen["headsCut"], seen["spilled"]) == (0, 0, 0)
    assert seen["lowest"] >= 4.5

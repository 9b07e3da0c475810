"""A pool's page as a browser lays it out. Needs Chromium (Debian: apt-get install chromium)."""

import pytest

from counterground.construction.pool_page import write_pool_report

PROBE = """() => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  const root = document.documentElement, width = root.clientWidth, box = e => e.getBoundingClientRect();
  const inScroller = e => e.closest(".scroll") && !e.classList.contains("scroll");
  const wide = [...document.body.querySelectorAll("*")].filter(e => e.getClientRects().length)
    .filter(e => !inScroller(e) && !e.closest("thead") && box(e).right > width + 1)
    .map(e => e.tagName + "." + e.getAttribute("class") + " " + e.textContent.slice(0, 30));
  const parse = c => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const lum = c => parse(c).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((s, v, k) => s + v * [.2126, .7152, .0722][k], 0);
  const page = getComputedStyle(document.body).backgroundColor;
  let lowest = 21;
  let cells = 0;
  document.querySelectorAll(".heat td").forEach(cell => {
    cells++;
    const style = getComputedStyle(cell), fill = style.backgroundColor;
    const under = fill === "rgba(0, 0, 0, 0)" ? page : fill;
    const [a, b] = [lum(style.color), lum(under)].sort((x, y) => x - y);
    lowest = Math.min(lowest, (b + .05) / (a + .05));
  });
  return {width, scrollWidth: root.scrollWidth, wide: wide.slice(0, 5), cells, lowest, dark: lum(page) < .2};
}"""


@pytest.fixture
def measure(chromium):
    """Function: (report, width, dark) -> what the page measures of itself at this width."""
    contexts = []

    def run(report, width, *, dark=False):
        scheme = "dark" if dark else "light"
        contexts.append(chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        tab = contexts[-1].new_page()
        tab.goto(report.as_uri())
        return tab.evaluate(PROBE)

    yield run
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (800, False), (1280, True)])
def test_heat_maps_of_45_classes_fit_and_can_be_read(measure, big, tmp_path, width, dark):
    summary, cells = big
    report = write_pool_report(
        summary, tmp_path / "pool.html", cells=cells, referee="a:referee/of-a-long-name"
    )
    seen = measure(report, width, dark=dark)
    assert (seen["width"], seen["dark"]) == (width, dark)
    assert seen["scrollWidth"] <= width
    assert seen["wide"] == []
    assert seen["cells"] == 45 * (14 + 14 + 5)
    assert seen["lowest"] >= 4.5

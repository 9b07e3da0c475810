"""axe-core finds nothing on the report, with everything on it open."""

import pytest


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_reader_can_use_the_report(visit, families, complaints, width, scheme):
    # The page's policy would not let the checking script in.
    tab = visit(families[1], width=width, color_scheme=scheme, bypass_csp=True)
    tab.locator(".classpage").scroll_into_view_if_needed()
    tab.wait_for_selector(".gallery img")
    tab.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    tab.locator("#chart1").focus()
    tab.keyboard.press("ArrowRight")
    assert complaints(tab) == []


def test_a_page_that_cannot_be_used_is_noticed(chromium, complaints):
    tab = chromium.new_page()
    tab.set_content("<title>x</title><button></button><p style='color:#ddd;background:#fff'>pale</p>")
    assert {"Buttons must have discernible text"} <= {help_ for help_, _ in complaints(tab)}
    tab.close()

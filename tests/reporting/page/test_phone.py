"""The page on a phone: narrow, without heads to press, with a finger for a mouse."""


def names(tab):
    return [text.split("\n")[0] for text in tab.locator("#table1 tbody tr:visible th").all_inner_texts()]


def test_what_is_filtered_away_cannot_be_seen(visit, families):
    tab = visit(families[1], width=390)
    assert len(names(tab)) == 8
    tab.get_by_label("Find a model").fill("lite1")
    assert names(tab) == ["lite1"]

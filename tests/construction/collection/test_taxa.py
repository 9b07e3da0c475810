"""Names become taxa by one exact match, a choice that is remembered, or not at all."""

import pytest

from counterground.construction.collection import WantedClass, collect
from counterground.construction.pool import open_pool
from counterground.construction.settings import CollectOptions
from counterground.errors import CounterGroundError, UsageError


@pytest.fixture
def gather(server, tmp_path):
    """Collect into the test's pool; the names of the taxa of each class come back."""

    def run(*classes, **options):
        chosen = CollectOptions(api_url=server.api_url, per_class=1, **options)
        report = collect(tmp_path / "pool", list(classes), chosen)
        return {one.class_name: " + ".join(one.taxa) for one in report.classes}, " ".join(report.notes)

    return run


@pytest.fixture
def jays(server, drawn):
    taxa = [
        server.add_taxon("Garrulus glandarius", common_name="Eurasian Jay"),
        server.add_taxon("Cyanocitta cristata", common_name="Blue Jay"),
        server.add_taxon("Kettlea", rank="genus", common_name="Kettle"),
        server.add_taxon("Kettlea major", common_name="Kettle", synonyms=("Big Kettle", "Pot")),
    ]
    for taxon in taxa:
        server.add_observation(taxon, [drawn[taxon.id % 64]])
    return taxa


def test_scientific_and_common_names_match_exactly(gather, jays):
    found, _ = gather("blue jay", "Garrulus_glandarius")
    assert found == {"blue jay": "Cyanocitta cristata", "Garrulus_glandarius": "Garrulus glandarius"}


def test_a_synonym_counts_where_no_name_matches(gather, jays):
    assert gather("pot")[0] == {"pot": "Kettlea major"}


def test_choices_are_remembered_also_where_others_are_open(gather, jays, server, tmp_path):
    said = rf"'kettle' means 2 taxa \({jays[2].id} Kettlea .*{jays[3].id} Kettlea major .*--taxon 'kettle=ID'"
    with pytest.raises(CounterGroundError, match=said) as caught:
        gather("blue jay", "kettle", "unheard of")
    assert "'unheard of'" in str(caught.value)
    kept = open_pool(tmp_path / "pool").setting("taxa")
    assert kept["blue jay"][0]["name"] == "Cyanocitta cristata"
    number = jays[3].id
    assert gather("kettle", taxa={"kettle": (number,)})[0] == {"kettle": "Kettlea major"}
    before = server.asked_below("/v1/taxa")
    assert gather("kettle", "blue jay")[0]["kettle"] == "Kettlea major"
    assert server.asked_below("/v1/taxa") == before


def test_another_choice_than_the_remembered_one_is_another_query(gather, jays):
    gather("blue jay")
    with pytest.raises(CounterGroundError, match=r"'blue jay' from another query \(other taxa"):
        gather("blue jay", taxa={"blue jay": (jays[0].id,)})
    assert gather("blue jay")[0] == {"blue jay": "Cyanocitta cristata"}
    gather("blue jay", taxa={"blue jay": (jays[0].id,)}, add=True)
    assert gather("blue jay")[0] == {"blue jay": "Garrulus glandarius"}


@pytest.mark.parametrize(
    ("taxa", "said"),
    [
        ({"kettle": (999,)}, "There is no taxon 999 in use"),
        ({"kettel": (1,)}, "'kettel', which is not one of the classes. Did you mean 'kettle'"),
    ],
)
def test_choices_that_cannot_be_are_refused(gather, jays, taxa, said):
    with pytest.raises(UsageError, match=said):
        gather("kettle", taxa=taxa)


def test_built_in_names_decide_before_common_names(gather, server, drawn):
    server.add_taxon("Zebrasoma zebra", common_name="Zebra")
    zebra = server.add_taxon("Equus quagga")
    server.add_observation(zebra, [drawn[0]])
    found, notes = gather("zebra")
    assert found == {"zebra": "Equus quagga"}
    assert "zebra: these of its taxa were not found and are left out: Equus zebra, Equus grevyi." in notes


def test_homonyms_of_plants_and_of_subgenera_are_told_apart(gather, server, drawn):
    server.add_taxon("Pieris", rank="genus", ancestors=(48460, 47126))  # a shrub
    whites = server.add_taxon("Pieris", rank="genus")
    server.add_taxon("Pieris", rank="subgenus", ancestors=(48460, 1, whites.id))
    server.add_observation(whites, [drawn[0]])
    found, _ = gather("cabbage butterfly")
    assert found == {"cabbage butterfly": "Pieris"}
    assert server.queries[-2][1]["taxon_id"] == str(whites.id)


def test_a_file_may_say_what_a_class_is(gather, jays):
    found, _ = gather(WantedClass("a", "Kettlea"), WantedClass("b", str(jays[1].id)))
    assert found == {"a": "Kettlea", "b": "Cyanocitta cristata"}
    with pytest.raises(CounterGroundError, match="no taxon is called 'Nothing'"):
        gather(WantedClass("c", "Nothing"))

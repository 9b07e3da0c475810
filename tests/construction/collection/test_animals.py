"""The built-in classes: each is ImageNet's, has a taxon or says why not, and none means another's."""

import pytest

from counterground.construction.collection import WantedClass, read_classes

# The built-in rows themselves, which the public lists give as names.
from counterground.construction.collection._taxa import animals, find_animal, wanted_classes
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import find_imagenet_index, imagenet_names
from counterground.published import load_table

RANKS = {"subspecies", "species", "genus", "subfamily", "family", "epifamily", "superfamily", "suborder"}
RANKS |= {"order", "class", "phylum"}


def test_every_animal_of_imagenet_has_its_row():
    assert [animal.index for animal in animals()] == list(range(398))
    assert [animal.class_name for animal in animals()] == list(imagenet_names("openai")[:398])
    for animal in animals():
        assert find_imagenet_index(animal.class_name) == animal.index


def test_every_row_has_taxa_or_says_why_not():
    for animal in animals():
        assert len(animal.ranks) == len(animal.names)
        assert set(animal.ranks) <= RANKS
        assert animal.names or animal.note, animal
        for name, rank in zip(animal.names, animal.ranks, strict=True):
            words = {"species": 2, "subspecies": 3}.get(rank, 1)
            assert len(name.split()) == words, (name, rank)
            assert name[0].isupper()
            assert name[1:] == name[1:].lower()


def test_no_taxon_belongs_to_two_classes():
    names = [name for animal in animals() for name in animal.names]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("ostrich", ("Struthio camelus",)),
        ("ice bear, polar bear, Ursus Maritimus, Thalarctos maritimus", ("Ursus maritimus",)),
        ("100 black swan", ("Cygnus atratus",)),
        ("n02391049", ("Equus quagga", "Equus zebra", "Equus grevyi")),
    ],
)
def test_animals_are_found_under_every_name_imagenet_has_for_them(written, names):
    assert find_animal(written).names == names


@pytest.mark.parametrize("written", ["abacus", "crane", "goldfinch of the moon"])
def test_other_names_are_no_animals(written):
    assert find_animal(written) is None  # crane is a bird and a machine


def test_the_papers_classes_all_have_a_taxon():
    wanted = read_classes("counteranimal")
    assert len(wanted) == 45
    assert not [one for one in wanted if one.left_out]
    indices = {find_imagenet_index(one.name) for one in wanted}
    assert indices == set(load_table("classes")["imagenet_index"])


def test_a_file_names_classes_and_perhaps_their_taxa(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text("\ufeff# mine\nzebra\n\nred fox\tVulpes vulpes\nkettle\t123\n", encoding="utf-8")
    assert read_classes(file) == [
        WantedClass("zebra"),
        WantedClass("red fox", "Vulpes vulpes"),
        WantedClass("kettle", "123"),
    ]


def test_a_missing_file_may_be_a_misspelt_list():
    with pytest.raises(UsageError, match="Did you mean 'counteranimal'"):
        read_classes("counteranimals")


def test_two_names_of_one_class_are_refused():
    with pytest.raises(CounterGroundError, match="the same class"):
        wanted_classes([WantedClass("polar bear"), WantedClass("ice bear")])
    assert wanted_classes([WantedClass("kettle"), WantedClass("kettle", "2")]) == [WantedClass("kettle", "2")]
    with pytest.raises(UsageError, match="at least one class"):
        wanted_classes([])

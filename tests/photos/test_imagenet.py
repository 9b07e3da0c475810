"""The embedded ImageNet facts and the strict matching of names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from timm.data import ImageNetInfo

from counterground.errors import UsageError
from counterground.photos import (
    find_imagenet_index,
    imagenet_names,
    imagenet_wnids,
    match_imagenet,
    name_key,
)

# All 1,000 classes by each of their names, also the ambiguous ones, which the public function refuses.
from counterground.photos.labels._imagenet import imagenet_candidates

# index, wnid, OpenAI name, WordNet name, label as the paper's table 2 prints it
FACTS = [
    (9, "n01518878", "ostrich", "ostrich, Struthio camelus", "ostrich, struthio camelus"),
    (20, "n01601694", "American dipper", "water ouzel, dipper", "water ouzel, dipper"),
    (
        39,
        "n01677366",
        "green iguana",
        "common iguana, iguana, Iguana iguana",
        "common iguana,iguana iguana iguana",
    ),
    (56, "n01734418", "kingsnake", "king snake, kingsnake", "king snake kingsnake"),
    (57, "n01735189", "garter snake", "garter snake, grass snake", "garter snake grass snake"),
    (100, "n01860187", "black swan", "black swan, Cygnus atratus", "black swan, cygnus atratus"),
    (128, "n02002724", "black stork", "black stork, Ciconia nigra", "black stork ciconia nigra"),
    (133, "n02011460", "bittern bird", "bittern", "bittern"),
    (
        349,
        "n02415577",
        "bighorn sheep",
        "bighorn, bighorn sheep, cimarron, Rocky Mountain bighorn, Rocky Mountain sheep, Ovis canadensis",
        "bighorn, bighorn sheep, cimarron",
    ),
]


def test_names_are_the_same_whatever_their_unicode_form():
    for one, other in (("é", "e\u0301"), ("STRASSE", "straße"), ("İ", "i\u0307"), ("Å_x", "\u212b, X")):
        assert name_key(one) == name_key(other)
    assert name_key("cafe") != name_key("café")


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact[1])
def test_facts_of_the_papers_table_2_and_every_way_to_name_a_class(fact):
    index, wnid, openai, wordnet, label = fact
    assert imagenet_wnids()[index] == wnid
    assert imagenet_names("openai")[index] == openai
    assert imagenet_names("wordnet")[index] == wordnet
    for text in (
        wnid,
        openai,
        wordnet,
        label,
        str(index),
        openai.upper(),
        wordnet.replace(",", ""),
        f" {label} ",
    ):
        assert find_imagenet_index(text) == index
    for name in (openai, wordnet, label, label.replace(" ", "_")):
        assert find_imagenet_index(f"{index} {name}") == index
        assert find_imagenet_index(f"{index}_{name}") == index


def test_lists_are_those_of_the_installed_libraries():
    info = ImageNetInfo()
    assert imagenet_names("openai") == tuple(IMAGENET_CLASSNAMES)
    assert imagenet_wnids() == tuple(info.label_names())
    assert imagenet_names("wordnet") == tuple(info.index_to_description(index) for index in range(1000))


def test_every_name_finds_its_class_except_the_known_doubles():
    doubles = {"openai": {657, 744, 836, 837}, "wordnet": {134, 517, 638, 657}}
    for kind, ambiguous in doubles.items():
        names = imagenet_names(kind)
        for index, name in enumerate(names):
            if index in ambiguous:
                with pytest.raises(UsageError, match="ambiguous"):
                    find_imagenet_index(name)
                assert find_imagenet_index(f"{index} {name}") == index
            else:
                assert find_imagenet_index(name) == index
        assert not any(name[0].isdigit() for name in names)  # or "123 name" could be a name


@pytest.mark.parametrize(
    ("name", "wnids"),
    [
        ("missile", ("n03773504", "n04008634")),
        ("sunglasses", ("n04355933", "n04356056")),
        ("crane", ("n02012849", "n03126707")),
        ("maillot", ("n03710637", "n03710721")),  # all of one WordNet name, the first synonym of another
        ("Cardigan", ("n02113186", "n02963159")),
        ("tub", ("n02808440", "n04493381")),  # a synonym of two classes, the name of none
        ("panther", ("n02125311", "n02128925")),
    ],
)
def test_an_ambiguous_name_is_refused_naming_all_candidates(name, wnids):
    with pytest.raises(UsageError, match="ambiguous") as caught:
        find_imagenet_index(name)
    for wnid in wnids:
        assert wnid in str(caught.value)
        assert str(find_imagenet_index(wnid)) in str(caught.value)
    assert "\n" not in str(caught.value)


def categories(kind):
    """Return lists of the 1000 names in order, as people have them."""
    from torchvision.models import ResNet18_Weights

    info = ImageNetInfo()
    return {
        "torchvision": list(ResNet18_Weights.DEFAULT.meta["categories"]),
        "timm": [info.index_to_description(index) for index in range(1000)],
        "timm, detailed": [info.index_to_description(index, detailed=True) for index in range(1000)],
        "wnids": info.label_names(),
        "first synonyms": [name.split(",")[0].lower() for name in imagenet_names("wordnet")],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "by_place"),
    [
        ("torchvision", ("Cardigan", "polecat", "tub")),
        ("timm", ()),
        ("timm, detailed", ()),
        ("wnids", ()),
        ("first synonyms", ("cardigan", "polecat", "maillot", "tub")),
    ],
)
def test_a_list_of_1000_that_agrees_with_imagenets_order_is_read_in_it(kind, by_place):
    match = match_imagenet(categories(kind))
    assert match.indices == tuple(range(1000))
    assert match.in_order
    assert match.by_place == by_place


def test_names_that_contradict_the_order_are_followed_only_where_their_class_is_free():
    names = categories("torchvision")
    names[3], names[8], names[9], names[10] = names[8], names[3], "goose", "no bird of ours"
    match = match_imagenet(names)
    assert match.indices == (0, 1, 2, 8, 4, 5, 6, 7, 3, *range(9, 1000))
    assert match.by_place[:2] == ("goose", "no bird of ours")


def test_950_names_at_their_place_prove_the_order_and_one_less_does_not():
    names = categories("torchvision")
    for own in (50, 51):
        listed = [*(f"own {number}" for number in range(own)), *names[own:]]
        assert match_imagenet(listed).in_order == (own == 50)


def test_fewer_or_shuffled_names_prove_no_order():
    names = categories("torchvision")
    for other in (names[:999], [*names, "none"], names[500:] + names[:500]):
        match = match_imagenet(other)
        assert not match.in_order
        found = dict(zip(other, match.indices, strict=True))
        assert [found[name] for name in ("tench", "Cardigan", "crane")] == [0, None, None]


def test_a_name_of_one_class_wins_over_a_synonym_of_another():
    assert find_imagenet_index("cardigan") == 474
    assert find_imagenet_index("partridge") == 86
    assert find_imagenet_index("harp") == 594
    assert find_imagenet_index("missile, projectile") == 744  # two synonyms that only one class has


@given(st.text(max_size=30))
def test_any_text_gives_an_index_or_a_usage_error(text):
    try:
        index = find_imagenet_index(text)
    except UsageError:
        assert len(imagenet_candidates(text)) != 1
    else:
        assert 0 <= index < 1000

"""Keys are masked in whatever is shown."""

from counterground.http import keep_secret, masked


def test_a_secret_is_masked_as_it_is_and_as_addresses_write_it():
    keep_secret("pa/ss word+1")
    assert masked("a pa/ss word+1 and pa%2Fss%20word%2B1") == "a *** and ***"

"""Keys are masked in whatever is shown."""

from counterground.http import keep_secret, keep_secrets_of, masked


def test_only_what_is_called_as_a_key_is_kept_secret_in_an_address():
    keep_secrets_of(
        "https://ann:first-password@host/x?project=elephants&author=leopards-2&keyword=a-long-word"
    )
    keep_secrets_of("https://host/x?sig=second-secret&X-Amz-Signature=third-secret&api_key=fourth-secret")
    said = "a herd of elephants, leopards-2, a-long-word"
    assert masked(said) == said
    assert masked("first-password second-secret third-secret fourth-secret") == "*** *** *** ***"


def test_a_secret_is_masked_as_it_is_and_as_addresses_write_it():
    keep_secret("pa/ss word+1")
    assert masked("a pa/ss word+1 and pa%2Fss%20word%2B1") == "a *** and ***"

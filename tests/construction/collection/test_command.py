"""``counterground data collect`` as a user meets it."""

import pytest

from counterground.cli import main


@pytest.fixture
def command(server, tmp_path, capsys):
    """Run the command against the test's server; its status, and the lines it printed."""

    def run(*words, per_class=2):
        given = [
            "data",
            "collect",
            tmp_path / "pool",
            "-X",
            f"api-url={server.api_url}",
            "--per-class",
            per_class,
        ]
        status = main([str(word) for word in (*given, *words)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err.strip().splitlines()

    return run


def test_it_prints_what_became_of_each_class(command, zebras, tmp_path):
    zebras(5, licence=None)
    status, out, err = command("-c", "zebra")
    assert (status, err) == (0, [])
    words = next(line for line in out.splitlines() if "zebra" in line).split()
    assert words == [*["zebra", "Equus", "quagga", "+", "2", "more"], "2", "0", "2", "0", "0", "0.0"]
    assert "2 photos added, 0.0 MB." in out
    assert "Note: 2 of 2 photos are all rights reserved" in out
    assert f"Pool: {tmp_path / 'pool'}" in out


def test_unclear_names_are_one_line_with_the_ids(command, server):
    for rank in ("genus", "species"):
        server.add_taxon(f"Kettlea {rank}", rank=rank, common_name="Kettle")
    status, _, (said,) = command("-c", "kettle")
    assert status == 1
    assert all(str(number) in said for number in server.taxa)
    assert command("-c", "kettle", "--taxon", f"kettle={max(server.taxa)}")[0] == 0


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((), 2, "Name at least one class"),
        (("-c", "zebra", "--taxon", "zebra"), 2, "--taxon takes NAME=VALUE, not 'zebra'"),
        (
            ("-c", "zebra", "--taxon", "zebra=1", "--taxon", "zebra=2"),
            2,
            "--taxon has two values for 'zebra': give one",
        ),
        (("-c", "zebra", "-X", "jobs=99"), 2, "jobs"),
        (("-c", "zebra", "-X", "quality=best"), 2, "quality must be"),
        (("-c", "zebra", "--classes", "counteranimals"), 2, "Did you mean 'counteranimal'"),
        (("-c", "polar bear", "-c", "ice bear"), 1, "are the same class"),
        (("-c", "zebra", "--taxon", f"zebra={'9' * 5000}"), 2, "--taxon: unable to parse"),
    ],
)
def test_mistakes_are_one_line(command, words, status, said):
    came, _, err = command(*words)
    assert came == status
    assert len(err) == 1, err
    assert said in err[0]


def test_what_is_incomplete_exits_1(command, zebras, server):
    photo = zebras(2)[0].photos[0]
    server.trouble(f"/photos/{photo.id}/", times=None, status=503, retry_after="100000")
    status, _, err = command("-c", "zebra")
    assert status == 1
    assert err == [
        "Error: Some photos are still missing, and more are available: run the same command again later."
    ]

"""Eight photos of four animals at two sites, none of which is on this machine."""

import pytest

import counterground as cg

ANIMALS = ("fox", "hare", "deer", "boar")
LABELS = """path,class_name,site
site1/a.jpg,fox,site1
site1/b.jpg,hare,site1
site1/c.jpg,deer,site1
site1/d.jpg,boar,site1
site2/a.jpg,fox,site2
site2/b.jpg,hare,site2
site2/c.jpg,deer,site2
site2/d.jpg,boar,site2
"""


@pytest.fixture
def traps(tmp_path):
    """The table that says what is true."""
    table = tmp_path / "labels.csv"
    table.write_text(LABELS)
    return table


@pytest.fixture
def evaluate(traps, tmp_path):
    """Function: the run of a file of predictions with this text and name."""

    def run(text, name="given.csv", **settings):
        file = tmp_path / name
        if isinstance(text, bytes):
            file.write_bytes(text)
        else:
            file.write_text(text)
        return cg.evaluate(traps, predictions=file, out=tmp_path / "run", report=False, **settings)

    return run


@pytest.fixture
def predicted(evaluate):
    """Function: which class was predicted for which photo; see ``evaluate``."""

    def read(text, name="given.csv", **settings):
        rows = evaluate(text, name, **settings).predictions
        return dict(rows.select("path", "predicted_name").iter_rows())

    return read

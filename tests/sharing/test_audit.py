"""Audits run the model again on photos that nobody chose, and find as many alterations as theory says."""

import json
import shutil
from math import comb, sqrt

import numpy as np
import polars as pl
import pytest
from evaluated import evaluated
from made_bundles import answer, forge, made_bundle
from random_clip import save_clip

from counterground.cli import main
from counterground.errors import CounterGroundError
from counterground.results import open_run
from counterground.sharing import share_run
from counterground.sharing._audit import NEAR_TIE, differing, draw_photos, largest_share
from counterground.sharing._bundle import bundle_hash

BIASED = "counterground:stamps-biased"


@pytest.fixture(scope="session")
def small(originals):
    """A bundle of a built-in model, which strangers may name, on the photos of ``originals``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(originals / "cache"))
        run = evaluated(originals / "photos", BIASED, originals / "small-run")
    return share_run(run, originals / "small").path


@pytest.fixture
def bundle(small, tmp_path):
    return shutil.copytree(small, tmp_path / "bundle")


def audit_of(folder):
    return json.loads((folder / "audit.json").read_text())


def drawn(folder, photos, salt=""):
    places = draw_photos(f"{bundle_hash(folder)}{salt}", len(open_run(folder).photos), photos)
    return [f"{place + 1:08}" for place in places]


def test_an_honest_bundle_passes_and_says_what_was_run(bundle, originals):
    digest = bundle_hash(bundle)
    words = ["audit", str(bundle), str(originals / "photos"), "--photos", "20", "--salt", "4f2a"]

    assert main(words) == 0

    found = audit_of(bundle)
    assert (found["bundle"], found["salt"], found["photos"], found["of"]) == (digest, "4f2a", 20, 48)
    assert (found["mismatches"], found["near_ties"], found["device"]) == ([], 0, "cpu")
    assert found["bound"] == largest_share(0, 20, 48)
    assert bundle_hash(bundle) == digest
    assert main(["share", "--check", str(bundle), "--data", str(originals / "photos")]) == 0


@pytest.mark.parametrize("salt", ["", "4f2a"])
def test_altered_answers_among_the_drawn_are_named(bundle, originals, salt):
    altered = [f"{number:08}" for number in range(1, 49, 3)]
    forge(bundle, answer(altered))
    photos = str(originals / "photos")
    assert main(["share", "--check", str(bundle), "--data", photos]) == 0

    assert main(["audit", str(bundle), photos, "--photos", "20", "--salt", salt]) == 3

    found = audit_of(bundle)
    assert found["mismatches"] == sorted({*altered} & {*drawn(bundle, 20, salt)})
    assert 0 < len(found["mismatches"]) < len(altered)
    assert found["bound"] == largest_share(len(found["mismatches"]), 20, 48)

    assert main(["audit", str(bundle), photos, "--salt", salt]) == 3  # 60, or all that there are
    found = audit_of(bundle)
    assert (found["photos"], found["mismatches"], found["bound"]) == (48, altered, len(altered) / 48)


def test_other_weights_under_the_same_name_are_refused(photos, tiny_clip, tmp_path, refusal):
    clip = shutil.copytree(tiny_clip, tmp_path / "clip")
    bundle = tmp_path / "bundle"
    share_run(evaluated(photos, f"open_clip:{clip}", tmp_path / "run"), bundle)
    said_by = open_run(bundle).info.models[0].description["weights_sha256"]

    status, said = refusal("audit", "-q", bundle, photos)  # a file, somewhere
    assert (status, "open_clip:clip" in said) == (2, True)
    assert main(["audit", str(bundle), str(photos), "--model", f"open_clip:{clip}"]) == 0

    (bundle / "audit.json").unlink()
    save_clip(clip, seed=1)
    status, said = refusal("audit", "-q", bundle, photos, "--model", f"open_clip:{clip}")
    assert status == 1
    assert said_by[:8] in said
    assert not (bundle / "audit.json").exists()


@pytest.mark.parametrize(
    "spec", ["spy:model", "hf:org/model?trust_remote_code=true", "https://example.org/v1#model"]
)
def test_code_and_addresses_of_strangers_are_run_only_if_named_here(bundle, originals, site, refusal, spec):
    (site / "spy.py").write_text(f"open({str(site / 'seen')!r}, 'w').close()\n")
    forge(bundle, models__0__spec=spec)

    status, said = refusal("audit", "-q", bundle, originals / "photos")

    assert (status, spec in said, "--model" in said) == (2, True, True)
    assert not (site / "seen").exists()
    assert main(["audit", str(bundle), str(originals / "photos"), "--photos", "5", "--model", BIASED]) == 0


@pytest.mark.parametrize(
    "change", [{"models__0__kind": "predictions"}, {"models__0__description__head": {"rows": 48}}]
)
def test_what_cannot_be_run_photo_by_photo_is_refused(bundle, originals, refusal, change):
    forge(bundle, **change)
    status, said = refusal("audit", "-q", bundle, originals / "photos")
    assert (status, BIASED in said) == (2, True)


def test_a_bundle_that_does_not_add_up_or_is_of_other_photos_is_not_run(bundle, originals, photos, refusal):
    shutil.rmtree(photos / "flamingo/common-water")
    status, said = refusal("audit", "-q", bundle, photos)
    assert (status, open_run(bundle).info.benchmark.version[:40] in said) == (1, True)

    forge(bundle, lambda rows: rows.with_columns(~pl.col("correct")))
    status, said = refusal("audit", "-q", bundle, originals / "photos")
    assert (status, "correct" in said) == (1, True)
    assert not (bundle / "audit.json").exists()


def answers(indices, gaps):
    """Rows as of a bundle, by number of the photo."""
    return pl.DataFrame(
        {
            "path": [f"{number:08}" for number in range(len(indices))],
            "model": "first",
            "prompts": "simple",
            "answer_score": None,
            "predicted_index": indices,
            "top2_gap": gaps,
        },
        schema_overrides={"answer_score": pl.String, "top2_gap": pl.Float64},
    )


@pytest.mark.parametrize("near", sorted(set(NEAR_TIE.values())))
@pytest.mark.parametrize("said_gap", [0.0, 1e-9, 2.0, None])
def test_a_near_tie_is_one_by_the_gap_of_whoever_audits(near, said_gap):
    # The median gap is 2. Photos 0 to 3 have another answer.
    gaps = [2 * near * share for share in (0, 0.99, 1.01, 5)] + [2.0] * 9
    again = answers([1] * 13, gaps)
    recorded = answers([0] * 4 + [1] * 9, [said_gap] * 13)

    assert differing(recorded, again, near) == (["00000002", "00000003"], 2)
    assert differing(recorded.reverse(), again.reverse(), near) == (["00000002", "00000003"], 2)
    assert differing(again, again, near) == ([], 0)


def test_answers_without_a_gap_have_no_near_tie():
    again = answers([1, None, 1, 2], [None] * 4)
    recorded = answers([1, 1, None, 0], [0.0] * 4)
    assert differing(recorded, again, 0.3) == (["00000001", "00000002", "00000003"], 0)


def test_only_one_of_several_answers_to_a_photo_need_differ():
    rows = answers([0, 1], [1.0, 1.0])
    again = pl.concat([rows, rows.with_columns(prompts=pl.lit("openai"))])
    other = again.with_columns(
        predicted_index=pl.when(pl.int_range(4) == 3).then(7).otherwise("predicted_index")
    )
    assert differing(other, again, 0.01) == (["00000001"], 0)
    with pytest.raises(CounterGroundError, match="prompts"):
        differing(rows, again, 0.01)


def chance_of_at_most(found, size, altered, photos):
    ways = range(max(0, photos - size + altered), min(found, altered, photos) + 1)
    return sum(comb(altered, k) * comb(size - altered, photos - k) for k in ways) / comb(size, photos)


@pytest.mark.parametrize(("size", "photos"), [(48, 20), (200, 60), (997, 60), (30, 1), (12, 12)])
@pytest.mark.parametrize("found", [0, 1, 5])
def test_the_bound_is_the_most_that_could_be_missed(size, photos, found):
    found = min(found, photos)
    possible = [k for k in range(size + 1) if chance_of_at_most(found, size, k, photos) > 0.05]
    assert largest_share(found, photos, size) == max(possible) / size
    if photos == size:
        assert largest_share(found, photos, size) == found / size


def test_sixty_photos_find_a_twentieth():
    assert 0.045 < largest_share(0, 60, 100_000) < 0.05


@pytest.mark.parametrize("name", ["run.json", "label_space.json", "predictions.parquet", "scores.parquet"])
def test_one_byte_changes_the_draw(bundle, name):
    before = bundle_hash(bundle)
    (bundle / "audit.json").write_text("{}")
    assert bundle_hash(bundle) == before

    content = bytearray((bundle / name).read_bytes())
    content[-9] ^= 1
    (bundle / name).write_bytes(content)

    after = bundle_hash(bundle)
    draws = {tuple(draw_photos(f"{seed}{salt}", 9_000, 60)) for seed in (before, after) for salt in ("", "a")}
    assert len(draws) == 4
    assert draws == {
        tuple(draw_photos(f"{seed}{salt}", 9_000, 60)) for seed in (before, after) for salt in ("", "a")
    }


def test_each_photo_is_drawn_once_and_as_often_as_others():
    draws = [draw_photos(f"seed {k}", 24, 6) for k in range(2_000)]
    assert all(len(set(each)) == 6 and each == sorted(each) for each in draws)
    counts = np.bincount(np.concatenate(draws), minlength=24)
    assert len(counts) == 24
    spread = sqrt(2_000 * 0.25 * 0.75)
    assert np.abs(counts - 500).max() < 4 * spread
    assert draw_photos("seed", 5, 60) == [0, 1, 2, 3, 4]


def test_as_many_forgeries_are_found_as_theory_says(tmp_path):
    bundle = open_run(made_bundle(tmp_path / "board/bundle"))
    honest, tries, altered, photos = bundle.predictions, 400, 5, 60
    size, random, found = len(honest), np.random.default_rng(7), 0
    for k in range(tries):
        places = random.choice(size, altered, replace=False)
        chosen = pl.int_range(size).is_in(places.tolist())
        forged = honest.with_columns((pl.col("predicted_index") + chosen.cast(pl.Int32)) % 9)
        again = honest[draw_photos(f"{bundle_hash(bundle.path)}{k}", size, photos)]
        found += bool(differing(forged, again, 0.0)[0])

    expected = 1 - chance_of_at_most(0, size, altered, photos)
    assert 0.4 < expected < 0.8
    assert abs(found / tries - expected) < 3 * sqrt(expected * (1 - expected) / tries)

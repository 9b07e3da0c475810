"""The loop: it learns, it resumes to the same bits, it refuses what is not its own."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from counterground.errors import CounterGroundError, UsageError
from counterground.files import DamagedCacheWarning
from counterground.paper.loop import Schedule, train

SCHEDULE = Schedule(steps=12, learning_rate=1e-2, warmup_steps=3)


def make_model(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(8 * 64, 2),
    )
    return model.to(memory_format=torch.channels_last)


def batch_at(step):
    generator = torch.Generator().manual_seed(step)
    labels = torch.arange(16) % 2
    photos = torch.randn(16, 3, 8, 8, generator=generator) + labels[:, None, None, None]
    return photos.contiguous(memory_format=torch.channels_last), labels


def loss(model, batch):
    photos, labels = batch
    return nn.functional.cross_entropy(model(photos), labels)


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_seed_decides():
    def weights(seed):
        model = make_model()
        train(model, batch_at, loss, SCHEDULE, seed=seed)
        return model.state_dict()

    assert same(weights(1), weights(1))
    assert not same(weights(1), weights(2)), "dropout must depend on the seed"


@pytest.mark.parametrize("stop", [1, 4, 5, 11])
def test_interrupted_run_ends_in_the_same_bits(tmp_path, stop):
    whole = make_model()
    expected = train(whole, batch_at, loss, SCHEDULE)
    path = tmp_path / "checkpoint.safetensors"

    def interrupt(done, _loss):
        if done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(make_model(), batch_at, loss, SCHEDULE, checkpoint=path, checkpoint_every=2, on_step=interrupt)
    assert path.exists() == (stop >= 2)
    resumed = make_model(seed=9) if stop >= 2 else make_model()  # before a checkpoint it begins anew
    train(resumed, batch_at, loss, SCHEDULE, checkpoint=path, checkpoint_every=2)
    assert same(whole.state_dict(), resumed.state_dict())
    again = train(make_model(seed=5), batch_at, loss, SCHEDULE, checkpoint=path)
    assert again == expected, "a finished run returns its losses and trains no further"


def test_frozen_parameters_stay():
    model = make_model()
    model[0].requires_grad_(False)
    before, head = model[0].weight.clone(), model[-1].weight.clone()
    train(model, batch_at, loss, SCHEDULE)
    assert torch.equal(model[0].weight, before)
    assert not torch.equal(model[-1].weight, head)


def test_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    train(make_model(), batch_at, loss, SCHEDULE, checkpoint=path, identity="seed 0")
    with pytest.raises(UsageError, match="another run"):
        train(make_model(), batch_at, loss, SCHEDULE, checkpoint=path, identity="seed 1")


def test_training_starts_again_from_a_broken_checkpoint_and_says_so(tmp_path):
    path, whole = tmp_path / "checkpoint.safetensors", make_model()
    train(whole, batch_at, loss, SCHEDULE)
    path.write_bytes(b"no safetensors")
    again = make_model()
    with pytest.warns(DamagedCacheWarning, match="is rebuilt"):
        train(again, batch_at, loss, SCHEDULE, checkpoint=path)
    assert same(whole.state_dict(), again.state_dict())


def test_a_gradient_that_is_not_finite_stops_the_run_at_its_last_step(tmp_path):
    """The loss was finite, so nothing else would tell that the weights are no numbers."""
    model, kept = nn.Linear(2, 1), tmp_path / "checkpoint"
    with pytest.raises(CounterGroundError, match="gradient is nan at step 2; lower the learning rate"):
        train(
            model,
            lambda step: step,
            lambda model, step: (model.weight**2).sum() + (model.bias * 0 + (step < 2)).sqrt().sum(),
            Schedule(steps=3),
            checkpoint=kept,
            checkpoint_every=1,
        )
    assert all(weights.isfinite().all() for weights in model.parameters())


def test_loss_that_is_not_finite_stops_the_run():
    with pytest.raises(CounterGroundError, match="step 0"):
        train(make_model(), batch_at, lambda model, batch: loss(model, batch) * float("nan"), SCHEDULE)


def test_learning_rate_warms_up_and_decays():
    schedule = Schedule(steps=100, learning_rate=1.0, warmup_steps=10)
    rates = [schedule.learning_rate_at(step) for step in range(100)]
    assert rates[0] < 0.11
    assert max(rates) == pytest.approx(rates[9], abs=0.03)
    assert rates[99] < 0.001
    assert all(a >= b for a, b in pairwise(rates[10:]))

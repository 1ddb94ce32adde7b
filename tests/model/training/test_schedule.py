"""When the learning rate rises, stays and falls, and when a training ends: by hand, without a network."""

import pytest

from model.training.schedule import CAP, PLATEAU, Lengths, Schedule


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    schedule = Schedule(250, peak=1.0, cap=20, patience=1)
    assert schedule.lengths == Lengths(warmup=100, patience=1, decay=2, cap=20)
    assert [schedule.rate(step) for step in (0, 49, 99, 100, 700)] == [0.01, 0.5, 1.0, 1.0, 1.0]
    for epoch, loss in enumerate([2.0, 1.0, 0.9], 1):
        schedule.epoch_done(epoch, loss=loss)
        assert not schedule.falling
    schedule.epoch_done(4, loss=0.95)
    assert schedule.falling
    assert (schedule.last_epoch, schedule.ended) == (6, PLATEAU)
    assert [schedule.rate(step) for step in (1_000, 1_250, 1_499)] == [1.0, 0.5, pytest.approx(1 / 500)]


def test_a_better_f1_is_progress_where_the_loss_is_not() -> None:
    schedule = Schedule(250, peak=1.0, cap=20, patience=1)
    for epoch, f1 in enumerate([0.5, 0.6, 0.605], 1):
        schedule.epoch_done(epoch, loss=float(epoch), score=f1)
        assert not schedule.falling
    schedule.epoch_done(4, loss=4.0, score=0.609)
    assert schedule.falling


def test_a_loss_that_is_hardly_lower_is_no_progress() -> None:
    schedule = Schedule(250, peak=1.0, cap=20, patience=1)
    schedule.epoch_done(1, loss=1.0)
    schedule.epoch_done(2, loss=0.99)
    assert schedule.falling


def test_at_the_cap_the_rate_falls_whatever_the_progress_and_the_end_says_so() -> None:
    schedule = Schedule(250, peak=1.0, cap=4, patience=1)
    for epoch in range(1, 5):
        schedule.epoch_done(epoch, loss=1.0 / epoch)
        assert schedule.falling == (epoch >= 2)
    assert (schedule.last_epoch, schedule.ended) == (4, CAP)


def test_a_training_that_has_stopped_getting_better_before_its_cap_is_not_called_still_improving() -> None:
    schedule = Schedule(250, peak=1.0, cap=4, patience=1)
    for epoch, loss in enumerate([1.0, 0.5, 0.6, 0.7], 1):
        schedule.epoch_done(epoch, loss=loss)
    assert (schedule.last_epoch, schedule.ended) == (4, PLATEAU)


def test_one_epoch_is_all_fall() -> None:
    schedule = Schedule(100, peak=1.0, cap=1, patience=1)
    assert schedule.lengths == Lengths(warmup=10, patience=1, decay=1, cap=1)
    assert schedule.rate(50) == 0.5


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (3, Lengths(warmup=30, patience=34, decay=10, cap=100)),
        (53, Lengths(warmup=100, patience=2, decay=9, cap=38)),
        (2_000, Lengths(warmup=100, patience=1, decay=1, cap=20)),
    ],
)
def test_epochs_of_few_rows_count_less(steps: int, expected: Lengths) -> None:
    assert Lengths.of(steps, cap=None, patience=1) == expected


def test_patience_that_is_asked_for_is_had() -> None:
    schedule = Schedule(250, peak=1.0, cap=20, patience=3)
    schedule.epoch_done(1, loss=1.0)
    for epoch in (2, 3):
        schedule.epoch_done(epoch, loss=1.0)
        assert not schedule.falling
    schedule.epoch_done(4, loss=1.0)
    assert schedule.falling


@pytest.mark.parametrize(("steps", "cap"), [(1, None), (3, 2), (1, 1)])
def test_a_small_training_that_stands_still_is_not_said_to_improve(steps: int, cap: int | None) -> None:
    schedule = Schedule(steps, peak=1e-4, cap=cap, patience=1)
    epoch = 0
    while epoch < schedule.last_epoch:
        epoch += 1
        schedule.epoch_done(epoch, loss=1.0)
    assert epoch <= schedule.lengths.cap
    lengths = schedule.lengths
    # Within the warm-up nothing is said about progress, and one epoch is none.
    short = epoch * steps <= lengths.warmup or epoch <= lengths.patience
    assert schedule.ended == (CAP if short else PLATEAU)

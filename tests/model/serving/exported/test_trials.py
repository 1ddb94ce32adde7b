"""The trials find what a row's scores depend on besides the row, on functions whose answer is plain."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import CheckpointError
from model.serving.exported.rows import Special, trial_rows
from model.serving.exported.scores import TOLERANCE
from model.serving.exported.trials import Trials

VOCABULARY = 200
SPECIAL = Special(start=2, end=3, pad=0)


WORDS = np.random.default_rng(7).normal(size=(VOCABULARY, 4)).astype(np.float32)
PLACES = np.random.default_rng(8).normal(size=(1_000, 1)).astype(np.float32)


Function = Callable[..., np.ndarray]


def sound(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    place = np.arange(tokens.shape[1])
    mask = (place < lengths[:, None])[:, :, None]
    second = (place >= first_segment[:, None])[:, :, None]
    rows = WORDS[tokens] * PLACES[: tokens.shape[1]] + second
    return (rows * mask).sum(axis=1) / mask.sum(axis=1)


def padding_counts(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    return (WORDS[tokens] * PLACES[: tokens.shape[1]]).mean(axis=1)


def sees_the_next(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    behind = np.pad(WORDS[tokens], [(0, 0), (0, 1), (0, 0)])[np.arange(len(tokens)), lengths]
    return sound(tokens, lengths, first_segment) + behind / 100


def over_the_batch(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    found = sound(tokens, lengths, first_segment)
    return found - found.mean(axis=0)


def by_place(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    return sound(tokens, lengths, first_segment) + np.arange(len(tokens))[:, None]


def the_first_only(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    """Alone, and in the batch, every row but one is as it should be."""
    found = sound(tokens, lengths, first_segment)
    found[-1] += 0.1 * (len(tokens) > 1)
    return found


def one_row_in_large_batches(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    return sound(tokens, lengths, first_segment) + 0.001 * (len(tokens) > 9)


class Chance:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)

    def __call__(self, tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
        return sound(tokens, lengths, first_segment) + 1e-3 * self.rng.random()


def no_number(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    found = sound(tokens, lengths, first_segment)
    found[tokens.max(axis=1) > 150] = np.nan
    return found


def one_row_only(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    if len(tokens) > 9:
        raise ValueError("too many")
    return sound(tokens, lengths, first_segment)


def trials(score: Any, length: int | None = None, special: Special = SPECIAL, **settings: Any) -> Trials:
    return Trials(
        origin="it", score=score, behind=score, special=special, vocabulary=VOCABULARY, length=length, **settings
    )


PAIRS = trial_rows(SPECIAL, VOCABULARY, 64, pairs=True)
SINGLES = trial_rows(SPECIAL, VOCABULARY, 64, pairs=False)


@pytest.mark.parametrize("rows", [PAIRS, SINGLES])
def test_a_sound_network_is_proved_by_six_numbers(rows: Any) -> None:
    proof = trials(sound).prove(rows)
    numbers = proof.numbers
    tried = {"again", "alone", "more_padding", "alone_padded", "another_batch", "reversed"}
    assert numbers.keys() == tried | {"behind", "tolerance", "rows", "longest"}
    assert numbers["behind"] is None
    assert all(0 <= numbers[name] <= 1e-6 for name in tried)
    assert (numbers["rows"], numbers["longest"], numbers["tolerance"]) == (9, 64, 1e-5)
    np.testing.assert_allclose(proof.scores, sound(rows.padded(64, 0), rows.lengths, rows.first_segment), atol=1e-6)


def slightly_over_the_batch(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    return sound(tokens, lengths, first_segment) + 5e-5 * (len(tokens) > 1)


def test_a_small_difference_is_said_to_be_rounding_perhaps_and_a_large_one_is_not() -> None:
    for score, said in ((slightly_over_the_batch, True), (over_the_batch, False)):
        with pytest.raises(CheckpointError) as error:
            trials(score).prove(PAIRS)
        assert ("may be the rounding of a large network" in str(error.value)) == said


UNSOUND: dict[str, tuple[Any, str]] = {
    "padding": (padding_counts, "the scores of a row depend on how far it is padded"),
    "the next token": (sees_the_next, "scores otherwise without padding than with one or more [PAD] behind it"),
    "the batch": (over_the_batch, "the rows of a batch change each other's scores"),
    "the place": (by_place, "the rows of a batch change each other's scores"),
    "one place": (the_first_only, "the rows of a batch change each other's scores"),
    "the number of rows": (one_row_in_large_batches, "the rows of a batch change each other's scores"),
    "chance": (Chance(), "the same rows score differently each time"),
    "no number": (no_number, "gives NaN or infinity"),
    "an error": (one_row_only, "its graph ends in ValueError"),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_what_depends_on_more_than_the_row_is_refused_for_its_reason(what: str) -> None:
    score, reason = UNSOUND[what]
    for rows in (PAIRS, SINGLES):
        with pytest.raises(CheckpointError) as error:
            trials(score).prove(rows)
        assert reason in str(error.value)
        assert str(error.value).count("\n") == 0


def test_a_fixed_length_leaves_no_padding_to_differ() -> None:
    numbers = trials(padding_counts, 64).prove(PAIRS).numbers
    assert (numbers["alone"], numbers["more_padding"]) == (None, None)
    assert numbers["alone_padded"] <= TOLERANCE
    with pytest.raises(CheckpointError, match="change each other's"):
        trials(over_the_batch, 64).prove(PAIRS)


def inverted(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    mask = (np.arange(tokens.shape[1]) >= lengths[:, None])[:, :, None]
    return (WORDS[tokens] * mask).sum(axis=1) / np.maximum(1, mask.sum(axis=1))


def swapped(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    """The mask is wired to the types, and the types to the mask; a softmax of nothing is the mean of everything."""
    place = np.arange(tokens.shape[1])
    real, second = place < lengths[:, None], (place >= first_segment[:, None]) & (place < lengths[:, None])
    kept = np.where(second.any(axis=1)[:, None], second, True)[:, :, None]
    return ((WORDS[tokens] + real[:, :, None]) * kept).sum(axis=1) / kept.sum(axis=1)


def zero_is_padding(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
    mask = (tokens != 0)[:, :, None]
    return (WORDS[tokens] * mask).sum(axis=1) / mask.sum(axis=1)


@pytest.mark.parametrize("rows", [PAIRS, SINGLES])
@pytest.mark.parametrize("score", [inverted, swapped])
def test_a_mask_of_a_fixed_length_that_is_wired_wrongly_is_found_by_what_stands_behind_a_row(
    score: Function, rows: Any
) -> None:
    with pytest.raises(CheckpointError, match=r"other ids behind a row change its scores .* although the mask says"):
        trials(score, 80).prove(rows)
    proof = trials(sound, 80).prove(rows)
    assert (proof.numbers["behind"] or 0) <= 1e-7
    assert proof.notes == ()


def test_a_fixed_length_without_a_mask_is_padded_with_0_or_refused() -> None:
    for score, masked, said in ((zero_is_padding, False, 0), (padding_counts, True, 1)):
        proof = trials(score, 80, masked=masked).prove(SINGLES)
        assert (proof.numbers["behind"], len(proof.notes)) == (None, said)
        elsewhere = Special(start=2, end=3, pad=5)
        with pytest.raises(
            CheckpointError, match=r"\[PAD\] is token 5 of the vocabulary, where a network may look for"
        ):
            trials(score, 80, elsewhere, masked=masked).prove(SINGLES)
    # A mask that is read needs no 0.
    trials(sound, 80, Special(start=2, end=3, pad=5)).prove(SINGLES)


def with_a_table(rows: int, beyond: str) -> Function:
    def score(tokens: np.ndarray, lengths: np.ndarray, first_segment: np.ndarray) -> np.ndarray:
        if beyond == "raises" and not (tokens.min() >= 0 and tokens.max() < rows):
            raise ValueError("out of range")
        if beyond == "begins anew":
            tokens = tokens % rows
        words = WORDS[np.clip(tokens, 0, rows - 1)]
        if beyond == "is zero":
            words = words * ((tokens >= 0) & (tokens < rows))[:, :, None]
        return words.sum(axis=1)

    return score


def test_a_network_whose_scores_no_token_changes_is_refused() -> None:
    with pytest.raises(CheckpointError, match="scores rows of different tokens exactly alike; is the mask wired"):
        trials(inverted, 80).check_last_token()


@pytest.mark.parametrize("beyond", ["is the last", "is zero"])
def test_a_table_that_is_too_short_and_never_fails_is_found(beyond: str) -> None:
    for rows in (150, 198, 199):
        with pytest.raises(CheckpointError, match="scores token 199, the last of the vocabulary, exactly like"):
            trials(with_a_table(rows, beyond)).check_last_token()
    trials(with_a_table(200, beyond)).check_last_token()


def test_a_table_of_the_right_size_is_taken_whatever_it_does_beyond() -> None:
    for beyond in ("raises", "begins anew"):
        trials(with_a_table(200, beyond)).check_last_token()


@given(
    vocabulary=st.integers(6, 3_000),
    longest=st.integers(3, 200),
    pairs=st.booleans(),
)
def test_trial_rows_are_of_all_lengths_and_from_all_over_the_vocabulary(
    vocabulary: int, longest: int, pairs: bool
) -> None:
    rows = trial_rows(SPECIAL, vocabulary, longest, pairs=pairs)
    again = trial_rows(SPECIAL, vocabulary, longest, pairs=pairs)
    lengths = rows.lengths
    assert all((one == other).all() for one, other in zip(rows.tokens, again.tokens, strict=True))
    assert (lengths.max(), lengths.min() >= min(longest, 3)) == (longest, True)
    assert longest < 15 or len(set(lengths.tolist())) > 5
    for row, first in zip(rows.tokens, rows.first_segment, strict=True):
        assert (row[0], row[-1], row[first - 1]) == (SPECIAL.start, SPECIAL.end, SPECIAL.end)
        assert row.dtype == np.int32
        assert 0 < row.min() <= row.max() < vocabulary
        assert first == len(row) or pairs
    seen = np.unique(np.concatenate(rows.tokens))
    # [CLS] and [SEP] may come up once more, and the [SEP] inside of a pair stands in the place of another token.
    assert len(seen) >= min(vocabulary - 1, int((lengths - 2).sum())) - 2 - len(lengths) * pairs
    if pairs and longest > 12:
        assert {bool(first == length) for first, length in zip(rows.first_segment, lengths, strict=True)} == {
            True,
            False,
        }


@given(limit=st.integers(3, 700), wanted=st.none() | st.integers(3, 900))
def test_the_most_tokens_of_a_row_are_found_by_trying(limit: int, wanted: int | None) -> None:
    def score(tokens: np.ndarray, *more: np.ndarray) -> np.ndarray:
        if tokens.shape[1] > limit:
            raise ValueError("positions")
        return sound(tokens, *more)

    assert trials(score).find_longest(wanted) == min(limit, max(512, wanted or 0))
    assert trials(sound, 20).find_longest(wanted) == 20


def test_what_scores_no_short_row_is_refused() -> None:
    def score(tokens: np.ndarray, *more: np.ndarray) -> np.ndarray:
        raise ValueError("never")

    with pytest.raises(CheckpointError, match="does not score a row of 3 tokens"):
        trials(score).find_longest(None)


@pytest.mark.parametrize(("missing", "named"), [(199, 199), (150, 150), (1, 3)])
def test_a_token_without_a_place_in_the_network_is_named(missing: int, named: int) -> None:
    def score(tokens: np.ndarray, *more: np.ndarray) -> np.ndarray:
        if tokens.max() >= missing:
            raise ValueError("out of range")
        return sound(tokens, *more)

    with pytest.raises(CheckpointError, match=r"does not score token \d+ of the vocabulary, which has 200"):
        trials(score).check_vocabulary()


@pytest.mark.parametrize(
    ("form", "outputs"),
    [
        (lambda found: found, 4),
        (lambda found: found[:, 0], 1),
        (lambda found: found[:, :1], 1),
        (lambda found: found[:, :, None], None),
        (lambda found: found[:2], None),
        (lambda found: found[:, :0], None),
        (lambda found: found.sum(), None),
    ],
)
def test_a_row_of_numbers_for_each_row_is_needed(form: Function, outputs: int | None) -> None:
    found = trials(lambda *rows: form(sound(*rows)))
    if outputs is not None:
        assert found.check_shape() == outputs
    else:
        with pytest.raises(CheckpointError, match=r"for 3 rows, and must give one number for each label and row"):
            found.check_shape()


def test_a_network_of_single_rows_is_refused_before_its_outputs_are_counted() -> None:
    def score(tokens: np.ndarray, *more: np.ndarray) -> np.ndarray:
        if len(tokens) > 1:
            raise ValueError("one row")
        return sound(tokens, *more)

    with pytest.raises(CheckpointError, match="scores a single row, but its graph ends in ValueError for 3 rows"):
        trials(score).check_shape()

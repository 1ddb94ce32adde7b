"""What is cheap to know of a text: its digits, its URLs, and its letters of other scripts than Latin."""

import itertools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.measures import MEASURE, MILLION, Measured, Rows

LONGEST = 65_536
"""Characters of a text that are looked at, from its beginning."""
_PORTION_BYTES = 512 * 1024
_GREEK = 0x370
"""The first letter of another script: all that come before are Latin, or modify Latin ones."""
_LETTERS_END = 0x32400
"""No letter comes later: a whole number of pages, and the last code point before it is none."""
_COLON, _SLASH = ord(":"), ord("/")

Counts = npt.NDArray[np.int64]


class Traits(NamedTuple):
    """Of each text, int64 [B]: characters, and of them digits (ASCII), letters that are not Latin; `://` in it."""

    characters: Counts
    digits: Counts
    other_scripts: Counts
    urls: Counts


def measure(texts: Sequence[pa.Array], unknown_tokens: Counts, sample: Rows) -> Measured:
    """What goes with each row (MEASURE [B]), of its one or two texts together and its number of unknown tokens.

    Only the texts of the `sample` are looked at.
    """
    chosen = pa.array(sample)
    parts = [traits(column.take(chosen)) for column in texts]
    whole = parts[0] if len(parts) == 1 else Traits(*(sum(of_texts) for of_texts in zip(*parts, strict=True)))
    measured = np.zeros(len(unknown_tokens), MEASURE)
    measured["unknown_tokens"], measured["urls"][sample] = unknown_tokens, whole.urls
    for name, counted in (("digits", whole.digits), ("other_scripts", whole.other_scripts)):
        # Most texts have none, and a division of integers is slow.
        (some,) = np.nonzero(counted)
        measured[name][sample[some]] = counted[some] * MILLION // whole.characters[some]
    return measured


def count_tokens(token: int, values: npt.NDArray[np.int32], offsets: Counts) -> Counts:
    """How often each row `values[offsets[r]:offsets[r + 1]]` has the token, int64 [B]."""
    return _counted(np.flatnonzero(values == token), offsets)


def traits(texts: pa.Array) -> Traits:
    """Traits of a column of strings without nulls: of the first LONGEST characters of each."""
    offsets = _offsets(texts)
    if np.diff(offsets).max(initial=0) > LONGEST:
        texts = pc.utf8_slice_codeunits(texts, 0, LONGEST)
        offsets = _offsets(texts)
    if not len(texts) or offsets[0] == offsets[-1]:
        return Traits(*(np.zeros(len(texts), np.int64) for _ in Traits._fields))
    data = np.frombuffer(texts.buffers()[2], np.uint8)
    if offsets[-1] - offsets[0] <= _PORTION_BYTES:
        return _of(data, offsets)
    # Positions take eight bytes each: portions of rows, so that large batches need no more memory for them.
    cuts = np.flatnonzero(np.diff((offsets - offsets[0]) // _PORTION_BYTES)) + 1
    ends = [0, *cuts[cuts < len(texts)].tolist(), len(texts)]
    parts = [_of(data, offsets[start : end + 1]) for start, end in itertools.pairwise(ends)]
    return Traits(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _offsets(texts: pa.Array) -> npt.NDArray[np.int32]:
    return np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]


def _of(whole: npt.NDArray[np.uint8], ends: npt.NDArray[np.int32]) -> Traits:
    data, offsets = whole[ends[0] : ends[-1]], ends.astype(np.int64) - ends[0]
    # Digits and the colon are neighbours: one pass finds both.
    places = np.flatnonzero(data - np.uint8(ord("0")) <= _COLON - ord("0"))
    characters, urls, other_scripts = np.diff(offsets), *np.zeros((2, len(offsets) - 1), np.int64)
    is_colon = data[places] == _COLON
    if is_colon.any():
        urls, places = _urls(data, places[is_colon], offsets), places[~is_colon]
    digits = _counted(places, offsets)
    if data.max(initial=0) >= 0x80:
        beyond = np.flatnonzero(data >= 0x80)
        # What is left of UTF-8 without ASCII is UTF-8.
        points = np.frombuffer(data[beyond].tobytes().decode().encode("utf-32-le"), np.uint32)
        first = beyond[data[beyond] >= 0xC0]
        characters = characters - _counted(beyond, offsets) + _counted(first, offsets)
        other_scripts = _counted(first[_LETTERS.outside_latin(points)], offsets)
    return Traits(characters, digits, other_scripts, urls)


def _urls(data: npt.NDArray[np.uint8], colons: npt.NDArray[np.intp], offsets: Counts) -> Counts:
    colons = colons[colons < len(data) - 2]
    colons = colons[(data[colons + 1] == _SLASH) & (data[colons + 2] == _SLASH)]
    # Not where the slashes are the next row's.
    colons = colons[np.searchsorted(offsets, colons, "right") == np.searchsorted(offsets, colons + 2, "right")]
    return _counted(colons, offsets)


def _counted(places: npt.NDArray[np.intp], offsets: Counts) -> Counts:
    """How many of the sorted places each row has."""
    if not len(places):
        return np.zeros(len(offsets) - 1, np.int64)
    if len(places) < len(offsets):
        return np.bincount(np.searchsorted(offsets, places, "right") - 1, minlength=len(offsets) - 1)
    return np.diff(np.searchsorted(places, offsets))


class _Letters:
    """Which code points are letters of another script; each page of 256 is looked up when it is first met."""

    def __init__(self) -> None:
        self._outside = np.zeros(_LETTERS_END, np.bool_)
        self._known: set[int] = set()

    def outside_latin(self, points: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        """bool [N]."""
        found = np.minimum(points, _LETTERS_END - 1)
        for page in {*np.unique(found >> 8).tolist()} - self._known:
            whole = range(page << 8, (page + 1) << 8)
            self._outside[page << 8 : (page + 1) << 8] = [_is_outside_latin(point) for point in whole]
            # Last: another thread must not take the page for one that is filled.
            self._known.add(page)
        return self._outside[found]


def _is_outside_latin(point: int) -> bool:
    letter = chr(point)
    return point >= _GREEK and letter.isalpha() and "LATIN " not in unicodedata.name(letter, "")


_LETTERS = _Letters()

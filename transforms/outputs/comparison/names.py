"""What all files of a comparison stand on: numbers of labels, the error, a column."""

import pyarrow as pa

TEXT_HASH = "text_hash"
"""The column that tells whether an id has the same text on both sides."""


class SideError(ValueError):
    """A published date cannot be compared; the message names it and says why."""


class Names:
    """Numbers of the labels of both sides, in the order in which they were met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def names(self) -> list[str]:
        return list(self._numbers)

    def numbered(self, labels: pa.Array) -> pa.Array:
        """int32 with the number of each label, null for null."""
        encoded = labels if pa.types.is_dictionary(labels.type) else labels.dictionary_encode()
        met = [self._numbers.setdefault(label, len(self._numbers)) for label in encoded.dictionary.to_pylist()]
        return pa.array(met, pa.int32()).take(encoded.indices)

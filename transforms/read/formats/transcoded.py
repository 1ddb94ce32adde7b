"""A text file of another encoding as a stream of UTF-8."""

import codecs
from typing import Any

from transforms.errors import NotWhatItClaimsError
from transforms.read.formats.blocks import ByteStream
from transforms.runs.plan import Piece

_UNDECODABLE = "bert-batch-undecodable"


def text_stream(file: Any, piece: Piece, encoding: str) -> "TextStream":
    """The bytes of `piece` as UTF-8, decompressed; what cannot be decoded is a byte that UTF-8 does not have."""
    stream = ByteStream(file, piece.file, piece.compression, piece.start)
    return stream if encoding == "utf-8" else Transcoded(stream, piece.file, encoding, piece.end - piece.start)


class Transcoded:
    """The next `left` bytes of a stream, all if that is negative, as UTF-8."""

    def __init__(self, stream: ByteStream, name: str, encoding: str, left: int = -1) -> None:
        self._stream, self._name, self._left = stream, name, left
        self._decoder: Any = codecs.getincrementaldecoder(encoding)(_UNDECODABLE)

    def read(self, size: int) -> bytes:
        """What `size` bytes of the file become, nothing at the end; raises NotWhatItClaimsError as ByteStream.read."""
        while raw := self._stream.read(size if self._left < 0 else min(size, self._left)):
            self._left = max(self._left - len(raw), 0) if self._left >= 0 else -1
            if text := self._decode(raw):
                return text
        return self._decode(b"", final=True)

    def _decode(self, raw: bytes, *, final: bool = False) -> bytes:
        try:
            return bytes(self._decoder.decode(raw, final).encode("utf-8", "surrogateescape"))
        except UnicodeError as error:
            # The only error there is: what cannot be decoded is replaced.
            raise NotWhatItClaimsError(
                f"{self._name}: has no byte order mark, which --encoding utf-16 needs; say utf-16-le or utf-16-be"
            ) from error


TextStream = ByteStream | Transcoded


def _no_byte_of_utf8(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    # `surrogateescape` makes the byte 0xFF of it, and the validation finds that row.
    return "\udcff", error.end


codecs.register_error(_UNDECODABLE, _no_byte_of_utf8)

"""A file that knows its size and checksum when it has been written."""

from typing import Any, BinaryIO

import google_crc32c


class Checksummed:
    """A writable file that counts and sums what passes; closing it closes what is under it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.size, self._crc = file, 0, 0

    @property
    def checksum(self) -> str:
        """`crc32c:` and eight hex digits, of what was written so far."""
        return f"crc32c:{self._crc:08x}"

    def write(self, data: Any) -> int:
        data = bytes(data)
        self._file.write(data)
        self.size += len(data)
        self._crc = google_crc32c.extend(self._crc, data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed

"""Makes text from outside (names of files, ids, labels, manifests, error messages) safe for a terminal or a log.

Characters that move the cursor, begin a new line, or turn the direction of reading are escaped: a file may have a name
that looks like another one, or like a line of ours.
"""

import json
import re
from typing import Any

# Control characters, and what Unicode has for line breaks, directions of reading, and invisible tags.
_HIDDEN = "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_CONTROL = "\x00-\x1f\x7f-\x9f"
_UNSAFE = re.compile(f"[{_CONTROL}{_HIDDEN}\ud800-\udfff]")
# In JSON line breaks and tabs between the values are ours; those in values have been escaped.
_UNSAFE_IN_JSON = re.compile(f"[\x7f-\x9f{_HIDDEN}\ud800-\udfff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escaped(text: str) -> str:
    r"""`text` with `\x1b`, `\n`, `\u202e` in place of what a terminal would act on; the rest stays as it is.

    A byte of a file name that is no UTF-8 is shown as `\xff`.
    """
    return _UNSAFE.sub(lambda found: _shown(found[0]), text)


def json_text(document: Any, indent: int | None = None) -> str:
    r"""`document` as JSON in which hidden characters are `\u202e`; readers of the JSON get them as they were."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    return _UNSAFE_IN_JSON.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _shown(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # How Python keeps a byte that it cannot decode.
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"

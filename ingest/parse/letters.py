"""Letters as people type them: ligatures taken apart, invisible characters out. Applied before anything is located.

A quote is compared with the text that is stored, and that is this one, so a span still holds exactly its words.
Kept: the joiners U+200C and U+200D, which change Persian and Indic words and emoji. Removed: soft hyphens, zero-width
spaces, byte-order marks, tag characters (an invisible second ASCII), and direction marks: text is in logical order, and
the marks can make it look like another.
"""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_LIGATURES = re.compile(
    "[\ufb00-\ufb06\ufb13-\ufb17\ufb1d\ufb1f\ufb20-\ufb28\ufb2a-\ufb4f\ufb50-\ufbb1\ufbd3-\ufd3d\ufdf0-\ufdff\ufe70-\ufefc]+"
)


def normalised(text: str) -> str:
    """`text` without invisible characters, and with Latin, Armenian, Hebrew and Arabic ligatures as plain letters.

    Ligatures are replaced by Unicode's compatibility form (NFKC); no other character is touched.
    """
    if text.isascii():
        return text
    return _LIGATURES.sub(lambda match: unicodedata.normalize("NFKC", match.group()), _INVISIBLE.sub("", text))

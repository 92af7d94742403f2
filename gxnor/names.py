"""Names that a program may carry: of classes and of its data set. They are printed on terminals and written into files of
many kinds, so they must be text, and text that stays where it is printed.

Letters of any script, spaces of any width, and the joiners and selectors of emoji and of Persian or Indic scripts are
names; control characters, line breaks, marks that turn the direction of writing, and halves of characters (which names of
files that are not UTF-8 become) are not. The rule does not depend on the version of Unicode that Python knows.
"""

from __future__ import annotations

_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_BREAKS = "\u2028\u2029"


def wrong_character(name: str) -> str | None:
    """The first character that keeps a text from being a name, such as "U+0009"; None for a name."""
    for character in name:
        code = ord(character)
        control = code < 0x20 or 0x7F <= code < 0xA0
        if control or 0xD800 <= code < 0xE000 or character in _DIRECTIONS or character in _BREAKS:
            return f"U+{code:04X}"
    return None

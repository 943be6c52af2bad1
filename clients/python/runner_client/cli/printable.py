"""Text of others on our terminal: names, tags and messages come from whoever made them."""

from __future__ import annotations


def printable(text: str) -> str:
    """Returns the text on one line, with `?` in place of what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)

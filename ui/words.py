"""Text as HTML that is only text."""

from __future__ import annotations

from html import escape


def say(text: str, css: str = "sr-say") -> str:
    """Text as one paragraph of HTML in which nothing of the text is markup."""
    return f'<p class="{css}">{escape(text)}</p>'

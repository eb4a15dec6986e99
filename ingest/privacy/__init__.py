"""Personal data in a text: where it stands and of what kind it is.

`find` is all that the rest of the product knows. Numbers with a form or a check digit come from Presidio's local
recognisers (`numbers`), names, addresses and dates of birth from word lists and rules of our own (`words`). Nothing is
downloaded and no model runs: names that no list knows and that no title introduces are not found.
"""

from ingest.privacy.find import DETECTOR, find

__all__ = ["DETECTOR", "find"]

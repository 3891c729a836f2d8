"""Names phantom cases, and knows them by it: numbers from 90001 on are no patients of the challenge."""

from __future__ import annotations

import re

FIRST_NUMBER = 90_001
MOST = 9999  # numbers of five digits that are left
_NAMED = re.compile(r"BraTS-MET-(\d{5})-000")


def phantom_name(index: int) -> str:
    """Returns the name of phantom patient `index`, from 0 to MOST - 1."""
    return f"BraTS-MET-{FIRST_NUMBER + index:05d}-000"


def is_phantom(case: str) -> bool:
    """Returns whether a case has a name that `mets3d synth` gives."""
    found = _NAMED.fullmatch(case)
    return found is not None and int(found.group(1)) >= FIRST_NUMBER

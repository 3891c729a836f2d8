"""Nouns and verbs agree with their numbers, by one helper."""

from __future__ import annotations

import re
from pathlib import Path

import mets3d
from mets3d.wording import agreed, counted, joined


def test_nouns_and_verbs_agree_with_their_numbers() -> None:
    assert [counted(amount, "case") for amount in (0, 1, 2, 1296)] == ["0 cases", "1 case", "2 cases", "1,296 cases"]
    assert [counted(amount, "entry", "entries") for amount in (1, 2)] == ["1 entry", "2 entries"]
    assert [agreed(amount, "is", "are") for amount in (0, 1, 1.5, 2)] == ["are", "is", "are", "are"]
    lists: list[list[str]] = [[], ["WT"], ["WT", "TC"], ["WT", "TC", "ET"]]
    assert [*map(joined, lists)] == ["", "WT", "WT and TC", "WT, TC and ET"]


BY_HAND = re.compile(
    r"""['"]e?s['"] \* \(|['"](is|was|has|its)['"] if """
    r"""|\} [a-z-]*(cases|runs|patients|lesions|scans|files) (are|were|have)\b"""
)


def test_no_other_file_makes_them_agree_by_hand() -> None:
    root = Path(mets3d.__file__).parent
    lines = [
        f"{file.relative_to(root)}: {line.strip()}"
        for file in sorted(root.rglob("*.py"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if BY_HAND.search(line)
    ]
    assert lines == [], "use mets3d.wording"

"""Messages on the page of troubles: each is still in the code, word for word."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.builders.runs import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
STEMS = re.findall(r"^\| `([^`]+)` \|", PAGE, re.M)


@cache
def literals() -> tuple[str, ...]:
    """Every piece of text in the code, parts of f-strings among them, as Python joins them; docstrings left out.

    The scripts of the image are one piece each.
    """
    found = [file.read_text(encoding="utf-8") for file in (ROOT / "deploy").glob("*.sh")]
    for file in (ROOT / "mets3d").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
                found.append(node.value)
    return tuple(found)


def test_the_page_has_the_common_messages() -> None:
    assert len(STEMS) == len(set(STEMS)) >= 50


@pytest.mark.parametrize("stem", STEMS)
def test_message_is_in_the_code(stem: str) -> None:
    assert any(stem in text for text in literals()), "reworded or gone: take the page along"


def test_the_image_s_own_messages_are_there() -> None:
    for script in ("entrypoint.sh", "healthcheck.sh"):
        text = (ROOT / "deploy" / script).read_text(encoding="utf-8")
        assert [stem for stem in STEMS if stem in text], script


def test_every_row_has_cause_and_remedy() -> None:
    for row in re.findall(r"^\| `.*$", PAGE, re.M):
        message, cause, remedy = re.split(r"(?<!\\) \| ", row.strip("| "))
        assert min(map(len, (message, cause, remedy))) > 3, row

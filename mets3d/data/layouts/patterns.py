"""Matches paths against patterns such as `{patient}/{visit}/*_T1.nii.gz`, which say what belongs to which case."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|\{(?P<name>[^{}]*)\}")


@dataclass(frozen=True)
class PathPattern:
    """A pattern of paths relative to a folder, with slashes.

    `{name}` stands for text within one part of the path, the same wherever the name comes again; `*` for any text and
    `?` for one letter within one part, `**/` for any folders or none.
    """

    text: str

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the names in braces, each once."""
        return tuple(dict.fromkeys(match["name"] for match in _PIECE.finditer(self.text) if match["name"] is not None))

    @property
    def fault(self) -> str | None:
        """Returns what is wrong with the pattern."""
        if self.text.startswith(("/", "~")) or ".." in self.text.split("/"):
            return "a path relative to the folder of dataset.yaml, without .."
        wrong = [name for name in self.names if not re.fullmatch(r"[A-Za-z]\w*", name)]
        if wrong or re.search(r"[{}]", _PIECE.sub("", self.text)):
            return "names of letters and digits in braces, as {case}"
        return None

    def match(self, path: str) -> dict[str, str] | None:
        """Returns the text that each name stands for in a path, None where the path does not match."""
        match = self._expression.fullmatch(unicodedata.normalize("NFC", path))
        return match.groupdict() if match else None

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        text, pieces, end, known = unicodedata.normalize("NFC", self.text), [], 0, set()
        for match in _PIECE.finditer(text):
            pieces.append(re.escape(text[end : match.start()]))
            end, name = match.end(), match["name"]
            if name is None:
                pieces.append({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}[match[0]])
            else:
                pieces.append(f"(?P={name})" if name in known else f"(?P<{name}>[^/]+?)")
                known.add(name)
        return re.compile("".join([*pieces, re.escape(text[end:])]), re.DOTALL)


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """Returns a template such as `{patient}_{visit}` with its names replaced."""
    return _PIECE.sub(lambda match: values.get(match["name"] or "", match[0]), template)

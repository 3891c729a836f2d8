"""Proposes a dataset.yaml for images of no known layout: guesses sequences by words in names, and cases by the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mets3d.data import DataError
from mets3d.data.case import SEQUENCES
from mets3d.data.layouts.layout import Found
from mets3d.data.layouts.own import NAME, layout_of
from mets3d.data.layouts.words import REFERENCE, kind_of
from mets3d.data.tree import Tree, stem_of

_MOST_LOOKED_AT = 2000  # images; patterns repeat long before
_MOST_WORDS = 4  # in a row that may together name a sequence, as in T2_FLAIR

Patterns = dict[str, str]


@dataclass(frozen=True)
class _Spotted:
    """An image's path in pieces, with the pieces that name its sequence.

    parts: for each folder and the file's stem its words and what separates them, alternately. part, first, last: where
    the words that name the sequence are.
    """

    parts: tuple[tuple[str, ...], ...]
    suffix: str
    kind: str
    part: int
    first: int
    last: int


def propose(tree: Tree) -> str:
    """Returns the text of a dataset.yaml that finds cases in a folder's images.

    Where no sequence can be guessed it is an example with the names of files that are there, to be completed.
    """
    spotted = list(_spotted(tree))
    best: tuple[tuple[int, int], Patterns] = ((0, 0), {})
    for patterns in _guesses(spotted):
        best = max(best, (_cases_and_files(tree, patterns), patterns), key=lambda guess: guess[0])
    if not best[1]:
        return _example(_paths(tree))
    told = {"/".join(map("".join, image.parts)) + image.suffix for image in spotted}
    return _as_text(best[1], tree.root, [path for path in _paths(tree) if path not in told])


# ---------------------------------------------------------------- words in paths


def _paths(tree: Tree) -> list[str]:
    paths = [
        (folder.place / image).relative_to(tree.root).as_posix() for folder in tree.folders for image in folder.images
    ]
    return paths[:_MOST_LOOKED_AT]


def _spotted(tree: Tree) -> Iterator[_Spotted]:
    """Yields the images in whose path a word for a sequence or reference is: in the name before a folder's."""
    for path in _paths(tree):
        *folders, name = path.split("/")
        stem = stem_of(name) or ""
        parts = tuple(tuple(re.split(r"([-_. ]+)", part)) for part in (*folders, stem))
        where = next((found for n in reversed(range(len(parts))) if (found := _word_in(parts[n], n))), None)
        if where is not None:
            kind, part, first, last = where
            yield _Spotted(parts, name[len(stem) :], kind, part, first, last)


def _word_in(words: Sequence[str], part: int) -> tuple[str, int, int, int] | None:
    """Returns what the longest word for a sequence in a name means, and where it is; of equals the last one."""
    found = []
    for first in range(0, len(words), 2):
        for last in range(first, min(first + 2 * _MOST_WORDS, len(words)), 2):
            kind = kind_of("".join(words[first : last + 1]))
            if kind is not None:
                found.append((last - first, first, kind, last))
    if not found:
        return None
    _, first, kind, last = max(found)
    return kind, part, first, last


# ---------------------------------------------------------------- patterns


def _guesses(spotted: Sequence[_Spotted]) -> Iterator[Patterns]:
    """Yields patterns under each idea of where the case's name is: a folder, or what is left of the file's name."""
    ideas: list[Callable[[_Spotted], Iterator[str]]] = [partial(_case_is_folder, up=up) for up in (1, 2, 3)]
    for guess in [*ideas, _case_is_rest_of_name, _case_is_rest_of_folder]:
        by_kind: dict[str, Counter[str]] = {}
        for image in spotted:
            for pattern in guess(image):
                by_kind.setdefault(image.kind, Counter())[pattern] += 1
        patterns = {kind: counts.most_common(1)[0][0] for kind, counts in by_kind.items()}
        if patterns.keys() & set(SEQUENCES):
            yield patterns


def _case_is_folder(image: _Spotted, up: int) -> Iterator[str]:
    """Yields patterns in which the case is the folder so many above the words for the sequence."""
    if image.part < up:
        return
    case = "".join(image.parts[image.part - up])
    below = ["*"] * (up - 1) + [_with_stars(image, part, case) for part in range(image.part, len(image.parts))]
    yield "/".join(["**", "{case}", *below]) + image.suffix


def _case_is_rest_of_name(image: _Spotted) -> Iterator[str]:
    """Yields patterns in which the case is what stands before or after the words in the file's name."""
    words = image.parts[-1]
    if image.part != len(image.parts) - 1:
        folder = "".join(image.parts[image.part])
        between = ["**"] if image.part < len(image.parts) - 2 else []
        yield "/".join(["**", folder, *between, "{case}"]) + image.suffix
        return
    word = "".join(words[image.first : image.last + 1])
    before, after = words[: image.first], words[image.last + 1 :]
    if before:
        yield f"**/{{case}}{before[-1]}{word}{''.join(after)}{image.suffix}"
    if after:
        yield f"**/{''.join(before)}{word}{after[0]}{{case}}{image.suffix}"


def _case_is_rest_of_folder(image: _Spotted) -> Iterator[str]:
    """Yields patterns for folders such as P1_T1, in which files of any name lie."""
    words = image.parts[image.part]
    if image.part == len(image.parts) - 1 or len(words) == 1:
        return
    word = "".join(words[image.first : image.last + 1])
    before, after = words[: image.first], words[image.last + 1 :]
    below = "/".join(["**", "*"]) if image.part < len(image.parts) - 2 else "*"
    if before and not after:
        yield f"**/{{case}}{before[-1]}{word}/{below}{image.suffix}"
    if after and not before:
        yield f"**/{word}{after[0]}{{case}}/{below}{image.suffix}"


def _with_stars(image: _Spotted, part: int, case: str) -> str:
    """Returns a name in which only the words for the sequence and the case's name are left, `*` for the rest."""
    words = list(image.parts[part])
    if part != image.part:
        return "*"
    word = "".join(words[image.first : image.last + 1])
    before, after = "".join(words[: image.first]), "".join(words[image.last + 1 :])
    return _shortened(before, case) + word + _shortened(after, case)


def _shortened(text: str, case: str) -> str:
    """Returns the text before or after the words: the case in braces, the rest as it is or `*` if it has a digit."""
    named = text.replace(case, "{case}") if case else text
    pieces = re.split(r"(\{case\}|[-_. ]+)", named)
    starred = ["*" if re.search(r"\d", piece) else piece for piece in pieces]
    return re.sub(r"\*([-_. ]*\*)+", "*", "".join(starred))


# ---------------------------------------------------------------- the text


def _cases_and_files(tree: Tree, patterns: Mapping[str, str]) -> tuple[int, int]:
    """Returns how many files the patterns give to cases of more than one file, and minus the number of cases."""
    found = Found()
    try:
        layout_of(tree.root / NAME, _content(patterns)).find(tree.copy(), found)
    except DataError:
        return 0, 0
    cases = [placed.case for placed in found.cases]
    doubled = sum(finding.what == "scan there twice" for finding in found.findings)
    several = sum(len(case.sequences) + (case.labels is not None) for case in cases if len(case.sequences) > 1)
    single = sum(len(case.sequences) == 1 for case in cases)
    return 2 * several + single - doubled, -len(cases)


def _content(patterns: Mapping[str, str]) -> dict[str, object]:
    sequences = {sequence: patterns[sequence] for sequence in SEQUENCES if sequence in patterns}
    content: dict[str, object] = {"sequences": sequences}
    if REFERENCE in patterns:
        content["reference"] = patterns[REFERENCE]
    return content


def _as_text(patterns: Mapping[str, str], root: Path, untold: Sequence[str]) -> str:
    """Returns the file with the patterns, and as comments what no pattern is for and images of no known word."""
    lines = [
        f"# Save as {root / NAME} once every pattern is right; docs/data.md explains it.",
        "# {case} is the case's name, * any text, **/ any folders.",
    ]
    missing = [kind for kind in (*SEQUENCES, REFERENCE) if kind not in patterns]
    if missing and untold:
        words = ["reference" if kind == REFERENCE else kind for kind in missing]
        lines.append(f"# No pattern was found for {', '.join(words)}; add one if these images are it:")
        lines += [f"#   {image}" for image in _unlike(untold)]
    return "\n".join([*lines, _yaml(_content(patterns))])


def _unlike(images: Sequence[str]) -> list[str]:
    """Returns the first few of the images whose paths differ in more than their digits."""
    kinds = {re.sub(r"\d+", "0", image): image for image in reversed(images)}
    return sorted(kinds.values())[:5]


def _yaml(content: Mapping[str, object]) -> str:
    """Writes patterns a line each."""
    lines = []
    for key, value in content.items():
        if isinstance(value, dict):
            lines += [f"{key}:", *(f"  {name}: {_quoted(str(text))}" for name, text in value.items())]
        else:
            lines.append(f"{key}: {_quoted(str(value))}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _example(images: Sequence[str]) -> str:
    """Returns a dataset.yaml to be completed, where nothing can be guessed."""
    suffix = images[0][len(images[0]) - len(Path(images[0]).name) + len(stem_of(Path(images[0]).name) or "") :]
    lines = [
        "# No word in the names tells a sequence: replace the patterns by your own; docs/data.md explains them.",
        *(f"# there is: {image}" for image in images[:5]),
        "sequences:",
        *(f"  {sequence}: '{{case}}/{{case}}_{sequence.upper()}{suffix}'" for sequence in SEQUENCES),
        f"reference: '{{case}}/{{case}}_mask{suffix}'",
    ]
    return "\n".join(lines)

"""Reads `dataset.json` of nnU-Net and of the Medical Segmentation Decathlon: channels as sequences, labels as ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mets3d.data import DataError
from mets3d.data.case import SEQUENCES, Finding
from mets3d.data.layouts.layout import Found
from mets3d.data.layouts.words import LABEL_OF_REGION, kind_of, label_of, region_of
from mets3d.data.tree import Tree
from mets3d.data.wording import WHOLE_SET
from mets3d.files import OBJECT, read_json, read_object
from mets3d.regions import BACKGROUND, ET_LABEL

NAME = "dataset.json"
_ADVICE = "correct it, or describe the data in a dataset.yaml (docs/data.md)"


@dataclass(frozen=True)
class DatasetJson:
    """The content of a dataset.json: its folder, the sequence of each channel, and what its integers are.

    channels: None where a channel is no sequence of ours. label_map: the file's integer to ours, where they differ; the
    ignore label of nnU-Net becomes background. labels: the integers in words.
    """

    path: Path
    content: Mapping[str, Any]
    channels: tuple[str | None, ...]
    label_map: dict[int, int] = field(default_factory=dict)
    labels: str = ""

    @property
    def folder(self) -> Path:
        """The folder that it describes."""
        return self.path.parent


def each_dataset(tree: Tree, found: Found, channels: str) -> Iterator[DatasetJson]:
    """Yields what describes images below a folder of the tree, with its channels under the key `channels`.

    A file without that key, or without images beside it, such as one of nnU-Net's results, describes none. Raises
    DataError naming the file and the key for one that is broken, or that names labels which are neither known nor in
    the user's map.
    """
    for folder in tree.folders:
        path = folder.place / NAME
        if path.is_file() and _describes_images(path, channels):
            yield _described(path, _content(path), channels, found)


def _describes_images(path: Path, channels: str) -> bool:
    """Returns whether a file is of nnU-Net or MSD and has its channels under this key, or is broken beside images."""
    beside = any((path.parent / name).is_dir() for name in ("imagesTr", "imagesTs"))
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError):
        return beside
    if not isinstance(content, dict) or not (beside or "dataset" in content):
        return False
    return channels in content and (channels == "channel_names" or "channel_names" not in content)


def _content(path: Path) -> dict[str, Any]:
    try:
        return read_object(path, may={"channel_names": OBJECT, "modality": OBJECT, "labels": OBJECT}, advice=_ADVICE)
    except ValueError as error:
        raise DataError(str(error)) from None


def _described(path: Path, content: Mapping[str, Any], key: str, found: Found) -> DatasetJson:
    channels = _channels(path, content[key], key)
    integers, ignored = _integers(path, content.get("labels", {}))
    label_map = _label_map(path, integers, found.labels)
    words = [f"{integer} {_innermost(names)}" for integer, names in sorted(integers.items())]
    if ignored is not None:
        label_map[ignored] = BACKGROUND
        detail = f"{path}: voxels of its ignore label, {ignored}, were not annotated; they become background"
        advice = "give it another meaning in data.labels, or leave its cases out by data.exclude"
        found.findings.append(Finding(WHOLE_SET, "warning", "ignore label", detail, advice))
    return DatasetJson(path, content, channels, label_map, f"labels {', '.join(words) or 'not named'}")


# ---------------------------------------------------------------- channels


def _channels(path: Path, names: Mapping[str, Any], key: str) -> tuple[str | None, ...]:
    """Returns the sequence of each channel, in the order of their numbers."""
    numbers = {}
    for number, name in names.items():
        if not number.isdecimal() or not isinstance(name, str):
            raise DataError(
                f'{path}: {key}: expected numbers and names, as {{"0": "T1"}}, found {number!r}: {name!r}; {_ADVICE}'
            )
        numbers[int(number)] = name
    channels = [
        kind_of(numbers[number]) if number in numbers else None for number in range(max(numbers, default=-1) + 1)
    ]
    sequences = [channel if channel in SEQUENCES else None for channel in channels]
    known = [sequence for sequence in sequences if sequence]
    if not known or len(set(known)) < len(known):
        raise DataError(
            f"{path}: {key}: expected names of different sequences, such as T1, T1ce, T2 and FLAIR, found "
            f"{', '.join(map(repr, names.values())) or 'none'}; {_ADVICE}"
        )
    return tuple(sequences)


# ---------------------------------------------------------------- labels


def _integers(path: Path, labels: Mapping[str, Any]) -> tuple[dict[int, list[str]], int | None]:
    """Returns the names that hold each integer, of labels or regions, and the ignore label.

    Version 1 maps integers to names, version 2 names to an integer or, for a region, to a list of them.
    """
    names: dict[int, list[str]] = {}
    ignored = None
    for key, value in labels.items():
        name, integers = (value, int(key)) if key.isdecimal() and isinstance(value, str) else (key, value)
        several = integers if isinstance(integers, list) else [integers]
        if not all(type(integer) is int and integer >= 0 for integer in several):
            raise DataError(f"{path}: labels: expected whole numbers from 0 for {name!r}, found {value!r}; {_ADVICE}")
        if name == "ignore":
            ignored = several[0] if several else None
            continue
        for integer in several:
            names.setdefault(integer, []).append(name)
    names.pop(BACKGROUND, None)
    return names, ignored


def _innermost(names: Sequence[str]) -> str:
    """Returns, of the regions that an integer is in, the name of the one that says most."""
    order = [*LABEL_OF_REGION, None]
    return min(names, key=lambda name: order.index(region_of(name)))


def _label_map(path: Path, integers: Mapping[int, list[str]], given: Mapping[int, int]) -> dict[int, int]:
    """Returns our label of each integer where it is another one. A single label of any name is ET."""
    meaning: dict[int, int] = {}
    unknown = []
    for integer, names in integers.items():
        regions = [region for region in map(region_of, names) if region]
        if regions:
            meaning[integer] = label_of(regions)
        elif len(integers) == 1:
            meaning[integer] = ET_LABEL
        elif integer not in given:
            unknown.append(f"{integer} {' and '.join(names)}")
    if unknown:
        raise DataError(
            f"{path}: labels: expected names of tumour parts, such as edema, necrosis and enhancing tumor, found "
            f"{', '.join(unknown)}; say what they are in data.labels, as --data.labels='{{1: 3}}' for ET"
        )
    return {integer: label for integer, label in meaning.items() if integer != label}

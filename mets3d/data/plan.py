"""Defines the plan: how preprocessing prepares a case for the network, as plan.json records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from mets3d.data.brain import How
from mets3d.data.normalise import INTENSITIES, Normalisation
from mets3d.data.spacing import Wanted, spacing_from_json, target_spacing
from mets3d.files import COUNT, NAMES, SPACING_MM, TEXT, Kind, read_object, write_json
from mets3d.ops.voxels import Spacing
from mets3d.settings.channels import SEQUENCES, fault_of

Z_SCORE = Normalisation()


@dataclass(frozen=True)
class Plan:
    """How a case is prepared, and where that was decided.

    Plans are equal where they prepare a case alike; fields that only say where a plan is from do not count.
    """

    sequences: tuple[str, ...]
    spacing_mm: Wanted  # or the rule for each case's own, see `mets3d.data.spacing`
    margin_voxels: int
    intensities: Normalisation = Z_SCORE
    brain: How = "nonzero"
    cavity: bool = field(default=False, compare=False)
    settings_hash: str | None = field(default=None, compare=False)  # of the store
    cases: tuple[str, ...] | None = field(default=None, compare=False)  # of the store
    imported_from: str | None = field(default=None, compare=False)  # the file name of an original checkpoint

    @property
    def preparation(self) -> dict[str, Any]:
        """What decides how a case is prepared; what is as in the beginning, z-score and brain, is left out."""
        content: dict[str, Any] = {"sequences": self.sequences, "spacing_mm": self.spacing_mm}
        content |= {"margin_voxels": self.margin_voxels}
        content |= {} if self.intensities == Z_SCORE else {"intensities": self.intensities.as_json()}
        return content | ({} if self.brain == "nonzero" else {"brain": self.brain})

    @property
    def normalisation(self) -> str:
        """How intensities are normalised, in words."""
        return self.intensities.words

    def spacing_of(self, own_mm: Spacing) -> Spacing:
        """Returns the voxel size at which a case with voxels of `own_mm` is stored."""
        return target_spacing(own_mm, self.spacing_mm)

    @property
    def spacing_words(self) -> str:
        """The voxel size as text: three numbers, or the name of the rule."""
        return self.spacing_mm if self.spacing_mm == "in_plane" else " ".join(f"{side:g}" for side in self.spacing_mm)

    def as_json(self) -> dict[str, Any]:
        """Returns the content of plan.json; fields without a value are left out."""
        content = {
            "spacing_mm": self.spacing_mm if self.spacing_mm == "in_plane" else list(self.spacing_mm),
            "sequences": list(self.sequences),
            "normalisation": self.normalisation,
            "intensities": None if self.intensities == Z_SCORE else self.intensities.as_json(),
            "margin_voxels": self.margin_voxels,
            "brain": None if self.brain == "nonzero" else self.brain,
            "cavity": self.cavity,
            "settings_hash": self.settings_hash,
            "cases": None if self.cases is None else list(self.cases),
            "imported_from": self.imported_from,
        }
        return {key: value for key, value in content.items() if value is not None}

    def as_public_json(self) -> dict[str, Any]:
        """Returns the content of an exported plan.json, which names neither cases nor files."""
        return {**self.preparation, "normalisation": self.normalisation, "cavity": self.cavity}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Plan:
        """Makes the plan of content that `read_plan` has checked, or that this version has written."""
        rest = {key: content[key] for key in _MAY if key in content and key != "normalisation"}
        if "intensities" in rest:
            rest["intensities"] = Normalisation.from_json(rest["intensities"])
        if "cases" in rest:
            rest["cases"] = tuple(rest["cases"])
        return cls(
            tuple(content["sequences"]), spacing_from_json(content["spacing_mm"]), content["margin_voxels"], **rest
        )


def read_plan(path: Path) -> Plan:
    """Reads a plan.json. Raises FileNotFoundError, and ValueError naming the file, the key and what is expected."""
    return Plan.from_json(read_object(path, _NEEDS, _MAY, advice="copy the plan from the run again"))


def write_plan(path: Path, plan: Plan) -> None:
    """Writes a plan.json, completely or not at all."""
    write_json(path, plan.as_json())


def _are_sequences(value: Any) -> bool:
    return NAMES.fits(value) and len(value) > 0 and fault_of(value) is None


_NEEDS = {
    "sequences": Kind(
        f"a list of {', '.join(SEQUENCES)}, or some of them or differences of two, each once", _are_sequences
    ),
    "spacing_mm": Kind(f"{SPACING_MM.words}, or in_plane", lambda value: value == "in_plane" or SPACING_MM.fits(value)),
    "margin_voxels": COUNT,
}
_MAY = {
    "brain": Kind(f"one of {', '.join(get_args(How))}", lambda value: value in get_args(How)),
    "normalisation": TEXT,  # for a reader; `intensities` decides
    "intensities": INTENSITIES,
    "cavity": Kind("true or false", lambda value: isinstance(value, bool)),
    "settings_hash": TEXT,
    "cases": NAMES,
    "imported_from": TEXT,
}

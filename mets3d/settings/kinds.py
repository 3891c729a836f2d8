"""Defines what groups of settings are made of: the group itself, and kinds of values that several of them use."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

Count = Annotated[int, Field(ge=1)]
Length = Annotated[float, Field(gt=0)]
Side = Annotated[float, Field(gt=0, le=100)]  # of a voxel; a larger one leaves nothing of a head
Factor = Annotated[float, Field(gt=0)]
Counts = tuple[Count, Count, Count]
VoxelSize = tuple[Side, Side, Side]
Range = tuple[float, float]
Factors = tuple[Factor, Factor]


class Section(BaseModel):
    """A group of settings that refuses unknown keys and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _switches_are_no_numbers(cls, value: Any, info: Any) -> Any:
        # Pydantic would read true as 1: a patience that is switched on would end a run at its first worse score.
        if _has_switch(value) and _has_number(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError(f"true and false are no numbers; found {value!r}")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _text_is_not_empty(cls, value: Any, info: Any) -> Any:
        # As a path it would be the current folder: `--weights=` would go on from whatever lies there.
        if value == "" and info.field_name != "name":  # of a run; its own check says what it may hold
            may_be_none = type(None) in get_args(cls.model_fields[str(info.field_name)].annotation)
            raise ValueError(f"expected a value, found empty text{'; null is none' if may_be_none else ''}")
        return value


def _has_switch(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, (list, tuple)) and any(map(_has_switch, value)))


def _has_number(kind: Any) -> bool:
    return kind in (int, float) or any(map(_has_number, get_args(kind)))

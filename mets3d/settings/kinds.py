"""Defines what groups of settings are made of: the group itself, and kinds of values that several of them use."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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

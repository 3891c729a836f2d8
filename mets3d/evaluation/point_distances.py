"""How far apart two surfaces of one region are, worked out once for all lesions of a case together.

A point's nearest point on the whole other surface belongs to some lesion. If that is the lesion asked about, the
distance to the whole surface is the distance to the lesion's; only the other points are looked up again. So a region
costs one search in each direction, however many lesions it has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mets3d.evaluation.border import BorderDistances
from mets3d.evaluation.nearest_points import Nearest, nearest, nearest_mm
from mets3d.evaluation.surface import SurfaceDistances
from mets3d.ops.voxels import Spacing, Voxels

Chosen = Int[np.ndarray, " _"]  # indices of points


@dataclass(frozen=True, eq=False)
class Points:
    """A surface of one mask: where its points are, the part of the mask each belongs to, and the area it stands for."""

    where: Voxels
    part: Int[np.ndarray, " N"]  # 0: a part that the rules deleted
    areas_mm2: Float[np.ndarray, " N"]

    @property
    def all(self) -> Chosen:
        return np.arange(len(self.part))


@dataclass(frozen=True, eq=False)
class Contact:
    """Two surfaces and, for every point of each, the nearest of the other."""

    prediction: Points
    reference: Points
    spacing_mm: Spacing
    to_reference: Nearest
    to_prediction: Nearest

    def borders(self, predicted: Chosen, expected: Chosen) -> BorderDistances:
        """Distances between chosen points of the prediction and of the reference."""
        return BorderDistances(*self._distances(predicted, expected))

    def surfaces(self, predicted: Chosen, expected: Chosen) -> SurfaceDistances:
        """The same with the points' areas."""
        areas = self.prediction.areas_mm2[predicted], self.reference.areas_mm2[expected]
        return SurfaceDistances(*self._distances(predicted, expected), *areas)

    def _distances(
        self, predicted: Chosen, expected: Chosen
    ) -> tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]:
        ours, theirs = self.prediction.where, self.reference.where
        return (
            _to_chosen(self.to_reference, ours, predicted, theirs, expected, self.spacing_mm),
            _to_chosen(self.to_prediction, theirs, expected, ours, predicted, self.spacing_mm),
        )


def contact(prediction: Points, reference: Points, spacing_mm: Spacing) -> Contact:
    """Looks up the nearest point for every point of both surfaces."""
    return Contact(
        prediction,
        reference,
        spacing_mm,
        nearest(prediction.where, reference.where, spacing_mm),
        nearest(reference.where, prediction.where, spacing_mm),
    )


def _to_chosen(
    whole: Nearest, start: Voxels, asked: Chosen, goal: Voxels, chosen: Chosen, spacing_mm: Spacing
) -> Float[np.ndarray, " _"]:
    """Distances from the points `asked` to the chosen goals, given those to all goals."""
    distance = np.array(whole.distance_mm[asked])
    if len(chosen) == len(goal):
        return distance
    is_chosen = np.zeros(len(goal) + 1, bool)  # the last one for points that have no goal at all
    is_chosen[chosen] = True
    again = np.flatnonzero(~is_chosen[whole.index[asked]])
    distance[again] = nearest_mm(start[asked[again]], goal[chosen], spacing_mm)
    return distance

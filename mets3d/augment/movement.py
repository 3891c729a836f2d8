"""Composes the movements of a sample to one, says how large a part of the case it reads, and makes it on the device.

Where p is a position in the patch, in mm from its centre, the moved patch shows there what the case has at

    S R (F p + u(F p))

from the same centre, with the mirror F, the elastic displacement u, the rotation R and the scaling S. So image and
labels are read once and at the same positions. What is read is the bounding box of all of them, so that no background
is invented.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Float64, Integer
from torch import Tensor

from mets3d.augment.displacement import Displacement, on_device
from mets3d.ops.voxels import Shape3, Spacing

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
ROUNDING = 1e-4  # voxels; a quarter turn reads no further than the patch


@dataclass(frozen=True)
class Movement:
    """A mirror image, after an elastic deformation, after the matrix S R from the patch's mm to the case's."""

    mirrored: tuple[bool, bool, bool] = (False, False, False)
    elastic: Displacement | None = None
    matrix_mm: tuple[tuple[float, ...], ...] = IDENTITY

    @property
    def interpolates(self) -> bool:
        """Returns whether voxels come to lie between others; a mirror alone does not."""
        return self.elastic is not None or self.matrix_mm != IDENTITY

    def read_shape(self, patch: Shape3, spacing_mm: Spacing) -> Shape3:
        """Returns the voxels to read around the patch's centre: all that the moved patch shows of the case.

        Each side differs from the patch's by an even number, so that both have the same centre.
        """
        if not self.interpolates:
            return patch
        farthest = (np.array(patch) - 1) / 2 + self._largest_displacement(patch)
        reach = np.abs(self._matrix(spacing_mm)) @ farthest
        # The farthest voxel's centre must not lie beyond the last one's: from there on, zeros would be mixed in.
        x, y, z = (
            size + 2 * math.ceil(side - (size - 1) / 2 - ROUNDING) for size, side in zip(patch, reach, strict=True)
        )
        return x, y, z

    def apply(
        self,
        image: Float[Tensor, "C _ _ _"],
        labels: Integer[Tensor, "*L _ _ _"],
        patch: Shape3,
        spacing_mm: Spacing,
    ) -> tuple[Float[Tensor, "C X Y Z"], Integer[Tensor, "*L X Y Z"]]:
        """Interpolates trilinearly on the image and takes the nearest voxel of the labels.

        A lesion of one voxel keeps its volume on average with the nearest voxel, and its number moves along. The
        largest of interpolated one-hot labels would leave 27 % of it, and costs one interpolation per label.
        """
        if self.interpolates:
            grid = self._grid(image, patch, spacing_mm)[None]
            image = F.grid_sample(image[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
            flat = labels.reshape(1, -1, *labels.shape[-3:]).to(image.dtype)
            moved = F.grid_sample(flat, grid, mode="nearest", padding_mode="zeros", align_corners=False)
            labels = moved.view(*labels.shape[:-3], *patch).to(labels.dtype)
        axes = [axis - 3 for axis, flip in enumerate(self.mirrored) if flip]
        return (image.flip(axes), labels.flip(axes)) if axes else (image, labels)

    def _matrix(self, spacing_mm: Spacing) -> Float64[np.ndarray, "3 3"]:
        """Returns the matrix from the patch's voxels to the case's."""
        size = np.array(spacing_mm, dtype=np.float64)
        return np.array(self.matrix_mm) * size / size[:, None]

    def _largest_displacement(self, patch: Shape3) -> Float64[np.ndarray, "3"]:
        return np.zeros(3) if self.elastic is None else self.elastic.largest_voxels(patch)

    def _grid(self, image: Tensor, patch: Shape3, spacing_mm: Spacing) -> Float[Tensor, "X Y Z 3"]:
        """Returns the positions to read, as `grid_sample` wants them: from -1 to 1 over the image, last axis first."""
        # From voxels of the patch to half sides of the image.
        matrix = (self._matrix(spacing_mm) * 2 / np.array(image.shape[1:])[:, None])[::-1]
        steps = [np.arange(size) - (size - 1) / 2 for size in patch]
        lines = [on_device(np.outer(step, matrix[:, axis]), image) for axis, step in enumerate(steps)]
        grid = lines[0][:, None, None] + lines[1][:, None] + lines[2]
        if self.elastic is None:
            return grid
        field = self.elastic.field(patch, image).flatten(1)
        return grid.add_((on_device(matrix, image) @ field).view(3, *patch).permute(1, 2, 3, 0))

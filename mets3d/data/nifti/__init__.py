"""Reads NIfTI files in RAS+ and writes them: the only package that knows nibabel, which it imports on use.

Reading turns every volume into RAS+ with axes X Y Z by flips and axis permutations alone (no value is interpolated) and
keeps the file's own grid; writing puts an array back on that grid.
"""

from mets3d.data.nifti.orientation import in_file_order, index_in, world_mm, zooms_along
from mets3d.data.nifti.read import NotLabelsError, read_header, read_image, read_labels, read_probabilities
from mets3d.data.nifti.volumes import FileError, Grid, Header, ImageVolume, LabelVolume, Oddity, ProbabilityVolume
from mets3d.data.nifti.write import write_image, write_labels, write_probabilities, write_scalar

__all__ = [
    "FileError",
    "Grid",
    "Header",
    "ImageVolume",
    "LabelVolume",
    "NotLabelsError",
    "Oddity",
    "ProbabilityVolume",
    "in_file_order",
    "index_in",
    "read_header",
    "read_image",
    "read_labels",
    "read_probabilities",
    "world_mm",
    "write_image",
    "write_labels",
    "write_probabilities",
    "write_scalar",
    "zooms_along",
]

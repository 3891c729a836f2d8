"""Converts a data set to the layout of nnU-Net or of BraTS."""

from mets3d.data.convert.convert import Conversion, convert
from mets3d.data.convert.forms import FORMS, To

__all__ = ["FORMS", "Conversion", "To", "convert"]

"""mets3d: brain-metastasis segmentation in 3D MRI, from raw cases to a comparison of loss functions."""

__version__ = "0.1.0"

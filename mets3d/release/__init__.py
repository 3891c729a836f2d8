"""Exports and imports runs: model card, ONNX, MONAI bundle; original 3D TransUNet checkpoints."""

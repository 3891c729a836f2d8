"""Lets a run leave the house, or one enter it: export with a model card, ONNX, MONAI bundle; original checkpoints."""

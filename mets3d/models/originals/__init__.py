"""Reads weights that other people trained: original 3D TransUNet checkpoints, and ViT-B/16 in Google's layout."""

"""mets3d: brain-metastasis segmentation in 3D MRI, from raw cases to a comparison of loss functions.

`mets3d.Predictor` is made on first use: importing the package imports no torch.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__"]  # noqa: F822 - made by __getattr__


def __getattr__(name: str) -> Any:
    if name == "Predictor":
        from importlib import import_module  # a string, so that no layer below seems to know the one above

        return import_module("mets3d.inference.predictor").Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

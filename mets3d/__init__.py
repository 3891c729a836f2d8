"""mets3d: brain-metastasis segmentation in 3D MRI, from raw cases to a comparison of loss functions.

`mets3d.Predictor` and `mets3d.view`, which shows a case in a notebook, are made on first use: importing the package
imports no torch.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__", "view"]  # noqa: F822 - made by __getattr__

MADE_ON_USE = {"Predictor": "mets3d.inference.predictor", "view": "mets3d.reporting.viewer.notebook"}


def __getattr__(name: str) -> Any:
    if name in MADE_ON_USE:
        from importlib import import_module  # a string, so that no layer below seems to know the one above

        return getattr(import_module(MADE_ON_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

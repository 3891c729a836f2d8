"""Finds out which loggers are installed, without importing one."""

from __future__ import annotations

from importlib.util import find_spec

from mets3d.config import Track
from mets3d.wording import agreed

PACKAGES = {"tensorboard": "TensorBoard", "trackio": "trackio"}  # by their names in `track.also`, which are pip's too


def is_installed(package: str) -> bool:
    """Returns whether a package can be imported. A folder of its name, as `wandb/` in a run, is no package."""
    try:
        spec = find_spec(package)
    except ValueError:  # a module that something else has put in its place
        return False
    return spec is not None and spec.origin is not None


def check_installed(settings: Track) -> None:
    """Raises ValueError where `track.also` names a logger that is not installed."""
    missing = [name for name in settings.also if not is_installed(name)]
    if missing:
        verb = agreed(len(missing), "is", "are")
        raise ValueError(
            f"track.also names {' and '.join(PACKAGES[name] for name in missing)}, which {verb} not installed here; "
            f"pip install 'mets3d[{','.join(missing)}]', or leave it out of track.also"
        )

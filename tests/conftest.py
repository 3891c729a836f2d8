"""What every test may use."""

import os

import pytest

# W&B must never be reached by a test, and progress bars say nothing to a log.
os.environ["WANDB_MODE"] = "disabled"
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests compare bits, so they run on the CPU where there is a GPU too; those marked `gpu` take the variable back.
os.environ["ACCELERATE_USE_CPU"] = "true"

import tests.typecheck  # noqa: F401 - before the package: jaxtyping's hook looks it up by name
from tests.builders.cases import phantom_data, phantom_store  # noqa: F401 - fixtures
from tests.builders.runs import trained_run  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are skipped where there is none."""
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))

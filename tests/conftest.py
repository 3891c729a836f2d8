"""The fixtures of all tests."""

import pytest

import tests.environment
import tests.typecheck  # noqa: F401 - before the package: jaxtyping's hook looks it up by name
from tests.builders.cases import phantom_data, phantom_store  # noqa: F401 - fixtures
from tests.builders.runs import trained_run  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `gpu` where there is none."""
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_unconfigure() -> None:
    """Removes the folder that stood for the user's own."""
    tests.environment.NOWHERE.cleanup()

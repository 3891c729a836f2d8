"""The fixtures of all tests."""

from collections.abc import Iterator

import pytest
from coverage import Coverage
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

import tests.environment
import tests.typecheck  # noqa: F401 - before the package: jaxtyping's hook looks it up by name
from tests.builders.cases import phantom_data, phantom_store  # noqa: F401 - fixtures
from tests.builders.runs import trained_run  # noqa: F401

TRACED = pytest.StashKey[bool]()
# Tests that one process of pytest-xdist has to itself, for they share what is dear to make or wait for processes of
# their own. By name: pytest 9.2 lets xdist 3.8 write no group into a test's id, so that its `xdist_group` does nothing.
COMPILED = "compiled"  # what torch's compiler learns of the machine, and its headers
TOGETHER = {
    "tests/docs/test_site.py": "",
    "tests/evaluation/test_organisers.py": "",
    "tests/inference/test_predict.py::test_a_run_that_was_killed_goes_on_to_the_same_files": "",
    "tests/models/test_dropout.py::test_the_compiled_layer_drops_the_same": COMPILED,
    "tests/models/test_transunet.py::test_compiles_to_one_graph": COMPILED,
    "tests/reporting/browser/": "",
    "tests/test_quickstart.py::test_loss_curve_is_the_recorded_one": "",
    "tests/training/test_tuned.py::test_a_compiled_run_trains_the_same_network": COMPILED,
    "tests/training/test_wandb.py": "",
}


class Together(LoadScopeScheduling):
    """Gives the tests of each name in TOGETHER to one process, and all others to whichever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return next((group or name for name, group in TOGETHER.items() if nodeid.startswith(name)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    """Returns what shares the tests out where there are several processes."""
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `gpu` where there is none, begins with the slow ones, and says which are traced.

    Coverage is counted in the first case of each test that is not slow: tracing makes Python twice as slow, and the
    other cases of a test go through the same lines.
    """
    import torch

    seen = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        item.stash[TRACED] = test not in seen and item.get_closest_marker("slow") is None
        seen.add(test)
    # A slow test that starts last leaves the other process idle.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Stops tracing, where it is on, for a test that is not traced, with its fixtures."""
    tracer = None if item.stash[TRACED] else Coverage.current()
    if tracer is not None:
        tracer.stop()
        tracer._warn_preimported_source = False  # at its start it would look through every module that there is
    yield
    if tracer is not None:
        tracer.start()


def pytest_unconfigure() -> None:
    """Removes the folder that stood for the user's own."""
    tests.environment.NOWHERE.cleanup()

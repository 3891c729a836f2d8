"""The environment of every test, whatever the machine is set up for. Imported before all that reads it."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from pathlib import Path

from hypothesis import settings

# What launchers, schedulers, trackers and terminals leave to the processes that they start. A world of two processes
# that is left over makes the first training wait for the other one. Time zone and locale stay: nothing depends on them.
LEFT_OVER = re.compile(
    r"(ACCELERATE|FSDP|DEEPSPEED|TORCHELASTIC|TORCHDYNAMO|NCCL|GLOO|SLURM|OMPI|PMI|PMIX|MV2|MPI|WANDB|TQDM)_.*"
    r"|(GROUP_|ROLE_|LOCAL_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)"
    r"|(OMP|MKL|OPENBLAS|NUMEXPR|NUMBA)_NUM_THREADS|NUMBA_DISABLE_JIT|TRITON_INTERPRET"
    r"|COLUMNS|LINES|NO_COLOR|FORCE_COLOR|MPLBACKEND|MATPLOTLIBRC|PYTHONWARNINGS|GIT_(DIR|WORK_TREE|INDEX_FILE)"
)
NOWHERE = tempfile.TemporaryDirectory(prefix="mets3d-tests-")

# What a suite that runs in the background or under nohup was told to ignore; trainings leave ignored signals so.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

for variable in filter(LEFT_OVER.fullmatch, list(os.environ)):
    del os.environ[variable]
os.environ["WANDB_MODE"] = "disabled"  # W&B must never be reached by a test
os.environ["OMP_NUM_THREADS"] = "1"  # another number of threads sums in another order
os.environ["HF_HOME"] = NOWHERE.name  # where `accelerate launch` looks for the user's own configuration
if not os.access(Path(__file__).parent, os.W_OK):  # a checkout that may only be read
    os.environ["NUMBA_CACHE_DIR"] = NOWHERE.name
    settings.register_profile("without a folder", database=None)
    settings.load_profile("without a folder")
# Tests compare bits, so they run on the CPU where there is a GPU too; those marked `gpu` take the variable back.
os.environ["ACCELERATE_USE_CPU"] = "true"

"""Claims the folder of a study: for one sweep alone, or for a shard beside the others of the same count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mets3d.data.shards import Shard
from mets3d.rundir import RunDir
from mets3d.study.folder import StudyDir, flat
from mets3d.training.lock import Holder, LockError, held, holder_of

WHOLE = "whole"  # the claim of a call without a shard


@contextmanager
def claimed(study: StudyDir, shard: Shard | None) -> Iterator[None]:
    """Holds the folder of a study until the block ends. Raises ValueError where another sweep works in it."""
    mine = Path(study.locks / (WHOLE if shard is None else flat(str(shard))))
    with ExitStack() as stack:
        try:
            stack.enter_context(held(RunDir(mine), lambda _: None))
        except LockError as error:
            raise ValueError(_in_use(study, mine, error.holder)) from None
        for other in mine.parent.iterdir():
            beside = shard is not None and other.name.endswith(flat(f"/{shard.count}"))
            holder = None if other == mine or beside else holder_of(RunDir(other).lock)
            if holder is not None:
                raise ValueError(_in_use(study, other, holder))
        yield


def _in_use(study: StudyDir, claim: Path, holder: Holder | None) -> str:
    which = "a sweep" if claim.name == WHOLE else f"shard {claim.name.replace(flat('/'), '/')} of a sweep"
    return (
        f"{study.path}: {which} runs here, by {holder or 'a process that cannot be named'}; wait for it, stop it, or "
        "use another --out"
    )

"""Turns an exception of a training into the one message that its user reads."""

from __future__ import annotations

import errno
import re
import traceback

from mets3d.training.memory import NoMemoryError, is_out_of_memory, out_of_memory_message

# What gloo and NCCL say when the connection to another process breaks.
PEER_GONE = re.compile("Connection (closed|reset) by peer|Broken pipe|remote process exited|ncclRemoteError")
PEER_ADDRESS = re.compile(r"\[([0-9a-fA-F.:]+)\]:[0-9]+")


class TrainingError(RuntimeError):
    """A training that cannot go on, known to every process: rank 0 prints the message, all leave with exit code 1."""


def message_of(error: Exception) -> str:
    """Returns what happened and what to do.

    An exception that nobody expected, a mistake in the code, keeps its traceback.
    """
    if isinstance(error, (TrainingError, NoMemoryError)):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: {error.filename or error}. Make room and run the same command again"
    if isinstance(error, RuntimeError) and PEER_GONE.search(str(error)):
        return _peer_gone(str(error))
    if is_out_of_memory(error):
        return out_of_memory_message(error)
    if isinstance(error, (OSError, ValueError)) or type(error) is RuntimeError:
        return str(error)
    return "".join(traceback.format_exception(error)).rstrip()


def _peer_gone(said: str) -> str:
    """Names the address of the process that has ended, where gloo says it and it is not this host's."""
    address = PEER_ADDRESS.search(said)
    if address is None or address[1].startswith(("127.", "::1")):
        return "another training process has ended, so this one cannot go on. Run the same command again"
    return (
        f"another training process has ended, on the host with the address {address[1]}, so this one cannot go on. See "
        "why it ended, then run the same command again on every host: the training goes on from the last checkpoint"
    )

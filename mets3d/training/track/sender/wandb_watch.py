"""Asks W&B's server now and then whether it is there, since the client itself would try for hours, and silently."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from mets3d.training.track.sender.pipes import Event, TroubleError, one_line


def watch_server(settings: Any, mode: str, every: Mapping[str, Any], say: Event) -> None:
    """Starts a thread that says when the server stops answering or, to an offline log, answers again."""
    if mode != "offline":
        threading.Thread(target=_watch_for_silence, args=(settings, every, say), daemon=True).start()
    elif every["back"] is not None:
        threading.Thread(target=_watch_for_return, args=(settings, every, say), daemon=True).start()


def _watch_for_silence(settings: Any, every: Mapping[str, Any], say: Event) -> None:
    """Asks until the server has failed to answer twice in a row; the client itself would try for hours, and silently.

    No failure counts before a first answer: where this way to the server is barred, it says nothing of the client's.
    """
    answered, failures = False, 0
    while True:
        trouble = trouble_of(settings, every["timeout"])
        if trouble is None:
            answered, failures = True, 0
        elif answered:
            failures += 1
            if failures == 2:
                say(event="silent", reason=one_line(trouble), may_return=trouble.may_return)
                return
        time.sleep(every["again"] if failures else every["interval"])


def _watch_for_return(settings: Any, every: Mapping[str, Any], say: Event) -> None:
    """Asks until the server answers."""
    while True:
        time.sleep(every["back"])
        if trouble_of(settings, every["timeout"]) is None:
            say(event="answers")
            return


def trouble_of(settings: Any, timeout: float) -> TroubleError | None:
    """Asks the server who we are; returns None for an answer, and for none what it does instead."""
    url, key = settings.base_url, os.environ.get("WANDB_API_KEY") or settings.api_key
    query = json.dumps({"query": "query Viewer { viewer { id } }"}).encode()
    request = urllib.request.Request(f"{url}/graphql", query, {"Content-Type": "application/json"})
    if key:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"api:{key}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return TroubleError(f"{url} refuses the key, HTTP {error.code}", may_return=False)
        return TroubleError(f"{url} answers HTTP {error.code}") if error.code >= 500 else None
    except TimeoutError:
        return TroubleError(f"{url} does not answer")
    except (OSError, ValueError) as error:
        return TroubleError(f"{url} cannot be reached, {getattr(error, 'reason', error)}")
    return None

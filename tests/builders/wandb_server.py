"""A W&B server on loopback that speaks as much of the protocol as runs and sweeps need, and fails as it is told.

It takes history, summary, pictures, tables and other artefacts, alerts, and sweep files as `wandb sweep` sends them.

With it the real client is tested without a network: `with WandbServer() as server`, `server.environment()` for the
process that logs, and `server.runs` for what arrived. `server.answers` may be changed at any time.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote

import yaml

Answers = Literal["normally", "401", "500", "never"]

ENTITY, PROJECT = "entity", "mets3d"
OWNER = {"id": "e", "name": ENTITY}


@dataclass
class Artefact:
    """A version of weights or of a table."""

    name: str
    type: str
    aliases: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
    committed: bool = False


@dataclass
class WandbRun:
    """What a run has sent."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)  # of UpsertBucket: displayName, program, sweep ...
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    artefacts: list[Artefact] = field(default_factory=list)
    starts: int = 0
    exit_code: int | None = None
    preempting: bool = False

    def series(self, name: str) -> dict[int, float]:
        """The values of one name by step, in the order in which they arrived."""
        return {row["_step"]: row[name] for row in self.history if name in row}


class WandbServer:
    """The server; `answers` is how it behaves."""

    def __init__(self) -> None:
        self.answers: Answers = "normally"
        self.lock = threading.RLock()
        self.by_name: dict[str, WandbRun] = {}
        self.sweeps: dict[str, Any] = {}  # arguments still to be tried, by the sweep's id
        self.stops = False  # set it, and every run is asked to stop
        self.questions = 0  # of the watch, answered
        self.unknown: set[str] = set()
        self.artefacts: list[Artefact] = []
        self._awake = threading.Event()
        self._server = _Quiet(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server: from now on the port refuses."""
        self._awake.set()
        self._server.shutdown()
        self._server.server_close()

    def environment(self, folder: Path) -> dict[str, str]:
        """The variables with which a client talks to this server alone and writes below `folder` alone."""
        return environment(folder, self.url)

    @property
    def runs(self) -> list[WandbRun]:
        """All runs, in the order of their first start."""
        return list(self.by_name.values())

    def add_sweep(self, command: list[str], **values: list[Any]) -> str:
        """Adds a sweep that runs a command over a grid of values; returns the path that `wandb agent` takes."""
        grid = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
        name = f"sweep{len(self.sweeps)}"
        self.sweeps[name] = {"grid": iter(grid), "made": 0, "command": command}
        return f"{ENTITY}/{PROJECT}/{name}"

    def wait(self) -> None:
        """Blocks a request that is never answered, until the server wakes or ends."""
        self._awake.wait()

    def wake(self) -> None:
        """Drops the requests that wait for an answer."""
        self._awake.set()

    # ------------------------------------------------------------ GraphQL, by the operation's name

    def graphql(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        """Answers one operation; an unknown one with nothing."""
        values = {**values, **(values.get("input") or {})}  # clients differ in which calls wrap their variables
        with self.lock:
            answer = getattr(self, "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(), None)
            if answer is None:
                self.unknown.add(name)
                return {}
            found: dict[str, Any] = answer(values)
            return found

    def _viewer(self, values: dict[str, Any]) -> dict[str, Any]:
        self.questions += not values
        return {"viewer": {"id": "u", "entity": ENTITY, "username": "u", "flags": "{}", "teams": {"edges": []}}}

    def _server_features_query(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _run_resume_status(self, values: dict[str, Any]) -> dict[str, Any]:
        run = self.by_name.get(values["name"])
        bucket = None
        if run is not None and run.starts:
            bucket = {
                "id": run.name,
                "name": run.name,
                "summaryMetrics": "{}",
                "logLineCount": 0,
                "historyLineCount": len(run.history),
                "eventsLineCount": 0,
                "historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]),
                "eventsTail": "[]",
                "config": json.dumps(run.config),
                "tags": [],
                "wandbConfig": json.dumps({"t": 1}),
            }
        return {"model": {"id": "p", "name": PROJECT, "entity": OWNER, "bucket": bucket}}

    def _upsert_bucket(self, values: dict[str, Any]) -> dict[str, Any]:
        name = values.get("name") or values.get("id") or f"run{len(self.by_name)}"
        run = self.by_name.setdefault(name, WandbRun(name))
        run.starts += 1
        run.config |= json.loads(values.get("config") or "{}")
        run.fields |= {key: value for key, value in values.items() if isinstance(value, str | list)}
        bucket = {
            "id": name,
            "name": name,
            "displayName": run.fields.get("displayName") or name,
            "config": json.dumps(run.config),
            "sweepName": values.get("sweep"),
            "project": {"id": "p", "name": PROJECT, "entity": OWNER},
            "historyLineCount": len(run.history),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": run.starts == 1}}

    def _create_run_files(self, values: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{values['run']}/{name}"} for name in values["files"]]
        return {"createRunFiles": {"runID": values["run"], "uploadHeaders": [], "files": files}}

    def _notify_scriptable_run_alert(self, values: dict[str, Any]) -> dict[str, Any]:
        self.by_name[values["runName"]].alerts.append(values)
        return {"notifyScriptableRunAlert": {"success": True}}

    # ------------------------------------------------------------ artefacts

    def _artifact_type(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _create_artifact(self, values: dict[str, Any]) -> dict[str, Any]:
        (name,) = values.get("artifactCollectionNames") or [values.get("artifactCollectionName")]
        aliases = [alias["alias"] for alias in values.get("aliases") or []]
        artefact = Artefact(name, values["artifactTypeName"], aliases)
        self.by_name[values["runName"]].artefacts.append(artefact)
        self.artefacts.append(artefact)
        id_ = f"artefact{len(self.artefacts) - 1}"
        sequence = {"id": name, "latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": id_, "state": "PENDING", "artifactSequence": sequence}}}

    def _create_artifact_manifest(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"createArtifactManifest": {"artifactManifest": self._manifest(values["artifactID"])}}

    def _update_artifact_manifest(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(values["artifactManifestID"])}}

    def _manifest(self, id_: str) -> dict[str, Any]:
        upload = f"{self.url}/artefact/{id_}/manifest"
        return {"id": id_, "file": {"id": id_, "uploadUrl": upload, "uploadHeaders": []}}

    def _create_artifact_files(self, values: dict[str, Any]) -> dict[str, Any]:
        edges = []
        for file in values["artifactFiles"]:
            url = f"{self.url}/artefact/{file['artifactID']}/{file['name']}"
            node = {"storagePath": file["name"], "uploadUrl": url, "uploadHeaders": [], "uploadMultipartUrls": None}
            edges.append({"node": {**node, "artifact": {"id": file["artifactID"]}}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _commit_artifact(self, values: dict[str, Any]) -> dict[str, Any]:
        id_ = values["artifactID"]
        self.artefacts[int(id_.removeprefix("artefact"))].committed = True
        return {"commitArtifact": {"artifact": {"id": id_, "digest": "d"}}}

    # ------------------------------------------------------------ sweeps

    def _upsert_sweep(self, values: dict[str, Any]) -> dict[str, Any]:
        config = yaml.safe_load(values["config"])
        grid = {name: one.get("values", [one.get("value")]) for name, one in config["parameters"].items()}
        path = self.add_sweep(config["command"], **grid)
        name = path.rpartition("/")[2]
        project = {"id": "p", "name": PROJECT, "entity": OWNER}
        return {
            "upsertSweep": {"sweep": {"id": name, "name": name, "project": project}, "configValidationWarnings": []}
        }

    def _sweep_with_runs(self, values: dict[str, Any]) -> dict[str, Any]:
        name = values["sweep"]
        config = json.dumps({"method": "grid", "command": self.sweeps[name]["command"], "parameters": {}})
        sweep = {"id": name, "name": name, "method": "grid", "state": "RUNNING", "config": config}
        return {"project": {"sweep": {**sweep, "runs": {"edges": []}}}}

    def _create_agent(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": f"agent:{values['sweep']}"}}}

    def _heartbeat(self, values: dict[str, Any]) -> dict[str, Any]:
        sweep = self.sweeps[values["id"].partition(":")[2]]
        alive = [name for name, is_up in json.loads(values.get("runState") or "{}").items() if is_up]
        commands: list[dict[str, Any]] = [{"type": "stop", "run_id": name} for name in alive if self.stops]
        if not alive:
            point = next(sweep["grid"], None)
            if point is None:
                commands.append({"type": "exit"})
            else:
                sweep["made"] += 1
                arguments = {key: {"value": value} for key, value in point.items()}
                name = f"of-sweep-{sweep['made']}"
                commands.append({"type": "run", "run_id": name, "args": arguments, "program": "train.py"})
        return {"agentHeartbeat": {"agent": {"id": values["id"]}, "commands": json.dumps(commands)}}

    # ------------------------------------------------------------ what a run sends beside GraphQL

    def take_file(self, path: str, data: bytes) -> bool:
        """Takes a file of a run or of an artefact; returns whether its place is known."""
        _, kind, owner, name = unquote(path).split("/", 3)
        with self.lock:
            if kind == "upload":
                self.by_name[owner].files[name] = data
            elif kind == "artefact":
                self.artefacts[int(owner.removeprefix("artefact"))].files[name] = data
        return kind in ("upload", "artefact")

    def file_stream(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Takes history lines and the end of a run."""
        with self.lock:
            run = self.by_name.setdefault(name, WandbRun(name))
            part = (body.get("files") or {}).get("wandb-history.jsonl")
            if part is not None:
                lines = [json.loads(line) for line in part["content"]]
                at = part.get("offset", len(run.history))
                run.history[at : at + len(lines)] = lines
            summary = (body.get("files") or {}).get("wandb-summary.json")
            if summary is not None:
                run.summary = json.loads(summary["content"][-1])
            run.preempting |= bool(body.get("preempting"))
            if body.get("complete"):
                run.exit_code = body.get("exitcode")
            return {"stopped": True} if self.stops else {}


def environment(folder: Path, url: str) -> dict[str, str]:
    """The variables with which a client talks to `url` alone and writes below `folder` alone."""
    return {
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": "local-" + "0" * 40,
        "WANDB_ENTITY": ENTITY,
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CONFIG_DIR": str(folder / "wandb-config"),
        "WANDB_CACHE_DIR": str(folder / "wandb-cache"),
        "WANDB_DATA_DIR": str(folder / "wandb-data"),
        "NETRC": str(folder / "netrc"),
        "HOME": str(folder),
        "no_proxy": "127.0.0.1",
    }


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that went away is no fault
            super().handle_error(request, client_address)


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

        def answer(self) -> None:
            """Answers any request."""
            data = self._body()
            match server.answers:
                case "never":
                    server.wait()
                    self.close_connection = True
                case "401":
                    self._reply({"errors": [{"message": "invalid API key"}]}, 401)
                case "500":
                    self._reply({"errors": [{"message": "broken"}]}, 500)
                case "normally":
                    self._reply(*self._answered(data))

        do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names that http.server looks for

        def _answered(self, data: bytes) -> tuple[Any, int]:
            if self.path == "/graphql":
                asked = json.loads(data)
                found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
                name = asked.get("operationName") or (found[1] if found else "?")
                return {"data": server.graphql(name, asked.get("variables") or {})}, 200
            stream = re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path)
            if stream:
                return server.file_stream(stream[1], json.loads(data or b"{}")), 200
            return {}, 200 if self.path.count("/") >= 3 and server.take_file(self.path, data) else 404

        def _body(self) -> bytes:
            data = b""
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

        def _reply(self, item: Any, status: int) -> None:
            data = json.dumps(item).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler

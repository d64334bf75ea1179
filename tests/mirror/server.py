"""A stand-in for wandb's server on 127.0.0.1, with moods; the client is the real one.

It keeps what the real one keeps of a run (name, group, tags, config, summary, state, artifacts) and
the lines of its history *by offset*, as they are sent: a line sent twice to its place is there
once, a line sent to another place is there twice, as it would be on the real server. Only what the
client asks for is understood; what it asks for beyond that is answered with an error, and listed in
`unknown`.
"""

from __future__ import annotations

import json
import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

KEY = "k" * 40
"""The key that this server's clients use; it checks none."""

ENTITY = "tester"

Mood = Literal["well", "hang", "500"]


@dataclass
class Bucket:
    """A run, as the server keeps it."""

    name: str
    group: str = ""
    job_type: str = ""
    display_name: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    lines: dict[int, str] = field(default_factory=dict)
    state: str = "running"

    @property
    def history(self) -> list[dict[str, Any]]:
        """Rows in the order of their places."""
        return [json.loads(self.lines[place]) for place in sorted(self.lines)]


@dataclass
class Wandb:
    """The server's memory, and its mood."""

    runs: dict[str, Bucket] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """By path: what was uploaded."""
    unknown: list[str] = field(default_factory=list)
    mood: Mood = "well"
    only_in: str = ""
    """Part of a path; moods hold for such paths only, and only they are counted."""
    mood_after: int | None = None
    """After so many of these requests, `later` begins."""
    later: Mood = "well"
    requests: int = 0
    asked: list[str] = field(default_factory=list)
    url: str = ""
    waking: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def mood_for(self, path: str) -> Mood:
        """Counts a request, and says how it is answered."""
        with self.lock:
            if self.only_in not in path:
                return "well"
            self.requests += 1
            if self.mood_after is not None and self.requests > self.mood_after:
                self.mood = self.later
            return self.mood

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any] | None:
        """The data for one GraphQL operation, by its name; None for one that is not known."""
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        name = found[1] if found else ""
        self.asked.append(name)
        method = getattr(self, f"on_{name}", None)
        if method is None:
            self.unknown.append(f"{name}: {query[:2000]} {variables}")
            return None
        data: dict[str, Any] = method(variables)
        return data

    def on_Viewer(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        teams = {"edges": [{"node": {"name": ENTITY}}]}
        viewer = {"id": "1", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "teams": teams}
        return {"viewer": viewer}

    def on_ServerFeaturesQuery(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"serverInfo": {"features": []}}

    def on_GetDefaultEntity(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"viewer": {"id": "1", "entity": ENTITY}}

    def on_RunResumeStatus(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(variables["name"])
        return {"model": {"name": variables["project"], "entity": {"name": ENTITY}, "bucket": run and _bucket(run)}}

    def on_UpsertBucket(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = variables["name"]
        inserted = name not in self.runs
        run = self.runs.setdefault(name, Bucket(name))
        run.state = "running" if inserted else run.state
        for ours, theirs in (("group", "groupName"), ("job_type", "jobType"), ("display_name", "displayName")):
            if variables.get(theirs):
                setattr(run, ours, variables[theirs])
        if variables.get("tags") is not None:
            run.tags = list(variables["tags"])
        if variables.get("config"):
            run.config = json.loads(variables["config"])
        if variables.get("summaryMetrics"):
            run.summary = json.loads(variables["summaryMetrics"])
        project = {
            "id": "2",
            "name": variables.get("project") or "uncategorized",
            "entity": {"id": "1", "name": ENTITY},
        }
        return {"upsertBucket": {"bucket": {**_bucket(run), "project": project}, "inserted": inserted}}

    def on_Run(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(variables["name"])
        return {"project": {"run": run and _read(run)}}

    def on_CreateRunFiles(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        places = [{"name": name, "uploadUrl": f"{self.url}/{variables['run']}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": places}}

    def on_ArtifactType(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"project": {"artifact": None}}

    def on_CreateArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """One of the same content in the same collection is the one that is there."""
        asked = variables["input"]
        new = {"collection": asked["artifactCollectionNames"] or asked["artifactCollectionName"]}
        new |= {"type": asked["artifactTypeName"], "digest": asked["digest"], "run": asked["runName"]}
        same = [one for one in self.artifacts if all(one[key] == new[key] for key in ("collection", "digest"))]
        if not same:
            same = [{**new, "id": f"artifact{len(self.artifacts)}", "state": "PENDING"}]
            self.artifacts += same
        answer = {"id": same[0]["id"], "state": same[0]["state"], "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": answer}}

    def on_CreateArtifactManifest(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"createArtifactManifest": {"artifactManifest": self._manifest(variables["artifactID"])}}

    def on_UpdateArtifactManifest(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(variables["artifactManifestID"])}}

    def _manifest(self, of: str) -> dict[str, Any]:
        return {"id": of, "file": {"id": "3", "uploadUrl": f"{self.url}/{of}/manifest", "uploadHeaders": []}}

    def on_CreateArtifactFiles(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        nodes = []
        for file in variables["input"]["artifactFiles"]:
            of = file["artifactID"]
            path = f"{of}/{file['name']}"
            node = {"storagePath": path, "uploadUrl": f"{self.url}/{path}", "uploadHeaders": []}
            nodes.append({"node": {**node, "uploadMultipartUrls": None, "artifact": {"id": of}}})
        return {"createArtifactFiles": {"files": {"edges": nodes}}}

    def on_ArtifactByID(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        [one] = [one for one in self.artifacts if one["id"] == variables["id"]]
        project = {"id": "2", "internalId": "2", "name": "fer-tune", "entity": {"name": ENTITY}}
        told = {"id": one["id"], "artifactSequence": {"name": one["collection"], "project": project}}
        told |= {"versionIndex": 0, "artifactType": {"name": one["type"]}, "tags": [], "aliases": []}
        told |= dict.fromkeys(("description", "metadata", "historyStep", "commitHash", "updatedAt"))
        told |= {"ttlDurationSeconds": -1, "ttlIsInherited": True, "state": one["state"], "size": 0, "fileCount": 0}
        return {"artifact": {**told, "digest": one["digest"], "createdAt": "2026-01-01T00:00:00Z"}}

    def on_CommitArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        [one] = [one for one in self.artifacts if one["id"] == variables["artifactID"]]
        one["state"] = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": one["id"], "digest": one["digest"]}}}


def _read(run: Bucket) -> dict[str, Any]:
    """A run as the public API reads it."""
    read = {"projectId": "2", "state": run.state, "group": run.group, "jobType": run.job_type, "readOnly": False}
    read |= {"commit": None, "createdAt": "2026-01-01T00:00:00Z", "heartbeatAt": "2026-01-01T00:00:00Z"}
    read |= {"systemMetrics": "{}", "user": {"name": ENTITY, "username": ENTITY}, "historyKeys": None}
    return _bucket(run) | read


def _bucket(run: Bucket) -> dict[str, Any]:
    rows = run.history
    return {
        "id": b64encode(run.name.encode()).decode(),
        "name": run.name,
        "displayName": run.display_name,
        "description": None,
        "config": json.dumps(run.config),
        "summaryMetrics": json.dumps(run.summary),
        "sweepName": None,
        "tags": run.tags,
        "notes": None,
        "logLineCount": 0,
        "eventsLineCount": 0,
        "historyLineCount": len(run.lines),
        "historyTail": json.dumps([json.dumps(rows[-1])] if rows else []),
        "eventsTail": "[]",
        "wandbConfig": json.dumps({"t": 1}),
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wandb: Wandb

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def do_PUT(self) -> None:
        self._serve(self._body())

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _serve(self, body: bytes) -> None:
        mood = self.wandb.mood_for(self.path)
        if mood == "hang":
            self.wandb.waking.wait(120)
            self.close_connection = True
            return
        if mood == "500":
            self._reply(500, {"error": "in a mood"})
            return
        with self.wandb.lock:
            if self.path == "/graphql":
                request = json.loads(body)
                data = self.wandb.answer(request["query"], request.get("variables") or {})
                self._reply(200, {"data": data} if data is not None else {"errors": [{"message": "unknown"}]})
            elif self.path.endswith("/file_stream"):
                self._stream(self.path.split("/")[-2], json.loads(body))
                self._reply(200, {})
            else:
                self.wandb.files[self.path] = body
                self._reply(200, {})

    def _stream(self, name: str, news: dict[str, Any]) -> None:
        """Lines of files that grow, each at its place."""
        run = self.wandb.runs.setdefault(name, Bucket(name))
        for file, chunk in (news.get("files") or {}).items():
            for place, line in enumerate(chunk["content"], chunk["offset"]):
                if file == "wandb-history.jsonl":
                    run.lines[place] = line
                elif file == "wandb-summary.json":
                    run.summary = json.loads(line)
        if news.get("complete"):
            run.state = "finished" if news.get("exitcode") == 0 else "failed"

    def _reply(self, status: int, content: dict[str, Any]) -> None:
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed leaves a broken pipe; that is what some tests are about."""


@contextmanager
def serving() -> Iterator[Wandb]:
    """A server on a free port of 127.0.0.1."""
    wandb = Wandb()
    handler = type("Handler", (_Handler,), {"wandb": wandb})
    server = _Server(("127.0.0.1", 0), handler)
    wandb.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield wandb
    finally:
        wandb.waking.set()
        server.shutdown()
        server.server_close()

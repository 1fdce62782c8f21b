"""A Larder of its own for a test: `larder up` on free ports over a folder, and the commands of the example against it.

Everything that depends on how the command line is spelt stands here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

SERVICES = ["registry", "serving", "push_ingest", "materializer"]
START_LIMIT, COMMAND_LIMIT = 60.0, 300.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


class LarderProcess:
    """Started by `start`, ended by `stop`; commands run in `repository`, where the definitions are."""

    def __init__(self, binary: Path, repository: Path, data: Path) -> None:
        self.binary, self.repository, self.data = binary, repository, data
        *ports, self.admin_port = free_ports(len(SERVICES) + 1)
        self.ports = dict(zip(SERVICES, ports))
        self.process: subprocess.Popen | None = None

    def address(self, service: str) -> str:
        return f"127.0.0.1:{self.ports[service]}"

    def environment(self) -> dict[str, str]:
        """Ports for `larder up`, and where its commands find the services."""
        settings = dict(os.environ)
        for service in SERVICES:
            settings[f"LARDER__{service.upper()}__SERVER__LISTEN"] = self.address(service)
            settings[f"LARDER__CLIENT__{service.upper()}"] = f"http://{self.address(service)}"
        # One process has one admin port: that of serving.
        settings["LARDER__SERVING__SERVER__ADMIN_LISTEN"] = f"127.0.0.1:{self.admin_port}"
        return settings

    def start(self) -> None:
        """Returns when every service is ready."""
        log = open(self.data.with_suffix(".log"), "ab")
        command = [str(self.binary), "up", "--data", str(self.data)]
        self.process = subprocess.Popen(command, cwd=self.repository, env=self.environment(), stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + START_LIMIT
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"larder up did not get ready:\n{self.data.with_suffix('.log').read_text()}")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=1) as answer:
                return answer.status == 200
        except (URLError, OSError):
            return False

    def stop(self) -> int:
        """Asks the process to end as an operator would; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def run(self, *arguments: str | Path) -> Any:
        """A command's answer with `--output json`; raises with its words where it fails."""
        command = [str(self.binary), *map(str, arguments), "--output", "json"]
        done = subprocess.run(
            command, check=False, cwd=self.repository, env=self.environment(), capture_output=True, text=True, timeout=COMMAND_LIMIT
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def apply(self) -> Any:
        return self.run("apply", "--yes")

    def materialize(self, *, incremental: bool = False) -> Any:
        return self.run("materialize", *(["--incremental"] if incremental else []))

    def push(self, source: str, events: Path) -> Any:
        return self.run("push", source, "--file", events)

    def train(self, service: str, spine: Path, out: Path) -> Any:
        return self.run("train", service, "--spine", spine, "--out", out)

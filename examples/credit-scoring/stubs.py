#!/usr/bin/env python3
"""Python stubs of Larder's contracts, generated from proto/ with grpcio-tools.

They are made when they are first needed, into the cache folder, under a name that comes from the contracts themselves;
nothing generated is kept in the repository. `python stubs.py` prints the folder.

    stubs.load()
    from larder.serving.v1 import serving_pb2, serving_pb2_grpc
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from importlib import metadata, resources
from pathlib import Path

PROTO = Path(__file__).resolve().parents[2] / "proto"


def load(proto: Path = PROTO) -> Path:
    """Makes the stubs importable as `larder.…`; gives their folder."""
    folder = generate(proto)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return folder


def generate(proto: Path = PROTO) -> Path:
    """The folder of the stubs of the contracts in `proto`, generated unless it is there."""
    files = sorted(path.relative_to(proto).as_posix() for path in proto.glob("larder/**/*.proto"))
    if not files:
        raise FileNotFoundError(f"no contracts (larder/**/*.proto) in {proto}")
    digest = hashlib.sha256(f"grpcio-tools {metadata.version('grpcio-tools')} protobuf {metadata.version('protobuf')}".encode())
    for name in files:
        digest.update(f"\n{name}\n".encode() + (proto / name).read_bytes())
    folder = cache_root() / f"stubs-{digest.hexdigest()[:16]}"
    if not folder.exists():
        generate_into(folder, proto, files)
    return folder


def generate_into(folder: Path, proto: Path, files: list[str]) -> None:
    """Generates beside `folder` and puts the result in its place in one step: no reader ever sees half of it."""
    from grpc_tools import protoc

    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = tempfile.mkdtemp(prefix="stubs-", dir=folder.parent)
    try:
        well_known = resources.files("grpc_tools") / "_proto"
        status = protoc.main(
            ["protoc", f"-I{proto}", f"-I{well_known}", f"--python_out={unfinished}", f"--grpc_python_out={unfinished}", *files]
        )
        if status != 0:
            raise RuntimeError(f"protoc could not generate the stubs of {proto}: exit code {status}")
        os.rename(unfinished, folder)
    except OSError:
        # Somebody else was quicker: theirs is the same.
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def cache_root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "larder"


if __name__ == "__main__":
    print(generate())

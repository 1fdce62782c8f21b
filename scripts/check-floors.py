#!/usr/bin/env python3
"""Checks scripts/floors.tsv against the workspace: which crate uses which, which libraries come into which build, and
that every version stands once, in the workspace's Cargo.toml; fuzz/, a workspace of its own that cannot inherit, asks for
the same ones.

Says every breach, each with the line to change, and exits with 1 if there is one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "scripts" / "floors.tsv"
DEV = "dev"
DEPENDENCY_TABLES = ("dependencies", "dev-dependencies", "build-dependencies")


@dataclass
class Table:
    floors: dict[str, int | str] = field(default_factory=dict)
    only: dict[str, list[str]] = field(default_factory=dict)
    never: dict[str, list[str]] = field(default_factory=dict)


def read_table(text: str) -> Table:
    table = Table()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match line.split("\t"):
            case ["floor", crate, floor]:
                table.floors[crate] = DEV if floor == DEV else int(floor)
            case ["only", library, crates]:
                table.only[library] = crates.split()
            case ["never", crate, libraries]:
                table.never[crate] = libraries.split()
            case _:
                sys.exit(f"{TABLE.name}:{number}: not `floor`, `only` or `never` with two more fields: {line!r}")
    return table


def cargo(*arguments: str) -> str:
    result = subprocess.run(["cargo", *arguments], cwd=ROOT, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"cargo {' '.join(arguments)} failed:\n{result.stderr}")
    return result.stdout


def crates_of_the_table(table: Table, packages: dict[str, dict]) -> list[str]:
    named = set(table.floors) | set(table.never) | {crate for crates in table.only.values() for crate in crates}
    missing = [f"{crate} has no floor: add a line for it to scripts/floors.tsv" for crate in packages if crate not in table.floors]
    stale = [f"scripts/floors.tsv names {crate}, which is not in the workspace" for crate in sorted(named - set(packages))]
    return missing + stale


def floors(table: Table, packages: dict[str, dict]) -> list[str]:
    breaches = []
    for name, package in packages.items():
        own = table.floors.get(name)
        for dependency in package["dependencies"]:
            used = table.floors.get(dependency["name"])
            if used is None or own is None or dependency["kind"] == "dev":
                continue
            if used == DEV:
                breaches.append(f"{name} uses {dependency['name']}, which is for tests: make it a dev-dependency")
            elif own != DEV and used >= own:
                breaches.append(
                    f"{name} (floor {own}) uses {dependency['name']} (floor {used}): a crate uses lower floors only"
                )
    return breaches


def direct_use(table: Table, packages: dict[str, dict]) -> list[str]:
    return [
        f"{name} uses {dependency['name']}, which only {', '.join(table.only[dependency['name']])} may use"
        for name, package in packages.items()
        for dependency in package["dependencies"]
        if dependency["kind"] != "dev"
        and dependency["name"] in table.only
        and name not in table.only[dependency["name"]]
    ]


def closures(table: Table) -> list[str]:
    """By `cargo tree`, which enables the features that this crate alone asks for, as its own binary is built."""
    breaches = []
    for crate, libraries in table.never.items():
        tree = cargo("tree", "--package", crate, "--edges", "normal", "--prefix", "none", "--format", "{p}")
        present = {line.split(" ")[0] for line in tree.splitlines() if line}
        for library in sorted(present & set(libraries)):
            way = cargo("tree", "--package", crate, "--edges", "normal", "--invert", library, "--format", "{p}")
            breaches.append(f"{library} comes into the build of {crate}:\n{indent(way)}")
    return breaches


def versions_once(packages: dict[str, dict]) -> list[str]:
    breaches = []
    for name, package in packages.items():
        manifest = tomllib.loads(Path(package["manifest_path"]).read_text())
        for table in DEPENDENCY_TABLES:
            for dependency, wanted in manifest.get(table, {}).items():
                # A crate that names itself, to have its test support in its own tests, has no version to name.
                keeps = isinstance(wanted, dict) and (wanted.get("workspace") is True or dependency == name)
                if not keeps:
                    breaches.append(
                        f"{name}: [{table}] {dependency} has a version of its own: "
                        f"name it in the workspace's Cargo.toml and write `{dependency}.workspace = true`"
                    )
    return breaches


def read_toml(path: str) -> dict:
    return tomllib.loads((ROOT / path).read_text())


def version_of(wanted: str | dict) -> str | None:
    return wanted if isinstance(wanted, str) else wanted.get("version")


def same_versions(workspace: dict, manifest: dict, name: str) -> list[str]:
    """Those that `manifest`, of another workspace, has in common with `workspace`."""
    known = workspace["workspace"]["dependencies"]
    return [
        f"{name}: [{table}] {dependency} has version {version_of(wanted)}, which is {version_of(known[dependency])} in the "
        "workspace's Cargo.toml: write the same"
        for table in DEPENDENCY_TABLES
        for dependency, wanted in manifest.get(table, {}).items()
        if dependency in known and version_of(wanted) != version_of(known[dependency])
    ]


def indent(text: str) -> str:
    return "\n".join(f"      {line}" for line in text.strip().splitlines())


def main() -> int:
    table = read_table(TABLE.read_text())
    metadata = json.loads(cargo("metadata", "--no-deps", "--format-version", "1"))
    packages = {package["name"]: package for package in metadata["packages"]}
    breaches = [
        *crates_of_the_table(table, packages),
        *floors(table, packages),
        *direct_use(table, packages),
        *versions_once(packages),
        *same_versions(read_toml("Cargo.toml"), read_toml("fuzz/Cargo.toml"), "fuzz"),
    ]
    # Asking for the tree of a crate that is not there fails; the table comes first.
    breaches += closures(table) if not breaches else []
    for breach in breaches:
        print(f"floors: {breach}", file=sys.stderr)
    if not breaches:
        print(f"floors: {len(packages)} crates keep them")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Makes stubs of glibc's libraries to link against, so that a program also runs with older versions: glibc-stubs.py BASE FOLDER

Out: FOLDER/libc.so, libm.so, libpthread.so, libdl.so and librt.so, which hold names and versions but no code. A linker asks for the newest
version of each function of the glibc it sees; here that is the newest one that BASE has (for example 2.28). glibc keeps them all, so the
program runs from BASE on. A function that BASE lacks is a link error that names it: newer-glibc.c is the place to add it.

libpthread, libdl and librt are empty names: until glibc 2.34 their functions were not in libc, so the program must load them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROW = re.compile(
    r"^(?P<value>[0-9a-f]+) (?P<flags>.{7}) (?P<section>\S+)\s+(?P<size>[0-9a-f]+)\s+\(?(?P<version>GLIBC_[0-9.]+)\)?\s+(?P<name>\S+)$"
)
EMPTY = {"libpthread.so": "libpthread.so.0", "libdl.so": "libdl.so.2", "librt.so": "librt.so.1"}
NONSHARED = "libc_nonshared.a"


def number(version: str) -> tuple[int, ...]:
    """ "GLIBC_2.2.5" -> (2, 2, 5)."""
    return tuple(int(part) for part in version.rpartition("_")[2].split("."))


def run(*command: str) -> str:
    """Standard output of a command; its failure ends this program."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def where(name: str) -> str:
    """The path of one of glibc's files, as the C compiler finds it."""
    path = run("cc", f"-print-file-name={name}").strip()
    if "/" not in path:
        sys.exit(f"error: {name} is not on this machine; run make setup")
    return path


def symbols(library: str, base: tuple[int, ...]) -> dict[str, tuple[str, bool, int]]:
    """name -> (newest version up to base, whether it is data, bytes)."""
    found: dict[str, tuple[str, bool, int]] = {}
    for line in run("objdump", "-T", library).splitlines():
        row = ROW.match(line)
        if not row or row["section"] in ("*UND*", "*ABS*") or number(row["version"]) > base:
            continue
        if row["name"] in found and number(found[row["name"]][0]) > number(row["version"]):
            continue
        found[row["name"]] = (row["version"], row["flags"].endswith("O"), int(row["size"], 16))
    return found


def build(soname: str, path: Path, found: dict[str, tuple[str, bool, int]]) -> None:
    """Links a library with these names and no code."""
    versions: dict[str, list[str]] = defaultdict(list)
    code = []
    for name, (version, is_data, size) in sorted(found.items()):
        versions[version].append(name)
        code.append(f".globl {name}\n.type {name}, {'@object' if is_data else '@function'}")
        code.append(f".data\n.balign 32\n{name}: .zero {size}\n.size {name}, {size}" if is_data else f".text\n{name}: .byte 0")
    code.append('.section .note.GNU-stack,"",@progbits\n')
    assembly, script = path.with_suffix(".s"), path.with_suffix(".map")
    assembly.write_text("\n".join(code))
    script.write_text("".join(f"{version} {{ {'; '.join(names)}; }};\n" for version, names in sorted(versions.items())))
    versioning = [f"-Wl,--version-script={script}"] if versions else []
    run("cc", "-shared", "-nostdlib", f"-Wl,-soname,{soname}", *versioning, "-o", str(path), str(assembly))


def main(base: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("libc", "libm"):
        build(f"{name}.so.6", folder / f"{name}.so.6", symbols(where(f"{name}.so.6"), number(base)))
    loader = where("ld-linux-x86-64.so.2")
    (folder / "libc.so").write_text(f"GROUP ( {folder}/libc.so.6 {where(NONSHARED)} AS_NEEDED ( {loader} ) )\n")
    (folder / "libm.so").write_text(f"GROUP ( {folder}/libm.so.6 )\n")
    for name, soname in EMPTY.items():
        build(soname, folder / name, {})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]).resolve())

"""Copies what Towline needs of a base image to a folder of its own, which becomes the image: `python3 slim.py FOLDER`.

Python and its libraries, certificates, the list of installed packages (scanners read it), a shell and a handful of
programs for whoever looks into a running pod. Package managers, Perl, compilers of locales, programs with set-uid and
all of sbin stay behind. It runs while the image is built, on the standard library alone.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import stat
import sys
from pathlib import Path

PROGRAMS = {"sh", "dash", "cat", "echo", "env", "false", "id", "ls", "sleep", "true"}
# Made anew by whoever runs the image, or of the build alone.
ELSEWHERE = {"boot", "build", "dev", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp"}
# Written by whoever runs a container, and by whoever builds one.
OF_THE_RUNTIME = {"etc/hostname", "etc/hosts", "etc/machine-id", "etc/mtab", "etc/resolv.conf", ".dockerenv"}
UNUSED_FOLDERS = {
    "usr/games",
    "usr/include",
    "usr/lib/apt",
    "usr/lib/dpkg",
    "usr/lib/init",
    "usr/lib/systemd",
    "usr/lib/udev",
    "usr/libexec",
    "usr/local/include",
    "usr/local/share",
    "usr/src",
    "var/cache",
    "var/lib/apt",
    "var/lib/dpkg/info",
    "var/log",
    "etc/apt",
    "etc/cron.daily",
    "etc/dpkg",
    "etc/perl",
    "etc/systemd",
}
UNUSED_NAMES = {"perl", "perl5", "perl-base", "gconv", "security", "audit", "pkgconfig", "engines-3", "ossl-modules"}
UNUSED_SHARES = {"bash-completion", "bug", "debconf", "doc", "doc-base", "info", "keyrings", "lintian", "locale", "man"}
UNUSED_OF_PYTHON = {"ensurepip", "idlelib", "lib2to3", "pip", "pydoc_data", "test", "tkinter", "turtledemo", "venv"}


def wanted(path: str) -> bool:
    """Whether a path, without its leading slash, belongs into the image."""
    parts = path.split("/")
    top, name = parts[0], parts[-1]
    if top in ELSEWHERE or path in UNUSED_FOLDERS or path in OF_THE_RUNTIME:
        return False
    folder = "/".join(parts[:-1])
    if folder in {"bin", "usr/bin", "usr/local/bin"}:
        return name in PROGRAMS or (name.startswith("python") and "config" not in name)
    if folder in {"sbin", "usr/sbin", "usr/local/sbin"}:
        return False
    if len(parts) >= 3 and parts[-2].startswith(("python3", "site-packages", "dist-packages")):
        return name not in UNUSED_OF_PYTHON and not name.startswith("pip-")
    if "lib" in parts:
        return name not in UNUSED_NAMES and not name.startswith("libperl.so")
    if folder == "usr/share":
        return name not in UNUSED_SHARES and not name.startswith("perl")
    return True


def copy(root: Path, target: Path) -> None:
    """Everything of `root` that is wanted, into `target`, with its modes but never with set-uid."""
    for here, folders, files in os.walk(root):
        place = Path(here).relative_to(root)
        links = [name for name in folders if (Path(here) / name).is_symlink()]
        folders[:] = [name for name in folders if name not in links and wanted(str(place / name))]
        for name in [*links, *files]:
            source = Path(here) / name
            if wanted(str(place / name)) and (source.is_symlink() or source.is_file()):
                shutil.copy2(source, target / place / name, follow_symlinks=False)
                if not source.is_symlink():
                    (target / place / name).chmod(stat.S_IMODE(source.stat().st_mode) & 0o777)
        for name in folders:
            (target / place / name).mkdir(mode=0o755)


def compile_library(target: Path) -> None:
    """Byte code of the standard library that says by no time of which source it is: a build sets times as it likes."""
    for library in [*target.glob("usr/lib/python3*"), *target.glob("usr/local/lib/python3*")]:
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(
            library, maxlevels=20, stripdir=target, prependdir="/", quiet=2, force=True, invalidation_mode=mode
        )


def main() -> None:
    target = Path(sys.argv[1])
    target.mkdir()
    # Not to be walked into: the target itself and this file lie under one of ELSEWHERE.
    copy(Path("/"), target)
    compile_library(target)
    (target / "tmp").mkdir()
    (target / "tmp").chmod(0o1777)


if __name__ == "__main__":
    main()

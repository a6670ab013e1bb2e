"""What the lake needs of a store of objects, and a folder that gives it."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from towline_connectors.sinks.base import SinkError


class Objects(Protocol):
    """Paths are relative, with slashes. Everything raises SinkError."""

    def read(self, path: str) -> bytes | None:
        """The object, or None when there is none."""

    def create(self, path: str, body: bytes) -> bool:
        """Make an object as a whole; False when one of that path exists, which then stays as it is."""

    def upload(self, path: str, file: Path) -> None:
        """Make or overwrite an object from a file."""

    def download(self, path: str, file: Path) -> None:
        """Copy an object into a file."""

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        """Paths that begin with `prefix`, in order, those behind `after`."""

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens when there is none."""

    def close(self) -> None: ...


class Folder:
    """Objects as files below a folder, which is made when it does not exist."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def read(self, path: str) -> bytes | None:
        with self._errors():
            try:
                return (self._root / path).read_bytes()
            except FileNotFoundError:
                return None

    def create(self, path: str, body: bytes) -> bool:
        target = self._root / path
        with self._errors(), self._beside(target) as half:
            with half.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(half, target)  # unlike a rename it fails when the name is taken
            except FileExistsError:
                return False
        return True

    def upload(self, path: str, file: Path) -> None:
        target = self._root / path
        with self._errors(), self._beside(target) as half:
            shutil.copyfile(file, half)
            with half.open("rb") as copied:
                os.fsync(copied.fileno())
            half.replace(target)

    def download(self, path: str, file: Path) -> None:
        with self._errors():
            shutil.copyfile(self._root / path, file)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        folder = self._root / prefix.rpartition("/")[0]
        with self._errors():
            found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        names = sorted(path.relative_to(self._root).as_posix() for path in found)
        return (name for name in names if name.startswith(prefix) and name > after)

    def delete(self, path: str) -> None:
        with self._errors():
            (self._root / path).unlink(missing_ok=True)

    def close(self) -> None:
        """A folder holds nothing open."""

    @contextmanager
    def _beside(self, target: Path) -> Iterator[Path]:
        target.parent.mkdir(parents=True, exist_ok=True)
        half = target.with_name(f".{secrets.token_hex(8)}")
        try:
            yield half
        finally:
            half.unlink(missing_ok=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise describe(error, str(self._root)) from None


def describe(error: OSError, where: str) -> SinkError:
    """What happened to a folder, and the cure."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SinkError(f"The volume of {where} is full; make it larger or free space.", full=True)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SinkError(f"{where} cannot be written to: give this user write access to the folder.")
    return SinkError(f"{where} cannot be read or written ({errno.errorcode.get(error.errno or 0, 'unknown error')}).")

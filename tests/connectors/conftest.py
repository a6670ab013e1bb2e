"""Directories for the tests of connectors: a large one of each kind to read, small ones to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests import slapd
from tests.slapd import MakeDirectory, Slapd

from towline_connectors.catalogue.iam.directory import Options


@pytest.fixture(scope="session")
def _slapd_installed() -> None:
    if not slapd.available():
        pytest.skip("slapd is not installed, and only root can install it")


@pytest.fixture(scope="session")
def large_openldap(_slapd_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """3,000 people, 60 groups, one of them with 2,000 members. To be read only."""
    with slapd.running(Options(), tmp_path_factory.mktemp("openldap")) as server:
        yield server


@pytest.fixture(scope="session")
def large_active_directory(_slapd_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """The same as a domain, with 300 computers. To be read only."""
    with slapd.running(Options(flavour="active-directory"), tmp_path_factory.mktemp("domain")) as server:
        yield server


@pytest.fixture
def make_directory(_slapd_installed: None, tmp_path: Path) -> Iterator[MakeDirectory]:
    """Makes small directories that a test may change: `make_directory(flavour="openldap", people=40)`."""
    with ExitStack() as stack:

        def make(flavour: str = "openldap", people: int = 40, groups: int = 12, computers: int = 10) -> Slapd:
            options = Options(flavour, people, groups, computers, everybody=30)  # type: ignore[arg-type]
            folder = tmp_path / f"directory-{flavour}"
            return stack.enter_context(slapd.running(options, folder))

        yield make

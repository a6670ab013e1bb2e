"""Every command that README, documentation, examples and connectors' pages show, typed on a real node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hack.demo.target import install
from tests.node import docs_lines
from tests.node.docs_lines import HERE, Line
from tests.node.docs_stage import Stage
from tests.node.installation import INSTALLED_WITH, Towline
from tests.postgres import Postgresql, postgresql  # noqa: F401

pytestmark = pytest.mark.node
LINES = [line for line in docs_lines.collected() if not line.not_run]
INSTALLING = list({line.text: line for line in LINES if docs_lines.INSTALLS.match(line.text)}.values())
REMOVING = list({line.text: line for line in LINES if docs_lines.REMOVES.match(line.text)}.values())
APART = {line.text for line in (*INSTALLING, *REMOVING)}
# What several pages show is typed once, at the first of them.
USING = list({(line.text, line.namespace): line for line in reversed(LINES) if line.text not in APART}.values())[::-1]


@pytest.fixture(scope="module")
def stage(
    towline: Towline,
    postgresql: Postgresql,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """Towline as the pages install it, instead of what the other tests use; theirs comes back."""
    made = Stage(towline, tmp_path_factory.mktemp("person"), postgresql.new_database())
    try:
        made.set_up()
        for line in INSTALLING:
            made.uninstall()
            made.install(line, wait=line is INSTALLING[-1])
        made.fill()
        yield made
    finally:
        made.close()
        made.uninstall()
        towline.target.kubectl("delete", "namespace", HERE, "--ignore-not-found", "--wait=false")
        install(towline.target, towline.image, INSTALLED_WITH)


@pytest.mark.parametrize("page", dict.fromkeys(line.page for line in USING))
def test_every_command_of_the_page_works(stage: Stage, page: str) -> None:
    for line in USING:
        if line.page == page:
            said = stage.type(line)
            missing = [word for word in docs_lines.EXPECTED.get(line.text, ()) if word not in said]
            assert not missing, f"$ {line.text}\n{said}"
    stage.stop_serving()


def test_the_commands_of_the_charts_notes_work(stage: Stage) -> None:
    commands = stage.notes()
    assert len(commands) == 5
    for command in commands:
        if "lastSync" not in command and "delete crd" not in command:  # of a feed on the internet; at the very end
            stage.run(command, stage.folder)


@pytest.mark.parametrize("line", REMOVING, ids=lambda line: str(line.text))
def test_what_removes_it_works(stage: Stage, line: Line) -> None:
    stage.type(line)

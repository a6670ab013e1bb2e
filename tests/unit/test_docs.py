"""The documentation's own promises: links and anchors lead somewhere, commands and manifests are right, and tables
name what exists. What can be run without a cluster is run by tests/cli/test_tutorial.py, manifests are shown to a real
API server by tests/api/test_docs_manifests.py."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from tests.node import docs_lines
from tests.unit.doc_blocks import PAGES, ROOT, SHELLS, Block, all_blocks, inline_commands

from towline.api.conditions import Reason

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")


def words_of(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\S+", text))


KINDS = words_of("""
    connector connectors conn integration integrations intg syncjob syncjobs sync secret secrets pod pods job jobs crd
    deployment deploy pvc event events quota resourcequota node nodes configmap cronjob namespace service svc
    lease leases networkpolicy networkpolicies""")
KUBECTL = words_of("""
    apply get describe wait annotate edit logs delete patch create cp config exec rollout run port-forward diff label
    top towline scale explain version auth""")
HELM = words_of("install upgrade uninstall rollback template test get history list package push")
OTHERS = words_of("""
    docker sqlite3 psql source grep sed cat head jq cd git curl python pip uv python3 open mkdir chmod""")


def ids(value: object) -> str | None:
    if isinstance(value, Path):
        return str(value.relative_to(ROOT))
    return value.place if isinstance(value, Block) else None


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that a page's headings have where Markdown is shown."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+?)\s*$", text, flags=re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head).lower() for head in heads]
    named = re.findall(r'<a (?:id|name)="([^"]+)"', text)
    return frozenset([*(re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain), *named])


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_within_the_checkout_lead_somewhere(page: Path) -> None:
    missing = []
    for link, anchor in LINK.findall(page.read_text("utf-8")):
        target = (page.parent / link).resolve() if link else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            missing.append(f"{link}#{anchor}" if anchor else link)
    assert missing == []


def told(words: list[str]) -> str:
    """What is wrong with a command; empty when it is right."""
    match words[0]:
        case "towline" | "kubectl-towline":
            return told_towline(words[1:])
        case "kubectl" if words[1:2] == ["towline"]:
            return told_towline(words[2:])
        case "kubectl":
            return told_kubectl(words[1:])
        case "helm":
            return told_helm(words[1:])
        case "make":
            unknown = [word for word in words[1:] if "=" not in word and word not in targets()]
            return f"no target {', '.join(unknown)}" if unknown else ""
        case ".venv/bin/python" | "python" if words[1:2] == ["-m"]:
            module = ROOT / words[2].replace(".", "/")
            return "" if module.is_dir() or module.with_suffix(".py").exists() else f"no module {words[2]}"
        case program:
            return "" if program in OTHERS else f"{program} is no program that the documentation may ask for"


def told_towline(arguments: list[str]) -> str:
    """Parse with the real command: verbs, options and choices have to exist."""
    from towline.cli.main import cli

    if not arguments or arguments[0] in ("--help", "--version", "-h"):
        return ""
    command: click.Command = cli
    context = click.Context(cli, info_name="towline")
    rest = [PLACEHOLDERS.get(word, word) for word in arguments]
    while isinstance(command, click.Group):
        found = command.get_command(context, rest[0]) if rest else None
        if found is None:
            return f"no command towline {' '.join(rest[:1])}"
        command, rest = found, rest[1:]
    if "--help" in rest:
        return ""
    try:
        command.make_context(str(command.name), rest, parent=context)
    except click.ClickException as error:
        return f"{' '.join(arguments)}: {error.format_message()}"
    return ""


PLACEHOLDERS = {"DURATION": "1h"}


def told_kubectl(arguments: list[str]) -> str:
    words: list[str] = []
    flags = iter(arguments)
    for word in flags:
        if word in ("-n", "--namespace", "-o", "-l", "-f", "--type", "-p", "--field-selector", "--timeout", "--image"):
            next(flags, None)
        elif not word.startswith("-"):
            words.append(word)
    if not words or words[0] not in KUBECTL:
        return f"kubectl {' '.join(words[:1])} is not known to this test"
    if words[0] in ("apply", "logs", "cp", "config", "exec", "run", "towline", "port-forward", "diff", "version"):
        return ""
    subjects = words[2:3] if words[0] in ("rollout", "top", "auth") else words[1:2]
    if words[0] == "create":
        subjects = words[1:2]
    for kind in [part for subject in subjects for part in subject.split("/")[0].split(",")]:
        if kind and kind.partition(".")[0].lower() not in KINDS and not kind.isupper():
            return f"kubectl {words[0]} {kind}: no such kind"
    return ""


@cache
def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "charts" / "towline" / "values.yaml").read_text())
    return found


def told_helm(arguments: list[str]) -> str:
    if arguments[0] not in HELM:
        return f"helm {arguments[0]} is not known to this test"
    charts = [word for word in arguments if word.startswith("charts/")]
    if charts and not (ROOT / charts[0] / "Chart.yaml").exists():
        return f"there is no chart {charts[0]}"
    flags = ("--set", "--set-string", "--set-json")
    settings = [arguments[at + 1] for at, word in enumerate(arguments) if word in flags]
    for setting in settings:
        place: Any = values()
        for key in setting.partition("=")[0].split("."):
            if not isinstance(place, dict) or (place and key not in place):
                return f"values.yaml has no {setting.partition('=')[0]}"
            place = place.get(key, {})
    return ""


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("block", all_blocks(*SHELLS), ids=ids)
def test_every_command_in_a_block_is_one_that_exists(block: Block) -> None:
    wrong = [found for words in block.commands() if (found := told(words))]
    assert wrong == [] or block.not_run, block.place


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_in_a_sentence_is_one_that_exists(page: Path) -> None:
    wrong = [found for words in inline_commands(page) if "VERB" not in words and (found := told(words))]
    assert [found for found in wrong if "Missing argument" not in found] == []  # a verb that is only named


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=ids)
def test_every_manifest_is_valid(block: Block, tmp_path: Path) -> None:
    from towline.cli.checking import check
    from towline.cli.manifests import read_all

    objects = [found for found in yaml.safe_load_all(block.text) if found]
    if not all(isinstance(one, dict) and "apiVersion" in one and "kind" in one for one in objects):
        assert block.not_run or not any(isinstance(one, dict) and "kind" in one for one in objects)
        return  # a part of a manifest, or values of the chart
    file = tmp_path / "block.yaml"
    file.write_text(block.text)
    assert [finding.problems for finding in check(read_all([str(file)])) if finding.problems] == [] or block.not_run


def test_every_exception_from_typing_the_commands_is_still_shown() -> None:
    """tests/node/test_docs_commands.py types every command that is not listed here."""
    shown = {line.text for line in docs_lines.collected()}
    for exceptions in (
        docs_lines.NOT_RUN,
        docs_lines.NAMED,
        docs_lines.MAY_FIND_NOTHING,
        docs_lines.NOT_READY,
        docs_lines.ENDLESS,
        docs_lines.EXPECTED,
    ):
        assert set(exceptions) - shown == set()
    assert all(docs_lines.NOT_RUN.values()), "each with its reason"
    consoles = {block.page.name for block in all_blocks("console")}
    assert consoles == {"tutorial.md", "quickstart.md"}, "which tests/cli/test_tutorial.py types"


def test_blocks_name_their_language() -> None:
    assert [block.place for block in all_blocks("")] == []


def test_troubleshooting_speaks_of_reasons_that_exist() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    named = re.findall(r"^\| ((?:`[A-Za-z]+`(?:, )?)+)", text, flags=re.MULTILINE)
    reasons = {reason for row in named for reason in re.findall(r"`([A-Za-z]+)`", row)}
    assert len(reasons) > 15
    assert reasons <= {str(reason) for reason in Reason}


def test_troubleshooting_leaves_out_no_reason_that_is_a_trouble() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    well = {
        Reason.PROGRESSING, Reason.SYNCED, Reason.VALID, Reason.ACCEPTED, Reason.REACHABLE, Reason.UP_TO_DATE,
        Reason.RUNNING, Reason.RETRYING, Reason.COMPLETED,
        Reason.INVALID_MANIFEST,  # of a Connector: `kubectl describe` has it line by line
    }  # fmt: skip
    assert [str(reason) for reason in Reason if reason not in well and f"`{reason}`" not in text] == []


@pytest.mark.parametrize("page", [page for page in PAGES if ".py" in page.read_text()], ids=ids)
def test_modules_and_folders_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    files = [f"/{path.relative_to(ROOT)}" for folder in ("operator", "connectors", "tests", "hack")
             for path in (ROOT / folder).rglob("*.py")]  # fmt: skip
    named = set(re.findall(r"[\w/]+\.py\b", text)) - {"__init__.py"}
    modules = {one for one in named if not one.endswith("simulator.py")}  # each connector's, also the tutorial's own
    assert {one for one in modules if not any(file.endswith(f"/{one}") for file in files)} == set()
    folders = set(re.findall(r"`((?:operator|connectors|charts|docs|tests|hack|examples|crds)/[\w/]*)`", text))
    assert {one for one in folders if not (ROOT / one).is_dir()} == set()


def test_the_page_of_the_command_line_lists_every_verb() -> None:
    from towline.cli.main import VERBS

    table = [line for line in (ROOT / "docs" / "cli.md").read_text().splitlines() if line.startswith("| ")]
    listed = {verb for line in table for verb in re.findall(r"`([a-z]+)`", line.split("|")[1])}
    assert {verb.name for _, verbs in VERBS for verb in verbs} <= listed


def test_each_of_our_cells_of_the_comparison_names_what_shows_it() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs" / "comparison.md").read_text().splitlines()
        if line.startswith("|")
    ]
    ours = [row for row in rows if len(row) == 6 and row[1] not in ("Towline", "---")]
    assert len(ours) > 30
    for row in ours:
        shown = re.findall(r"`([^`]+)`", row[1])
        tests = [one for one in shown if one.startswith("tests/")]
        commands = [one for one in shown if one.split()[0] in ("towline", "make")]
        assert tests or commands, row[0]
        for one in tests:
            file, _, name = one.partition("::")
            assert (ROOT / file).is_file(), one
            assert not name or re.search(rf"def {name}\(", (ROOT / file).read_text()), one
        assert [found for one in commands if (found := told(one.split()))] == [], row[0]


def test_each_cell_about_others_names_its_source_or_says_that_we_do_not_know() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs" / "comparison.md").read_text().splitlines()
        if line.startswith("|")
    ]
    theirs = [(row[0], cell) for row in rows if len(row) == 6 and row[1] not in ("Towline", "---") for cell in row[2:]]
    assert len(theirs) > 120
    assert [each for each in theirs if each[1] not in ("?", "–") and not re.search(r"\[[a-z]\]", each[1])] == []


def test_the_comparison_tells_where_its_facts_come_from() -> None:
    text = (ROOT / "docs" / "comparison.md").read_text()
    named, explained = set(re.findall(r"\[([a-z])\]", text)), set(re.findall(r"^\| ([a-z]) \|", text, re.MULTILINE))
    assert named == explained

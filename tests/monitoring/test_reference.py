"""docs/monitoring.md lists what there is: metrics with their labels, alerts with their severity, events."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml
from hack.chart import CHART, CHECKOUT
from prometheus_client.metrics import MetricWrapperBase

from towline import gauges
from towline.api.conditions import Reason
from towline.metrics import Metrics

PAGE = (CHECKOUT / "docs" / "monitoring.md").read_text()
SUFFIX = {"counter": "_total"}


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the table under a heading, without its first two lines."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def listed(heading: str, common: tuple[str, ...]) -> dict[str, set[str]]:
    return {
        name: {*common, *re.findall(r"`(\w+)`", labels)}
        for names, labels, _ in rows(heading)
        for name in re.findall(r"`(towline_\w+)`", names)
    }


def test_the_page_has_every_metric_with_its_labels_and_no_other() -> None:
    told = listed("Metrics of an Integration", ("namespace", "integration")) | listed("Metrics of the installation", ())
    made = [each for each in vars(Metrics(list, "1")).values() if isinstance(each, MetricWrapperBase)]
    wanted = {each._name + SUFFIX.get(each._type, ""): set(each._labelnames) for each in made}
    wanted["towline_build_info"] = {"version", "revision", "python"}
    sample = gauges.IntegrationSample(
        "ns", "a", "acme", "EDR", (("Stalled", "True", "x"),), False, 1.0, 1.0, 0, 1.0, 1.0, 1, "Healthy", 1.0, 1.0,
        (("credentials", 1.0),),
    )  # fmt: skip
    for name, labels in re.findall(r"^(towline_\w+)\{(.*)\}", gauges.page([sample]).decode(), re.MULTILINE):
        wanted.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    assert told == wanted


def test_the_page_has_every_alert_with_its_severity() -> None:
    groups = yaml.safe_load((CHART / "files" / "monitoring" / "alerts.yaml").read_text())["groups"]
    wanted = {rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"]}
    told = {re.findall(r"\[(\w+)\]", link)[0]: severity for link, severity, _ in rows("Alerts")}
    assert told == wanted


def test_the_page_has_every_event() -> None:
    sources = [path.read_text() for path in (CHECKOUT / "operator" / "towline").rglob("*.py")]
    emitted = {name for text in sources for name in re.findall(r'Emit\([^"]*"(?:Normal|Warning)", "(\w+)"', text)}
    assert len(emitted) >= 10
    told = {name for _, names, _ in rows("Events") for name in re.findall(r"`(\w+)`", names)}
    assert emitted - told == set()
    assert {str(Reason.INVALID_MANIFEST), f"Sync{Reason.CANCELLED}", f"Credentials{Reason.EXPIRED}"} <= told
    # A reason that somebody may look for is written somewhere.
    everything = "".join(sources)
    stems = {re.sub(r"^(Sync|Credentials)", "", name) for name in told}
    assert {stem for stem in stems if stem not in everything} == set()

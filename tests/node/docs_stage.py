"""What the documentation speaks of, as it stands before a person who types its commands: Towline installed as the
pages say, Integrations with the pages' names, files that they name, and systems that are simulated on this machine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hack.chart import CHECKOUT
from hack.demo.helm import helm_program
from hack.demo.target import RELEASE, SYSTEM_NAMESPACE, Target, host_address
from tests.cluster.kubectl import find_kubectl
from tests.node import docs_lines
from tests.node.docs_lines import HERE, Line
from tests.node.installation import Towline, kill_process, until
from tests.unit.doc_blocks import blocks

SECONDS = 60
LINKS = ("charts", "examples", "Makefile", "requirements-dev.lock", "pyproject.toml")
_HELM = """#!/bin/sh
# What this machine lacks: a registry, two nodes, public addresses. What stands on the command line goes before it.
case "$1" in
  install|upgrade) exec {helm} "$@" --values {values} --take-ownership --wait=${{WAIT:-true}} --timeout 3m;;
  *) exec {helm} "$@";;
esac
"""


@dataclass
class Simulated:
    """`towline simulate NAME`, served where this machine and pods reach it."""

    process: subprocess.Popen[bytes]
    manifests: Path

    def documents(self) -> list[dict[str, Any]]:
        return [each for each in yaml.safe_load_all(self.manifests.read_text()) if each]


@dataclass
class Stage:
    towline: Towline
    folder: Path
    database_url: str
    systems: dict[str, Simulated] = field(default_factory=dict)
    serving: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> Target:
        return self.towline.target

    # Before the first command

    def set_up(self) -> None:
        (self.folder / "bin").mkdir()
        repository, _, tag = self.towline.image.rpartition(":")
        values = {
            "image": {"repository": repository, "tag": tag},
            "replicas": 1,
            "egress": {"allow": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]},
        }
        file = self.folder / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        helm = self.folder / "bin" / "helm"
        helm.write_text(_HELM.format(helm=helm_program(), values=file))
        helm.chmod(0o755)
        (self.folder / "bin" / "kubectl").symlink_to(find_kubectl())
        for name in ("servicenow", "tenable-io", "cisa-kev", "trivy", "grype"):
            self.systems[name] = self._simulate(name)
        until(lambda: all(each.manifests.exists() for each in self.systems.values()), 60)

    def _simulate(self, name: str) -> Simulated:
        small = {"servicenow": ["incidents=40", "computers=10", "servers=10", "users=20", "groups=5"],
                 "tenable-io": ["assets=20"], "cisa-kev": ["vulnerabilities=30"]}.get(name, [])  # fmt: skip
        file = self.folder / f"{name}-simulated.yaml"
        command = [str(Path(sys.executable).with_name("towline")), "simulate", name, "--port=0", f"--write={file}"]
        command += [f"--host={host_address(self.target)}", *(f"--set={each}" for each in small)]
        with (self.folder / f"{name}.log").open("wb") as log:
            return Simulated(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder), file)

    def fill(self) -> None:
        """The Integrations and files of the pages; an operator that has started twice; rows on this machine."""
        assert kill_process(self.towline.operator_pod()["metadata"]["uid"])  # its log of before is asked for
        self.target.namespace(HERE)
        self.target.apply(self._failing("tenable-io", "tenable-prod", HERE))
        for name in ("servicenow", "tenable-io"):
            self.run(f"towline run -f {self.systems[name].manifests}", self.folder)
        self.run(f"towline run -f {self.systems['servicenow'].manifests} --to {self.database_url}", self.folder)
        self.run(f"towline run -f {self.systems['cisa-kev'].manifests} --to parquet:///lake", self.folder)
        self._files()
        self.run(f"kubectl apply -f {self.folder}/integration.yaml", self.folder)
        self.run(f"kubectl -n {HERE} wait integrations --all --for=condition=Ready --timeout=2m", self.folder)
        self.towline.condition(HERE, "servicenow-prod", "Fresh", "UpToDate", 120)
        assert self.towline.result(HERE, "tenable-prod")["reason"] == "Unreachable"

    def _files(self) -> None:
        (self.folder / "reports").mkdir()
        for name in ("trivy", "grype"):
            (document,) = self.systems[name].documents()
            with urllib.request.urlopen(document["spec"]["config"]["url"], timeout=10) as answer:
                (self.folder / "reports" / f"{name}.json").write_bytes(answer.read())
        readme = next(block.text for block in blocks(CHECKOUT / "README.md") if block.kind == "yaml")
        secret, integration = yaml.safe_load_all(readme)
        (system,) = [one for one in self.systems["servicenow"].documents() if one["kind"] == "Integration"]
        host = system["spec"]["config"]["host"]
        secret["metadata"]["annotations"]["towline.dev/allowed-hosts"] = host
        secret["stringData"] = {"username": "simulator", "password": "simulator"}
        integration["spec"]["config"] = {**integration["spec"]["config"], "host": host, "scheme": "http"}
        self._write("integration.yaml", secret, integration)
        self._write("secret.yaml", secret)
        self._write("servicenow.yaml", *self.systems["servicenow"].documents())
        self._write("tenable.yaml", *self.systems["tenable-io"].documents())
        page = blocks(CHECKOUT / "docs" / "quickstart.md")
        kev = yaml.safe_load(next(block.text for block in page if block.kind == "yaml"))
        kev["spec"]["config"] = self.systems["cisa-kev"].documents()[-1]["spec"]["config"]
        self._write("kev.yaml", kev)

    def _failing(self, system: str, name: str, namespace: str) -> str:
        """The manifests of a simulated system under other names, at an address where nothing answers: the pod of its
        one attempt stays, as pages that speak of logs have it."""
        documents = self.systems[system].documents()
        for each in documents:
            each["metadata"] = {**each["metadata"], "name": name, "namespace": namespace}
            if each["kind"] == "Integration":
                each["spec"]["credentials"] = {"secretRef": {"name": name}}
                each["spec"]["config"]["base_url"] = f"http://{host_address(self.target)}:9"
                each["spec"]["retry"] = {"maxAttempts": 1}
            else:
                each["metadata"]["annotations"]["towline.dev/allowed-hosts"] = f"{host_address(self.target)}:9"
        return yaml.safe_dump_all(documents)

    def _write(self, name: str, *documents: dict[str, Any]) -> None:
        (self.folder / name).write_text(yaml.safe_dump_all(documents))

    # The commands

    def _checkout(self, name: str) -> Path:
        """A folder in which the checkout's files are, as far as the commands name them."""
        folder = self.folder / name
        if not folder.exists():
            folder.mkdir()
            for link in LINKS:
                (folder / link).symlink_to(CHECKOUT / link)
            (folder / ".venv").symlink_to(sys.prefix)
        return folder

    def place(self, page: str) -> Path:
        """A folder of its own for the commands of a page, with the files that they name."""
        name = re.sub(r"\W", "-", page)
        if (self.folder / name).exists():
            return self.folder / name
        folder = self._checkout(name)
        text = (CHECKOUT / page).read_text()
        for name in ("integration.yaml", "secret.yaml", "servicenow.yaml", "tenable.yaml", "kev.yaml", "towline.db"):
            if f"--write {name}" not in text:  # which the page makes itself
                shutil.copy(self.folder / name, folder / name)
        for name in ("reports", "lake"):
            shutil.copytree(self.folder / name, folder / name)
        for block in blocks(CHECKOUT / page):
            if block.kind == docs_lines.TYPED_ELSEWHERE:
                for line in block.lines():
                    if line.startswith("towline connector new"):
                        self.run(line, folder)
            if block.extra.startswith("file="):
                (folder / block.extra.removeprefix("file=")).write_text(block.text)
        return folder

    def install(self, line: Line, *, wait: bool) -> None:
        """Type one of the commands that install."""
        haste = "" if wait else "WAIT=false "
        self.run(f"{haste}{self._filled(line)}", self._checkout("installing"))

    def notes(self) -> list[str]:
        """The commands that Helm's notes show, here-documents included, as somebody pastes them."""
        found: list[str] = []
        rest = iter(self.run(f"helm get notes {RELEASE} -n {SYSTEM_NAMESPACE}", self.folder).splitlines())
        for shown in rest:
            if not shown.strip().startswith("kubectl"):
                continue
            pasted = [shown]
            if "<<EOF" in shown:
                for inner in rest:
                    pasted.append(inner)
                    if inner == "EOF":
                        break
                else:
                    raise AssertionError("the here-document of the notes has no end that a shell would see")
            found.append("\n".join(pasted))
        return found

    def type(self, line: Line) -> str:
        """What a command of the documentation prints. Fails when it ends as none of the documentation should."""
        command = self._filled(line)
        folder = self.place(line.page)
        if docs_lines.SERVES.match(line.text) and "--options" not in line.text:
            return self._serve(command, folder)
        if another := docs_lines.INSTALLS_ANOTHER.match(line.text):
            try:
                return self.run(f"WAIT=false {command}", folder, line.namespace)
            finally:  # the other pages speak of one installation
                self.run(
                    "helm uninstall {release} -n {namespace} --ignore-not-found".format(**another.groupdict()), folder
                )
        good = {0}
        if line.text in docs_lines.ENDLESS:
            command, good = f"timeout 2 {command}", {124}
        if line.text in docs_lines.NOT_READY:
            good = {0, 2}
        if line.text in docs_lines.MAY_FIND_NOTHING:
            good = {0, 1}
        return self.run(command, folder, line.namespace, good)

    def run(self, command: str, folder: Path, namespace: str = HERE, good: set[int] | None = None) -> str:
        """What a command prints on both outputs; fails unless it ends with one of the codes `good`."""
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=self._environment(namespace), capture_output=True, text=True,
            timeout=SECONDS,
        )  # fmt: skip
        said = done.stdout + done.stderr
        print(f"{time.monotonic() - began:5.1f} s  {command}")
        assert done.returncode in (good or {0}), f"$ {command}\n{said[-3000:]}\nended with {done.returncode}"
        return said

    def _environment(self, namespace: str) -> dict[str, str]:
        config = self.folder / f"kubeconfig-{namespace}"
        if not config.exists():
            shutil.copy(self.target.kubeconfig, config)
            command = [str(find_kubectl()), f"--kubeconfig={config}", "config", "set-context", "--current"]
            subprocess.run([*command, f"--namespace={namespace}"], check=True, capture_output=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TOWLINE_", "KUBE", "HELM"))}
        path = os.pathsep.join((str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
        # Make shows what it would do: its targets are this very checkout's builds and tests.
        asked = {"KUBECONFIG": str(config), "PATH": path, "MAKEFLAGS": "n", "EDITOR": "true", "PYTHONUTF8": "1"}
        return {**kept, **asked, "WAREHOUSE_URL": self.database_url, "URL": self.database_url}

    def _filled(self, line: Line) -> str:
        """The command with what stands for something of one's own filled in."""
        text = line.text
        if text.startswith("towline connector ") or text.startswith("towline explain "):
            text = text.replace("NAME", "newone" if " new " in text else "cisa-kev")
        if text.startswith("towline logs "):
            text = text.replace("logs NAME", "logs tenable-prod")
        host = self.systems["servicenow"].documents()[-1]["spec"]["config"]["host"]
        for pattern, value in (
            (r"\bsyncjob NAME\b", lambda: f"syncjob {self._sync()}"),
            (r"\bsecret NAME\b", lambda: "secret servicenow-api"),
            (r"\bNAME\b", lambda: "servicenow-prod"),
            (r"\bNAMESPACE\b", lambda: HERE),
            (r"\bCONNECTOR\b", lambda: "servicenow"),
            (r"\bHOST\b", lambda: host),
            (r"\bFILE\b", lambda: "servicenow.yaml"),
            (r"parquet:///FOLDER", lambda: "parquet:///lake"),
            (r"\bREGISTRY\b|registry\.example\.com", lambda: self.towline.image.partition("/")[0]),
            (r"postgresql://reader@db/towline", lambda: shlex.quote(self.database_url)),
            (r"\[SEARCH\]", lambda: "ticket"),
            (r"5f0c…", self._asset),
        ):
            if re.search(pattern, text):
                text = re.sub(pattern, value().replace("\\", r"\\"), text)
        return text

    def _sync(self) -> str:
        """A SyncJob that is over."""
        runs = [each for each in self.towline.runs(HERE, "servicenow-prod") if each["status"].get("completionTime")]
        return str(runs[0]["metadata"]["name"])

    def _asset(self) -> str:
        found = self.run("sqlite3 towline.db 'select uid from assets limit 1'", self.folder)
        return found.strip()

    def _serve(self, command: str, folder: Path) -> str:
        """Start a command that serves until it is stopped; it goes on until the next one or the end."""
        self.stop_serving()
        log = folder / "serving.log"
        with log.open("wb") as output:
            self.serving = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=folder, env=self._environment(HERE), stdout=output, stderr=output
            )
        end = time.monotonic() + SECONDS
        while "another terminal" not in log.read_text():
            assert self.serving.poll() is None, f"$ {command}\n{log.read_text()}"
            assert time.monotonic() < end, f"$ {command}\n{log.read_text()}"
            time.sleep(0.05)
        return log.read_text()

    def stop_serving(self) -> None:
        if self.serving is not None:
            self.serving.send_signal(signal.SIGINT)
            assert self.serving.wait(30) == 0
            self.serving = None

    def uninstall(self) -> None:
        self.run(f"helm uninstall {RELEASE} -n {SYSTEM_NAMESPACE} --ignore-not-found --wait", self.folder)

    def close(self) -> None:
        self.stop_serving()
        for system in self.systems.values():
            system.process.send_signal(signal.SIGINT)
        for system in self.systems.values():
            system.process.wait(30)

"""Builds Kubernetes' programs from Go modules, and keeps them by the hash of what they are built from.

The versions are pinned by hack/cluster/*/go.mod and go.sum, so a build is the same everywhere and nothing is
downloaded but Go modules, which the Go toolchain checks against go.sum.
"""

import hashlib
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.folders import HACK, cache_folder
from tests.cluster.locks import file_lock
from tests.cluster.processes import last_lines
from tests.cluster.report import ClusterError, say, step
from tests.cluster.toolchain import find_go

KUBERNETES_VERSION = "v1.34.4"
_VERSION_PACKAGE = "k8s.io/component-base/version"
_MAJOR, _MINOR = KUBERNETES_VERSION.removeprefix("v").split(".")[:2]


@dataclass(frozen=True)
class Module:
    """A folder of hack/cluster with a go.mod, and the programs built from it (file name: Go package)."""

    name: str
    programs: dict[str, str]
    link_flags: str = "-s -w"
    about: str = ""

    @property
    def folder(self) -> Path:
        return HACK / "cluster" / self.name


KUBERNETES = Module(
    "kubernetes",
    {
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        )
    },
    # Without these, clients are told v0.0.0.
    f"-s -w -X {_VERSION_PACKAGE}.gitVersion={KUBERNETES_VERSION}"
    f" -X {_VERSION_PACKAGE}.gitMajor={_MAJOR} -X {_VERSION_PACKAGE}.gitMinor={_MINOR}",
    about="4 to 10 minutes on 2 cores, the first time only",
)
# Beside kind, which brings the rest in its node image; unlike the rest it is built on any system.
KUBECTL = Module("kubernetes", {"kubectl": KUBERNETES.programs["kubectl"]}, KUBERNETES.link_flags, "some minutes")
ETCD = Module("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, about="under a minute")
COREDNS = Module("coredns", {"coredns": "github.com/coredns/coredns"}, about="about a minute")
KIND = Module("kind", {"kind": "sigs.k8s.io/kind"}, about="some seconds")
PAUSE = Module("pause", {"pause": "."}, about="some seconds")

CONTROL_PLANE = (ETCD, KUBERNETES)
NODE = (*CONTROL_PLANE, COREDNS, PAUSE)


def content_hash(module: Module) -> str:
    """Twelve hex digits over all that decides what `module` builds: its files, programs, flags and platform."""
    digest = hashlib.sha256()
    for part in (module.link_flags, repr(sorted(module.programs.items())), platform.machine()):
        digest.update(part.encode() + b"\0")
    for path in sorted(module.folder.iterdir()):
        if path.suffix in {".mod", ".sum", ".go"}:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def built_folder(module: Module) -> Path:
    """Where the programs of `module` are or will be."""
    return cache_folder() / "bin" / f"{module.name}-{content_hash(module)}"


def is_built(module: Module) -> bool:
    """Whether every program of `module` is in the cache."""
    folder = built_folder(module)
    return all((folder / program).is_file() for program in module.programs)


def build(modules: Iterable[Module]) -> dict[str, Path]:
    """Build what the cache lacks of `modules`; the path of each program by its name.

    Two builders at once take turns; ClusterError with the compiler's last lines when a build fails.
    """
    programs: dict[str, Path] = {}
    for module in modules:
        if not is_built(module):
            with file_lock(cache_folder() / "bin" / f"{module.name}.lock", f"building {module.name}"):
                if not is_built(module):
                    _build(module)
        programs |= {program: built_folder(module) / program for program in module.programs}
    return programs


def _build(module: Module) -> None:
    go = find_go()
    folder = built_folder(module)
    unfinished = folder.with_name(folder.name + ".unfinished")
    log = folder.with_name(f"{module.name}.log")
    unfinished.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    command = [str(go), "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", module.link_flags]
    with step(f"building {', '.join(module.programs)} ({module.about})"), log.open("wb") as output:
        if len(module.programs) == 1:
            (program, package), *_ = module.programs.items()
            command += ["-o", str(unfinished / program), package]
        else:
            command += ["-o", str(unfinished) + "/", *module.programs.values()]
        compiler = subprocess.Popen(
            command, cwd=module.folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _wait_with_progress(compiler, module.name)
    if compiler.returncode:
        raise ClusterError(f"Building {module.name} failed; the log is {log}. Its end:\n{last_lines(log)}")
    if folder.exists():
        for program in module.programs:
            (unfinished / program).replace(folder / program)
        unfinished.rmdir()
    else:
        unfinished.rename(folder)


def _wait_with_progress(compiler: subprocess.Popen[bytes], name: str) -> None:
    begun = time.monotonic()
    try:
        while True:
            try:
                compiler.wait(timeout=30)
                return
            except subprocess.TimeoutExpired:
                say(f"    still building {name}, {time.monotonic() - begun:.0f} s")
    except BaseException:
        compiler.terminate()
        compiler.wait()
        raise

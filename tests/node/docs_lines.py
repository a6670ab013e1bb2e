"""Every command of the documentation, and the few that no test runs, each with the reason."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.unit.doc_blocks import PAGES, ROOT, SHELLS, blocks, inline_lines

TYPED_ELSEWHERE = "console"
"""Blocks of this language are typed, and what they print is compared, by tests/cli/test_tutorial.py."""
HERE = "secops"
"""The namespace of the pages; where a page names none, its commands work in this one."""
ELSEWHERE = dict.fromkeys(("docs/quickstart.md", "docs/tutorial.md", "examples/01-first-sync/README.md"), "default")
INSTALLS = re.compile(r"^helm install towline ")
INSTALLS_ANOTHER = re.compile(r"^helm install (?!towline )(?P<release>\S+) .*--namespace (?P<namespace>\S+)")
REMOVES = re.compile(r"^(helm uninstall towline|kubectl delete crd) ")
SERVES = re.compile(r"^towline simulate [a-z]")
INTERNET = "asks CISA's feed on the internet"
ACCOUNT = "needs an account at the vendor; with a simulated one: tests/cli/test_run.py"

NOT_RUN = {
    "docker build --tag registry.example.com/towline:0.1.0 . && docker push registry.example.com/towline:0.1.0": (
        "needs a registry; decision 0015 says with which builders it was tried"
    ),
    "helm push towline-0.1.0.tgz oci://registry.example.com/charts": "needs a registry",
    "towline new servicenow NAME": "asks for the host on a terminal: tests/cli/test_new.py",
    "towline run cisa-kev": INTERNET,
    "towline test cisa-kev": INTERNET,
    "towline connector replay NAME --har FILE": "needs a recording: tests/cli/test_tutorial.py makes one",
    "towline connector replay NAME --har FILE --lenient": "needs a recording: tests/cli/test_tutorial.py makes one",
    "towline run -f integration.yaml --connector-file connector.yaml": "the tutorial runs it, on its own connector",
    **{
        f"towline run -f examples/{folder}": ACCOUNT
        for folder in (
            "02-tenable",
            "03-servicenow",
            "04-active-directory",
            "05-openldap",
            "07-defender-for-endpoint",
            "08-okta",
            "09-crowdstrike-falcon",
            "10-entra-id",
            "11-wiz",
            "14-jira",
            "15-misp",
            "16-qualys",
            "17-aws-security-hub",
            "20-splunk",
            "21-cortex-xdr",
        )
    },
    "towline run -f examples/01-first-sync": INTERNET,
}
"""Commands that are shown and cannot be run by a test."""
NAMED = frozenset(
    {
        "helm rollback",
        "helm test",
        "helm uninstall",
        "helm upgrade",
        "kubectl apply",
        "kubectl apply --dry-run=server",
        "kubectl create token",
        "kubectl describe",
        "kubectl describe quota",
        "kubectl diff",
        "kubectl logs --previous",
        "kubectl towline",
        "kubectl wait",
        "towline cancel",
        "towline explain",
        "towline operator",
        "towline run",
        "towline sync",
        "towline VERB --help",
    }
)
"""What sentences call by its name and nobody types like that."""
MAY_FIND_NOTHING = frozenset({'kubectl -n towline-system logs deploy/towline | grep "Tries again"'})
"""Searches that end with 1 where all is well."""
NOT_READY = frozenset({"towline status netbox"})
"""May end with 2: the system that the tutorial has made serves this machine, which pods do not reach."""
ENDLESS = frozenset({"kubectl get integration known-exploited --watch"})
"""Run for a moment: they go on until somebody stops them."""
EXPECTED = {
    "kubectl -n secops get integrations,syncjobs": ("CONNECTOR", "READY", "servicenow-prod", "Synced"),
    "kubectl -n secops describe integration servicenow-prod": ("Conditions:", "Ready", "Events:"),
    "kubectl -n secops wait --for=condition=Ready integration/servicenow-prod --timeout=5m": ("condition met",),
    "kubectl get integration NAME -o wide": ("NEXT", "STATUS"),
    "towline status NAME": ("schedule", "next sync"),
    "kubectl get connectors": ("servicenow", "tenable-io"),
    "kubectl get pods -A -l app.kubernetes.io/name=towline": ("Running",),
    "kubectl describe pvc towline-data": ("Bound",),
    "kubectl -n default get service kubernetes -o jsonpath={.spec.clusterIP}": (".",),
    """kubectl -n towline-system logs -l app.kubernetes.io/name=towline | grep '^{"activity"'""": ('"activity"',),
    "helm test towline --namespace towline-system": ("Succeeded",),
    "helm install second charts/towline --namespace second --create-namespace --set namespaces={finance}"
    " --set crds.install=false,admissionPolicy.enabled=false": ("STATUS: deployed",),
    "towline why NAME -n NAMESPACE": ("Connector", "Secret", "SyncJob"),
    "towline tree NAME -n NAMESPACE": ("SyncJob", "Completed"),
    "towline status kev": ("is ready", "schedule"),
    "towline data vulnerability --cluster --limit 5": ("CVE-",),
    "towline activity --cluster": ("Run",),
    "towline test servicenow-prod -n secops": ("credentials: accepted", "incidents: ", "records in the first page"),
    "towline logs NAME -n NAMESPACE": ("Unreachable",),
    "towline why tenable-prod -n secops": ("Unreachable",),
    "towline data --cluster -n secops": ("incident", "secops/servicenow-prod"),
}
"""Words that what a command prints has to hold."""


@dataclass(frozen=True)
class Line:
    page: str
    text: str

    @property
    def namespace(self) -> str:
        """That of the kubeconfig's context."""
        return ELSEWHERE.get(self.page, HERE)

    @property
    def not_run(self) -> bool:
        return self.text in NOT_RUN or self.text in NAMED


def collected() -> list[Line]:
    """Every command of the documentation, in the order of the pages, each once a page."""
    found: dict[Line, None] = {}
    for page in [*PAGES, *sorted(ROOT.glob("connectors/**/README.md"))]:
        name = str(page.relative_to(ROOT))
        shown = [
            line
            for block in blocks(page)
            if block.kind in SHELLS and not (block.kind == TYPED_ELSEWHERE and page.parent.name == "docs")
            for line in block.lines()
        ]
        for text in [*shown, *inline_lines(page)]:
            found[Line(name, plain(text))] = None
    return list(found)


def plain(text: str) -> str:
    """A command without its comment, its blanks made one."""
    return re.sub(r"\s+", " ", re.sub(r"\s+#\s.*$", "", text)).strip()

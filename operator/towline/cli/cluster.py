"""Talks to a cluster by kubeconfig, for the verbs that people type. Failures become sentences."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

import click

from towline.cli import completing
from towline.cli.cluster_errors import Absent, cause, explained
from towline.cli.errors import CliError
from towline.cli.output import program

F = TypeVar("F", bound=Callable[..., Any])
_TIMEOUT = (5, 20)  # seconds to connect, to answer
MANAGER = "towline-cli"  # in managed fields: what a person changed through this command


def options(command: F) -> F:
    """kubectl's options for choosing a cluster and a namespace."""
    for option in (
        click.option("--kubeconfig", metavar="FILE", help="Instead of $KUBECONFIG or ~/.kube/config.",
                     type=click.Path()),
        click.option("--context", metavar="NAME", help="A context of the kubeconfig other than the current one.",
                     shell_complete=completing.contexts),
        click.option("-n", "--namespace", metavar="NAME", help="Namespace; left out, that of the context.",
                     shell_complete=completing.namespaces),
    ):  # fmt: skip
        command = option(command)
    return command


def time_limit(option: str, text: str) -> int:
    """The seconds of a duration that was given with this option. Raises click.UsageError."""
    from towline.api.base import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connection; `namespace` is the one to work in."""

    api: Any
    namespace: str
    context: str
    timeout: tuple[int, int] = _TIMEOUT

    def read(self, path: str, query: dict[str, str] | None = None) -> Any:
        """The JSON of one GET, for example of `/api/v1/namespaces/a/pods`; None when there is nothing."""
        try:
            return json.loads(self._sent(lambda: self._request(path, query, self.timeout).read()))
        except Absent:
            return None

    def may(self, verb: str, group: str, resource: str) -> bool:
        """Whether the user has this right in all namespaces."""
        attributes = {"verb": verb, "group": group, "resource": resource}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes}}  # fmt: skip
        answer = self.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        return bool(answer["status"]["allowed"])

    def user(self) -> str:
        """Who the API server takes us for; empty where it does not tell."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            answer = self.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
        except (CliError, Absent):
            return ""
        return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")

    def post(self, path: str, body: dict[str, Any], query: dict[str, str] | None = None) -> dict[str, Any]:
        """The answer to a POST."""
        answer: dict[str, Any] = json.loads(self._sent(lambda: self._request(path, query, self.timeout, body)).read())
        return answer

    def delete(self, path: str) -> None:
        """Delete an object; it is no error when it is not there."""
        with contextlib.suppress(Absent):
            self._sent(lambda: self._request(path, None, self.timeout, method="DELETE").read())

    def lines(self, path: str, query: dict[str, str]) -> Iterator[str]:
        """The lines of one GET as they come. Raises CliError."""
        answer = self._sent(lambda: self._request(path, query, None))
        try:
            yield from _by_line(answer.stream(None, decode_content=True))
        finally:
            answer.close()

    def patch(self, plural: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """A JSON merge patch of the object."""
        answer: dict[str, Any] = self._call(
            "patch_namespaced_custom_object", self.namespace, plural, name, body, field_manager=MANAGER
        )
        return answer

    def get(self, plural: str, name: str) -> dict[str, Any] | None:
        """The object, or None when there is none."""
        try:
            found: dict[str, Any] = self._call("get_namespaced_custom_object", self.namespace, plural, name)
        except Absent:
            return None
        return found

    def list(
        self, plural: str, *, all_namespaces: bool = False, fields: str | None = None, labels: str | None = None
    ) -> list[dict[str, Any]]:
        """All objects of the namespace, or of all. `fields` and `labels` are selectors."""
        selector = {"field_selector": fields} if fields else {}
        selector |= {"label_selector": labels} if labels else {}
        try:
            if all_namespaces:
                answer = self._call("list_cluster_custom_object", plural, **selector)
            else:
                answer = self._call("list_namespaced_custom_object", self.namespace, plural, **selector)
        except Absent:
            raise CliError(
                "This cluster has no Towline: the kinds of towline.dev/v1alpha1 are not installed.",
                "Is it the right cluster? kubectl config get-contexts",
            ) from None
        return list(answer.get("items", []))

    def annotate(self, plural: str, name: str, annotations: dict[str, str]) -> dict[str, Any]:
        return self.patch(plural, name, {"metadata": {"annotations": annotations}})

    def integration(self, name: str) -> dict[str, Any]:
        """The Integration. Raises CliError with near names when there is none."""
        found = self.get("integrations", name)
        if found is not None:
            return found
        names = [item["metadata"]["name"] for item in self.list("integrations")]
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        cure = f"Did you mean {', '.join(near)}?" if near else "All of them: kubectl get integrations.towline.dev -A"
        raise CliError(f'There is no Integration "{name}" in namespace "{self.namespace}".', cure)

    def _request(
        self,
        path: str,
        query: dict[str, str] | None,
        timeout: tuple[int, int] | None,
        body: Any = None,
        method: str = "",
    ) -> Any:
        """The answer to a GET, to a POST of `body`, or to another method; its own body is not read yet. Raises
        ApiException."""
        from kubernetes.client import ApiException

        client = self.api.api_client
        sent = client.param_serialize(
            method or ("GET" if body is None else "POST"),
            path,
            query_params=list((query or {}).items()),
            body=body,
            auth_settings=["BearerToken"],
            header_params={} if body is None else {"Content-Type": "application/json"},
        )
        answer = client.call_api(*sent, _request_timeout=timeout).response
        if answer.status >= 300:
            raised = ApiException(status=answer.status, reason=answer.reason)
            raised.body = answer.read()
            raise raised
        return answer

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        from towline.api.base import GROUP, VERSION  # here and below: --help needs no models

        return self._sent(
            lambda: getattr(self.api, method)(GROUP, VERSION, *arguments, _request_timeout=self.timeout, **options)
        )

    def _sent(self, request: Callable[[], Any]) -> Any:
        import urllib3
        from kubernetes.client import ApiException

        try:
            return request()
        except ApiException as error:
            raise explained(error.status, error.body, self.context) from None
        except urllib3.exceptions.HTTPError as error:
            raise CliError(
                f'The API server of context "{self.context}" does not answer ({cause(error)}).',
                "Is the cluster up, and is this the right context? kubectl cluster-info",
            ) from None


def connect(kubeconfig: str | None, context: str | None, namespace: str | None) -> Cluster:
    """The cluster of the kubeconfig, or the one that this process runs in."""
    try:
        import kubernetes.config
        from kubernetes import client
        from yaml import YAMLError
    except ImportError:
        raise CliError("This installation cannot read kubeconfigs.", "pip install 'towline[cluster]'") from None

    config: Any = kubernetes.config  # its loaders have no types
    configuration = client.Configuration()
    try:
        config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
        _, current = config.list_kube_config_contexts(config_file=kubeconfig)
        if context:
            contexts, _ = config.list_kube_config_contexts(config_file=kubeconfig)
            current = next(entry for entry in contexts if entry["name"] == context)
        default = current["context"].get("namespace") or "default"
        name = current["name"]
    except (config.ConfigException, OSError, YAMLError, KeyError, TypeError, AttributeError) as error:
        if kubeconfig or context or not isinstance(error, config.ConfigException):
            raise _unusable(kubeconfig, context, error) from None
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            raise CliError(
                "No cluster is configured: there is no usable kubeconfig.",
                "Set KUBECONFIG or give --kubeconfig FILE.",
                f"To work without a cluster: {program()} run --help",
            ) from None
        default, name = _own_namespace(), "in-cluster"
    configuration.retries = False
    return Cluster(client.CustomObjectsApi(client.ApiClient(configuration)), namespace or default, name)


def _unusable(kubeconfig: str | None, context: str | None, error: Exception) -> CliError:
    """Why a kubeconfig that was named cannot be used."""
    files = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if kubeconfig and not os.path.isfile(kubeconfig):
        return CliError(f"There is no file {kubeconfig}.", "Give a kubeconfig with --kubeconfig FILE or $KUBECONFIG.")
    known = contexts(kubeconfig)
    if context and known and context not in known:
        near = get_close_matches(context, known, n=3, cutoff=0.5)
        cure = f"Did you mean {', '.join(near)}?" if near else f"There are: {', '.join(known)}"
        return CliError(f'There is no context "{context}" in {files}.', cure)
    why = _first_line(str(error)) if error.args and not isinstance(error, KeyError | AttributeError) else ""
    return CliError(f"{files} is no kubeconfig that can be used{f': {why}' if why else ''}.", "kubectl config view")


def contexts(kubeconfig: str | None) -> list[str]:
    """Names of its contexts; none where it cannot be read."""
    import kubernetes.config

    config: Any = kubernetes.config
    with contextlib.suppress(Exception):  # it is broken: that is told otherwise
        return [str(entry["name"]) for entry in config.list_kube_config_contexts(config_file=kubeconfig)[0]]
    return []


def _by_line(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")


def _first_line(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip().splitlines()[0]).rstrip(".") if text.strip() else "unknown error"


def _own_namespace() -> str:
    try:
        with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return "default"

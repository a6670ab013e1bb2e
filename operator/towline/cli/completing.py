"""What a shell offers when Tab is pressed: names from the cluster and from the catalogue.

Nothing here may fail or ask for long: somebody waits at a prompt, and a wrong context is told by the command itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    from towline.cli.cluster import Cluster

_TIMEOUT = (1, 3)  # seconds to connect, to answer


def integrations(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Names of the namespace's Integrations."""
    return _offered(context, parameter, begun, lambda: _names(_cluster(context).list("integrations")))


def syncjobs(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Names of SyncJobs that have not ended."""
    return _offered(context, parameter, begun, lambda: _names(_open(_cluster(context).list("syncjobs"))))


def runs(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Names of Integrations; of SyncJobs where no Integration begins like that."""
    return integrations(context, parameter, begun) or _offered(
        context, parameter, begun, lambda: _names(_cluster(context).list("syncjobs"))
    )


def integration_streams(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Streams that the Integration reads whose name was typed."""

    def names() -> Iterable[str]:
        from towline.cli.asking import streams_of

        connection = _cluster(context)
        return streams_of(connection, connection.integration(_typed(context))) or []

    return _offered(context, parameter, begun, names)


def connectors(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Names of the bundled connectors."""

    def names() -> Iterable[str]:
        from towline_connectors.catalogue import manifests

        return manifests()

    return _offered(context, parameter, begun, names)


def connectors_or_files(context: click.Context, parameter: click.Parameter, begun: str) -> list[str | CompletionItem]:
    """The same, or the path of a manifest."""
    from click.shell_completion import CompletionItem

    if begun.startswith((".", "/", "~")) or "/" in begun:
        return [CompletionItem(begun, type="file")]
    return [*connectors(context, parameter, begun)]


def connector_streams(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Streams of the bundled connector whose name was typed."""

    def names() -> Iterable[str]:
        from towline.cli.connectors import load

        return [stream.name for stream in load(_typed(context)).spec.streams or [] if stream.emit]

    return _offered(context, parameter, begun, names)


def entities(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Entities, tables and views of a destination."""

    def names() -> Iterable[str]:
        from towline_connectors.sinks.query import names as known

        return known()

    return _offered(context, parameter, begun, names)


def namespaces(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Names of the cluster's namespaces."""
    return _offered(
        context, parameter, begun, lambda: _names((_cluster(context).read("/api/v1/namespaces") or {}).get("items", []))
    )


def contexts(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Names of the kubeconfig's contexts."""

    def names() -> Iterable[str]:
        from towline.cli.cluster import contexts as known

        return known(context.params.get("kubeconfig"))

    return _offered(context, parameter, begun, names)


def _offered(
    context: click.Context, parameter: click.Parameter, begun: str, names: Callable[[], Iterable[str]]
) -> list[str]:
    """Those that begin like what was typed and were not typed before."""
    typed = context.params.get(parameter.name or "")
    before: Iterable[Any] = typed if isinstance(typed, tuple) else ()
    try:
        return sorted({name for name in names() if name.startswith(begun)} - set(before))
    except Exception:
        return []


def _typed(context: click.Context) -> str:
    """The name that stands first; while an option lacks its value, click has not sorted it in yet."""
    given = context.params.get("connector") or context.params.get("name")
    return str(given or next(word for word in context.args if not word.startswith("-")))


def _cluster(context: click.Context) -> Cluster:
    from dataclasses import replace

    from towline.cli.cluster import connect

    given = context.params
    return replace(connect(given.get("kubeconfig"), given.get("context"), given.get("namespace")), timeout=_TIMEOUT)


def _names(objects: Iterable[dict[str, Any]]) -> list[str]:
    return [str(each["metadata"]["name"]) for each in objects]


def _open(syncs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [sync for sync in syncs if not (sync.get("status") or {}).get("completionTime")]

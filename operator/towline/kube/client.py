"""A thin client of the API server on aiohttp: what the operator needs of it, limited and retried."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any

import aiohttp
import orjson

from towline.kube import wire
from towline.kube.access import Access
from towline.kube.bucket import Bucket
from towline.kube.errors import ApiError, ExpiredError, NotFoundError, NotLeadingError, UnavailableError, error_for
from towline.kube.opening import begins_in_time
from towline.kube.resources import JOBS, SYNCJOBS, Resource

FIELD_MANAGER = "towline"
_TRIES = 5
_MAX_RETRY_AFTER = 30.0
_PAGE = 500
_WATCH_SECONDS = 300
_SILENT_SECONDS = 90.0  # bookmarks come every minute
_OBJECT_SECONDS = 30.0  # for a request about one object, and then again; a page of a list may take longer
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class Client:
    """Requests to one API server. Every call waits for a token, and is repeated when the server is unavailable."""

    def __init__(
        self, access: Access, rate: float = 50.0, burst: int = 100, tries: int = _TRIES, timeout: float = 60.0
    ) -> None:
        self._access = access
        self._tries = tries
        self._bucket = Bucket(rate, burst)
        # Of their own, so that no burst of status writes holds up the start of a run: a SyncJob, a Job, and the two or
        # three objects that are looked at before them.
        self._starts = Bucket(2 * rate, 2 * burst)
        self._reads = Bucket(4 * rate, 4 * burst)
        self._session: aiohttp.ClientSession | None = None
        self._short = aiohttp.ClientTimeout(total=min(_OBJECT_SECONDS, timeout), connect=min(10.0, timeout))
        self._long = aiohttp.ClientTimeout(total=timeout, connect=min(10.0, timeout))
        self.requests = 0
        self.writes = 0
        self.may_write: Callable[[], bool] = lambda: True
        """The fence of the leader election: asked right before each request that changes something."""

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(ssl=self._access.tls(), limit=64)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=self._long, trust_env=False, middlewares=(begins_in_time,)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, resource: Resource, namespace: str, name: str, bucket: Bucket | None = None) -> dict[str, Any]:
        """One object. Raises NotFoundError. `bucket` takes the place of the one for all who read."""
        return await self._call("GET", resource, namespace, name, bucket=bucket)

    async def is_current(self, resource: Resource, namespace: str, name: str, version: str) -> bool:
        """Whether an object still has this resourceVersion: asked before what cannot be taken back. NotFoundError."""
        found = await self._call("GET", resource, namespace, name, accept=_METADATA)
        return bool(found["metadata"]["resourceVersion"] == version)

    async def get_metadata(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """One object without its content: the API server leaves data out."""
        return await self._call("GET", resource, namespace, name, accept=_METADATA)

    async def pages(
        self, resource: Resource, namespace: str = "", selector: str = ""
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        """All objects, read consistently, a page at a time with the resourceVersion of the list.

        Raises ExpiredError when the later pages are gone: what was read is not the whole."""
        token = ""
        while True:
            query = {"limit": str(_PAGE)}
            if selector:
                query["labelSelector"] = selector
            if token:
                query["continue"] = token
            try:
                page = await self._call("GET", resource, namespace, query=query)
            except ApiError as error:
                if error.status == 410 and token:
                    raise ExpiredError(error.action, 410, error.reason) from None
                raise
            yield page.get("items") or [], page["metadata"].get("resourceVersion", "")
            token = page["metadata"].get("continue") or ""
            if not token:
                return

    async def list(
        self, resource: Resource, namespace: str = "", selector: str = ""
    ) -> tuple[list[dict[str, Any]], str]:
        """All objects, and the resourceVersion of the list."""
        while True:
            items: list[dict[str, Any]] = []
            version = ""
            try:
                async for page, version in self.pages(resource, namespace, selector):  # noqa: B007  the last counts
                    items += page
            except ExpiredError:
                continue
            return items, version

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The created object. Raises AlreadyExistsError, also when an earlier try came through unheard."""
        return await self._call("POST", resource, namespace, body=body)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Delete this very object; one that is gone already is fine."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        try:
            await self._call("DELETE", resource, namespace, name, body=body)
        except NotFoundError:
            return

    async def apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        subresource: str = "",
        manager: str = FIELD_MANAGER,
    ) -> dict[str, Any]:
        """Server-side apply. With metadata.resourceVersion in the body, a changed object answers ConflictError.

        Raises UnavailableError with status 500 at once: the API server cannot apply to an object whose stored fields
        do not have the types of the schema, now or later."""
        return await self._call(
            "PATCH",
            resource,
            namespace,
            name,
            subresource,
            body=body,
            query={"fieldManager": manager, "force": "true", "fieldValidation": "Strict"},
            content_type="application/apply-patch+yaml",
            hopeless=500,
        )

    async def merge(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any], subresource: str = ""
    ) -> dict[str, Any]:
        """A JSON merge patch. With metadata.resourceVersion in the body, a changed object answers ConflictError."""
        return await self._call(
            "PATCH",
            resource,
            namespace,
            name,
            subresource,
            body=body,
            query={"fieldManager": FIELD_MANAGER},
            content_type="application/merge-patch+json",
        )

    async def replace(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The object as replaced. Raises ConflictError unless it still has the resourceVersion of the body."""
        return await self._call("PUT", resource, namespace, name, body=body)

    async def watch_metadata(
        self, resource: Resource, namespace: str = "", version: str = ""
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Changes as (type, object without its content) from a version on; without one, first what is there.

        Ends when the server ends the watch. Raises RefusedError with status 410 when the version is too old."""
        if self._session is None:
            raise RuntimeError("use the client as an async context manager")
        query = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_SECONDS)}
        if version:
            query["resourceVersion"] = version
        action = f"WATCH {resource.plural} {namespace}".strip()
        headers = {"Accept": _METADATA, "User-Agent": "towline-operator"}
        if token := self._access.token():
            headers["Authorization"] = f"Bearer {token}"
        await self._bucket.take()
        timeout = aiohttp.ClientTimeout(total=_WATCH_SECONDS + 30, sock_connect=10, sock_read=_SILENT_SECONDS)
        url = self._access.server + resource.path(namespace)
        try:
            async with self._session.get(url, params=query, headers=headers, timeout=timeout) as answer:
                if answer.status >= 300:
                    raise error_for(action, answer.status, wire.reason(await answer.read()))
                async for line in wire.lines(answer.content):
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise error_for(action, int(event["object"].get("code") or 500), "")
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as failure:
            raise UnavailableError(action, 0, type(failure).__name__) from None

    async def served(self, api_version: str) -> set[str]:
        """The plural names that the API server serves in a group version; none while the group is absent."""
        try:
            answer = await self._request("GET", f"/apis/{api_version}", f"discover {api_version}")
        except NotFoundError:
            return set()
        return {entry["name"] for entry in answer.get("resources") or [] if "/" not in entry["name"]}

    async def _call(
        self,
        verb: str,
        resource: Resource,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        hopeless: int = 0,
        bucket: Bucket | None = None,
    ) -> dict[str, Any]:
        place = "/".join(part for part in (namespace, name) if part)
        action = f"{verb} {resource.plural} {place}".strip()
        bucket = bucket or self._bucket_for(verb, resource, name)
        tries = 0
        while True:
            await bucket.take()
            try:
                return await self._request(
                    verb, resource.path(namespace, name, subresource), action, body, query, content_type, accept
                )
            except UnavailableError as error:
                tries += 1
                if tries >= self._tries or error.status == hopeless != 0:
                    raise
                await asyncio.sleep(_delay(tries, error))

    def _bucket_for(self, verb: str, resource: Resource, name: str) -> Bucket:
        if verb == "POST" and resource in (SYNCJOBS, JOBS):
            return self._starts
        return self._reads if verb == "GET" and name else self._bucket

    async def _request(
        self,
        verb: str,
        path: str,
        action: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:
        if self._session is None:
            raise RuntimeError("use the client as an async context manager")
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": "towline-operator"}
        if token := self._access.token():
            headers["Authorization"] = f"Bearer {token}"
        data = wire.encoded(body, content_type) if body is not None else None
        if verb != "GET":
            if not self.may_write():
                raise NotLeadingError(action, 0, "this operator does not lead")
            self.writes += 1
        self.requests += 1
        timeout = self._long if query and "limit" in query else self._short
        try:
            async with self._session.request(
                verb,
                self._access.server + path,
                data=data,
                params=query,
                headers=headers,
                allow_redirects=False,
                timeout=timeout,
            ) as answer:
                raw = await answer.read()
                if answer.status < 300:
                    found: dict[str, Any] = orjson.loads(raw)
                    return found
                error = error_for(action, answer.status, wire.reason(raw))
                error.retry_after = wire.seconds(answer.headers.get("Retry-After"))
                raise error
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as failure:
            raise UnavailableError(action, 0, type(failure).__name__) from None


def _delay(tries: int, error: UnavailableError) -> float:
    backoff: float = min(0.2 * 2**tries, 5.0) * random.uniform(0.5, 1.5)  # noqa: S311  jitter, not a secret
    return max(backoff, min(error.retry_after or 0.0, _MAX_RETRY_AFTER))

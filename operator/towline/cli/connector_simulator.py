"""A connector's simulator as the conformance suite uses it: little data, credentials that nobody guesses."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from towline.api.connector import Connector
from towline.cli.connector_files import Found
from towline.cli.errors import CliError

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True, slots=True)
class Simulated:
    """`config` gives the settings for a URL at which `application()` is served."""

    application: Callable[[], web.Application]
    config: Callable[[str], Mapping[str, Any]]
    secrets: Mapping[str, str]


def load(found: Found, connector: Connector) -> Simulated:
    """Raises CliError: no simulator, or one that is not as the others."""
    from towline_connectors.kit import dummies

    if connector.spec.ldap is not None:
        raise CliError(
            f"{connector.spec.title} is a directory: the suite puts its faults in front of HTTP.",
            "The bundled directories are tested against a slapd: kit/conformance/directory.py shows how.",
        )
    module = _module(found)
    options = module.Options
    fields = {field.name: field.default for field in dataclasses.fields(options)}
    secrets: dict[str, str] = {}
    for credential in connector.spec.credentials or []:
        default = fields.get(credential.key)
        if isinstance(default, str) and default:
            # A key in PEM form, or an identifier of a fixed form, is kept.
            secrets[credential.key] = default if len(default) > 40 else f"{default}-7Q9x{len(secrets)}Zk4w"
        elif not credential.optional:
            secrets[credential.key] = "conformance-7Q9xZk4w"
    small = dict(getattr(module, "SMALL", {}))
    given = {key: value for key, value in secrets.items() if key in fields}
    extra = dict(getattr(module, "CONFIG", {}))  # settings with which all streams are read

    def config(url: str) -> Mapping[str, Any]:
        return dummies.settings(connector.spec, {**address(connector, url), **extra})

    return Simulated(lambda: module.application(options(**{**small, **given})), config, secrets)


def address(connector: Connector, url: str) -> dict[str, Any]:
    """The settings that name the system: base_url and others in _url; host and scheme; the url of a report."""
    properties = (connector.spec.config_schema or {}).get("properties") or {}
    if "base_url" in properties:
        return {key: url for key in properties if key.endswith("_url")}
    if "host" in properties:
        parts = urlsplit(url)
        return {"host": parts.netloc, **({"scheme": parts.scheme} if "scheme" in properties else {})}
    if "url" in properties:
        return {"url": f"{url}/report.json"}
    raise CliError(
        f"{connector.spec.title} has no setting that leads it to a simulator.",
        "Give it a setting base_url, or host and scheme, with the real address as default.",
    )


def _module(found: Found) -> ModuleType:
    file = found.folder / "simulator.py"
    if not file.is_file():
        raise CliError(
            f"{found.name} has no simulator: there is no {file}.", "docs/tutorial.md shows how to write one."
        )
    if found.bundled:
        parts = (*file.with_suffix("").parts[-3:],)
        module = importlib.import_module(".".join(["towline_connectors.catalogue", *parts]))
    else:
        spec = importlib.util.spec_from_file_location(f"simulator_{found.name}".replace("-", "_"), file)
        if spec is None or spec.loader is None:
            raise CliError(f"{file} cannot be loaded.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            line = _line(error, str(file))
            raise CliError(f"{file}{line}: {type(error).__name__}: {error}.") from None
    if not (
        dataclasses.is_dataclass(getattr(module, "Options", None)) and callable(getattr(module, "application", None))
    ):
        raise CliError(f"{file} has to have a dataclass Options and a function application(options).")
    return module


def _line(error: BaseException, file: str) -> str:
    """Where in the file it went wrong."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f":{error.lineno}"
    found, frame = "", error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == file:
            found = f":{frame.tb_lineno}"
        frame = frame.tb_next
    return found

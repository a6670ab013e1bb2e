"""A client certificate and CAs from the Secret, without a key on disk."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from towline.api.auth import Tls
from towline_connectors.engine import interpolate
from towline_connectors.engine.errors import ConfigInvalid
from towline_connectors.engine.interpolate import Scope, Secrets


@dataclass(frozen=True, slots=True)
class Certificates:
    """The manifest's certificates, with the Secret's values of the moment at which they are asked for."""

    tls: Tls
    scope: Scope

    @property
    def edition(self) -> int:
        """Which values of the Secret those are."""
        secrets = self.scope.get("secret")
        return secrets.edition if isinstance(secrets, Secrets) else 0

    @property
    def own(self) -> bool:
        """Whether there is a client certificate."""
        return bool(interpolate.maybe(self.tls.certificate, self.scope))

    def add(self, context: ssl.SSLContext) -> None:
        """Raises ConfigInvalid when a text is no certificate or the key does not fit."""
        certificate, key, password, ca = (
            interpolate.maybe(text, self.scope)
            for text in (self.tls.certificate, self.tls.key, self.tls.key_password, self.tls.ca)
        )
        if ca:
            try:
                context.load_verify_locations(cadata=ca)
            except (ssl.SSLError, ValueError):
                raise ConfigInvalid(
                    "The CA in the Secret is no certificate in PEM form; store the whole text, from"
                    " -----BEGIN CERTIFICATE----- to the end."
                ) from None
        if certificate:
            _load(context, f"{certificate}\n{key}", password)


def configured(tls: Tls | None, scope: Scope) -> Certificates | None:
    """The manifest's certificates; None when there are none."""
    if tls is None or not (interpolate.maybe(tls.certificate, scope) or interpolate.maybe(tls.ca, scope)):
        return None
    return Certificates(tls, scope)


def _load(context: ssl.SSLContext, chain: str, password: str) -> None:
    try:
        with _file(chain.encode()) as path:
            # An empty password would make OpenSSL ask for one on the terminal.
            context.load_cert_chain(path, password=lambda: password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigInvalid("The client certificate and the key in the Secret do not belong together.") from None
        raise ConfigInvalid(
            "The client certificate or its key in the Secret cannot be read; both have to be in PEM form, and an"
            " encrypted key needs its password."
        ) from None
    except (OSError, ValueError):
        raise ConfigInvalid("The client certificate in the Secret is empty or no text in PEM form.") from None


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL can read `content`: memory where the system has such files (Linux), else a
    file that only we may read, and that is gone right afterwards."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    descriptor, path = tempfile.mkstemp()
    try:
        os.write(descriptor, content)
        os.close(descriptor)
        yield path
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)

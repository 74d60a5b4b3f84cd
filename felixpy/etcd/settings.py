"""Where etcd is and how it is spoken to: from the configuration's words to values of their own."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct, structs

from felixpy.config import Config


class Endpoint(Struct, frozen=True):
    """`host` is a name or an address, without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class EtcdSettings(Struct, frozen=True):
    """`ca_file` may be a directory; all that is unset is ""."""

    endpoints: tuple[Endpoint, ...]
    tls: bool
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password: str = ""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What may be shown: tracebacks with the values of variables end up in logs."""
        hidden = {"password"} if self.password else set()
        fields = structs.asdict(self).items()
        return [(name, "…" if name in hidden else value) for name, value in fields]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"EtcdSettings({shown})"


def to_etcd_settings(config: Config) -> EtcdSettings:
    """Of a configuration that was resolved without errors and whose datastore is etcd."""
    urls = [urlsplit(endpoint) for endpoint in config.etcd_endpoints]
    return EtcdSettings(
        endpoints=tuple(Endpoint(url.hostname or "", url.port or 0) for url in urls),
        tls=any(url.scheme == "https" for url in urls),
        ca_file=config.etcd_ca_file,
        cert_file=config.etcd_cert_file,
        key_file=config.etcd_key_file,
        username=config.etcd_username,
        password=config.etcd_password,
    )

"""This machine's WireGuard devices, and the public keys that they have, asked of the kernel."""

from __future__ import annotations

import errno
import socket

from dataplane.families import Family
from dataplane.netlink import NetlinkError
from dataplane.settings import WireguardSettings
from dataplane.wireguard.kernel import KernelDevice, NoWireguardError
from dataplane.wireguard.state import shown

_FAMILIES: tuple[Family, ...] = (4, 6)


def device_index(name: str) -> int | None:
    """None: there is none.  By the list of all, as the kernel that is asked for a name it has not
    starts modprobe each time, in case there is a module of that name.
    """
    return next((index for index, each in socket.if_nameindex() if each == name), None)


async def public_keys(settings: WireguardSettings) -> dict[Family, str]:
    """In base64; a family without a device, or whose device has no key, is left out.

    Raises DataplaneError: most of all, only root may ask.
    """
    found: dict[Family, str] = {}
    for family, name in zip(_FAMILIES, settings.devices, strict=True):
        key = await _public_key(name)
        if key is not None:
            found[family] = shown(key)
    return found


async def _public_key(name: str) -> bytes | None:
    index = device_index(name)
    if index is None:
        return None
    kernel = KernelDevice()
    try:
        return (await kernel.read(index)).public_key
    except NoWireguardError:
        return None
    except NetlinkError as error:
        if error.code in (errno.EOPNOTSUPP, errno.ENODEV):  # of another kind, or just gone
            return None
        raise
    finally:
        kernel.close()

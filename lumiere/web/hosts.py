"""Which requests the page answers: those that come from its own pages, to an address of its own.

Any website can make its visitor's browser send requests to this machine. Browsers send along which site asks (Origin): only the
page itself may. A website whose own name was made to point here (DNS rebinding) is its own origin, but then the name that was
asked for (Host) is foreign: addresses in numbers and the machine's own names are answered, others only if they are allowed.
"""

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class OwnHostsOnly:
  """ASGI middleware that answers foreign requests with 403 and the reason."""

  def __init__(self, app: ASGIApp, allowed: Iterable[str] = ()):
    """Around an app.

    Args:
      app: what answers the other requests.
      allowed: further names of this machine, as behind a proxy; pages under these names may ask, too.
    """
    self.app = app
    self.allowed = {name.lower() for name in allowed}
    self.own = {"localhost", socket.gethostname().lower()} | self.allowed

  async def __call__(self, scope: Scope, receive: Receive, send: Send):
    """Answers a request."""
    if scope["type"] in ("http", "websocket") and (reason := self.refusal(Headers(scope=scope))):
      if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
      else:
        await PlainTextResponse(f"{reason}\n", 403)(scope, receive, send)
    else:
      await self.app(scope, receive, send)

  def refusal(self, headers: Headers) -> str:
    """Why a request is not answered; "" if it is."""
    host, origin = headers.get("host", ""), headers.get("origin")
    name = hostname(f"//{host}")
    if name not in self.own and not is_address(name):
      return f"Host {host!r} is not a name of this server (--allowed_hosts=NAME,... allows more)"
    foreign = origin is not None and origin.lower().partition("//")[2] != host.lower()
    if foreign and hostname(origin) not in self.allowed:
      return f"Origin {origin!r} is another website"
    return ""


def hostname(url: str) -> str:
  """The name or address in a URL, in lower case; "" if there is none."""
  try:
    return urlsplit(url).hostname or ""
  except ValueError:  # brackets without an address in them
    return ""


def is_address(name: str) -> bool:
  """Whether a name is an IP address."""
  try:
    ipaddress.ip_address(name)
  except ValueError:
    return False
  return True

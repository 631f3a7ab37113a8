"""Refuses requests that other websites make through a visitor's browser.

Any website can make a browser send requests to this machine. The browser names the website in the Origin header, and only the
page's own origin is accepted. With DNS rebinding a website points its own host name at this machine, so that its requests look
like the page's own; the Host header still gives the foreign name. Hosts may therefore be IP addresses, names of this machine,
and names that the user has allowed.
"""

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class OwnHostsOnly:
  """ASGI middleware that answers requests with a foreign Host or Origin with status 403 and the reason."""

  def __init__(self, app: ASGIApp, allowed: Iterable[str] = ()):
    """Wraps an app.

    Args:
      app: handles all other requests.
      allowed: further host names, such as that of a reverse proxy. They are accepted in Host and in Origin.
    """
    self.app = app
    self.allowed = {name.lower() for name in allowed}
    self.own = {"localhost", socket.gethostname().lower()} | self.allowed

  async def __call__(self, scope: Scope, receive: Receive, send: Send):
    """Handles a request."""
    if scope["type"] in ("http", "websocket") and (reason := self.refusal(Headers(scope=scope))):
      if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
      else:
        await PlainTextResponse(f"{reason}\n", 403)(scope, receive, send)
    else:
      await self.app(scope, receive, send)

  def refusal(self, headers: Headers) -> str:
    """Why a request is refused; "" if it is accepted."""
    host, origin = headers.get("host", ""), headers.get("origin")
    name = hostname(f"//{host}")
    if name not in self.own and not is_address(name):
      return f"Host {host!r} is not allowed: add it with --allowed_hosts=NAME"
    foreign = origin is not None and origin.lower().partition("//")[2] != host.lower()
    if foreign and hostname(origin) not in self.allowed:
      return f"Origin {origin!r} is not allowed: it is another website"
    return ""


def hostname(url: str) -> str:
  """The host in a URL, in lower case; "" if there is none."""
  try:
    return urlsplit(url).hostname or ""
  except ValueError:  # such as "[" without "]"
    return ""


def is_address(name: str) -> bool:
  """Whether a name is an IP address."""
  try:
    ipaddress.ip_address(name)
  except ValueError:
    return False
  return True

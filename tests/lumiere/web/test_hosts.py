"""Requests need a Host of this server and, if they have an Origin, that of the page."""

import asyncio
import socket

import httpx
import pytest

from lumiere.web.hosts import OwnHostsOnly


async def app(scope, receive, send):
  await send({"type": "http.response.start", "status": 200, "headers": []})
  await send({"type": "http.response.body", "body": b"the page"})


def answer(allowed=(), url="http://127.0.0.1:7860/", **headers) -> httpx.Response:
  async def ask():
    transport = httpx.ASGITransport(OwnHostsOnly(app, allowed))
    async with httpx.AsyncClient(transport=transport) as client:
      return await client.post(url, headers=headers)

  return asyncio.run(ask())


@pytest.mark.parametrize(
  "host",
  [
    "127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860", "192.168.1.20:7860",
    f"{socket.gethostname()}:7860",
  ],
)  # fmt: skip
def test_addresses_and_own_names_are_allowed(host):
  assert answer(host=host).text == "the page"
  assert answer(host=host, origin=f"http://{host}").text == "the page"


@pytest.mark.parametrize(
  "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example", "", "[evil"]
)  # fmt: skip
def test_rebound_names_are_refused(host):
  response = answer(host=host, origin=f"http://{host}")
  assert response.status_code == 403 and f"Host {host!r}" in response.text
  assert "the page" not in response.text and "--allowed_hosts" in response.text


@pytest.mark.parametrize(
  "origin",
  [
    "http://evil.example", "http://127.0.0.1:8000", "http://localhost:7860", "http://127.0.0.1", "null", "",
    "http://127.0.0.1:7860.evil.example",
  ],
)  # fmt: skip
def test_other_websites_are_refused(origin):
  response = answer(host="127.0.0.1:7860", origin=origin)
  assert response.status_code == 403 and f"Origin {origin!r}" in response.text


def test_further_names_can_be_allowed_for_proxies():
  allowed = ["Lumiere.example"]
  assert answer(allowed, host="lumiere.example").text == "the page"
  assert (
    answer(allowed, host="lumiere.example", origin="https://lumiere.example").text == "the page"
  )
  # A proxy may put its own Host in place of the browser's.
  assert answer(allowed, host="127.0.0.1:7860", origin="https://lumiere.example").text == "the page"
  assert answer(allowed, host="www.lumiere.example").status_code == 403


def test_websockets_are_refused_before_they_are_accepted():
  sent = []

  async def send(message):
    sent.append(message)

  scope = {"type": "websocket", "headers": [(b"host", b"evil.example")]}
  asyncio.run(OwnHostsOnly(app)(scope, None, send))
  assert [message["type"] for message in sent] == ["websocket.close"]

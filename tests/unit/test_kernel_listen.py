"""Addresses of listening sockets."""

from __future__ import annotations

import asyncio
import socket

import pytest

from strongroom import airgap
from strongroom.cli.serve import sign_in_address
from strongroom.config import load
from strongroom.listen import bind, url_of


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")])
def test_a_socket_on_every_interface_is_reached_by_loopback(host: str, reached: str) -> None:
    # neither the guard nor the server's host check knows the address that means "every interface"
    sock = bind(host, 0, allow_remote=True)
    try:
        assert url_of(sock) == f"http://{reached}:{sock.getsockname()[1]}"
        assert airgap.is_allowed(reached)
    finally:
        sock.close()


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("127.0.0.1", "127.0.0.1")])
def test_the_sign_in_link_can_be_opened_on_this_machine(host: str, shown: str) -> None:
    settings = load({"ui_host": host, "ui_port": 8601}).settings
    assert sign_in_address(settings, "token").startswith(f"http://{shown}:8601/login?token=")


def test_no_reply_waits_for_an_acknowledgement() -> None:
    # GIVEN a reply in two writes, as uvicorn sends head and body. Nagle's algorithm would hold the second back
    async def accepted() -> int:
        without_delay: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                of = transport.get_extra_info("socket")
                without_delay.set_result(of.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
                transport.close()

        listening = bind("127.0.0.1", 0)
        server = await asyncio.get_running_loop().create_server(Protocol, sock=listening)
        async with server:
            _, writer = await asyncio.open_connection(*listening.getsockname())
            writer.close()
            return await without_delay

    assert asyncio.run(accepted()) == 1

"""Echoes what it is told, over a websocket; plain requests get a page."""

import asyncio
import os
import signal
from http import HTTPStatus

from websockets.asyncio.server import serve

RELEASE = os.environ.get("WEIR_RELEASE", "this machine")


async def echo(socket):
    await socket.send(f"connected to {RELEASE}")
    async for message in socket:
        await socket.send(message)


def plain(connection, request):
    """Requests that do not ask for a websocket, the check among them."""
    if "upgrade" not in request.headers.get("Connection", "").lower():
        return connection.respond(HTTPStatus.OK, f"a websocket echo, {RELEASE}\n")
    return None


async def main():
    stop = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set_result, None)
    async with serve(echo, "0.0.0.0", int(os.environ.get("PORT", "8000")), process_request=plain):
        await stop


asyncio.run(main())

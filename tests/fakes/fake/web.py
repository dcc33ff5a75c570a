"""A web server of files, with ranges, on loopback: it may be told to be slow, to refuse, or not to answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web


class Server:
    """Serves a folder from a thread.

    `delay` seconds are waited before each answer. `fault(path)` gives the status to refuse a request with, or None;
    `hang` leaves requests without an answer. `ranges` counts those with a Range header, `asked` lists all paths.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.delay = 0.0
        self.fault: Callable[[str], int | None] = lambda path: None
        self.hang = self.whole = False
        self.asked: list[str] = []
        self.url = ""
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One file, or a range of it."""
        path = request.match_info["path"]
        self.asked.append(path)
        await asyncio.sleep(self.delay)
        while self.hang:
            await asyncio.sleep(0.05)
        if status := self.fault(path):
            return web.Response(status=status)
        file = self.folder / path
        if not file.is_file():
            return web.Response(status=404)
        return web.Response(body=file.read_bytes()) if self.whole else web.FileResponse(file)

    async def begin(self, port: int) -> web.AppRunner:
        """Listen; sets `url`."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def do(self, work: Any) -> Any:
        """Run a coroutine in the server's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@contextmanager
def serve(folder: Path, port: int = 0) -> Iterator[Server]:
    """A server of a folder, while the block runs."""
    server = Server(folder)
    server.thread.start()
    runner = server.do(server.begin(port))
    try:
        yield server
    finally:
        server.hang = False
        server.do(runner.cleanup())
        server.loop.call_soon_threadsafe(server.loop.stop)
        server.thread.join()
        server.loop.close()

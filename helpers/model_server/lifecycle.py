"""How a version comes and goes: loaded, with retries, and warmed up; idle, then freed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import weakref
from collections.abc import Awaitable, Callable

from helpers.model_server import memory
from helpers.model_server.flags import CPUS, Flags
from helpers.model_server.loading import Loader, Model
from helpers.model_server.status import from_exception
from helpers.model_server.version import State, Version

log = logging.getLogger("model_server")
_LOOKS = 20  # at what was unloaded, until it is gone


class Lifecycle:
    """Brings versions up and takes them down, in threads of its own.

    Args:
        loader: loads a version.
        warm_up: is awaited with each loaded version before it becomes available.
    """

    def __init__(
        self, flags: Flags, loader: Loader, warm_up: Callable[[Model], Awaitable[None]]
    ) -> None:
        self._flags, self._loader, self._warm_up = flags, loader, warm_up
        self.threads = concurrent.futures.ThreadPoolExecutor(4 * CPUS, "load")
        self._at_once = asyncio.Semaphore(4 * CPUS)

    def started(self) -> None:
        """From now on as many versions load at once as `--num_load_threads` says."""
        self._at_once = asyncio.Semaphore(self._flags.num_load_threads or 1)

    async def bring_up(self, version: Version) -> None:
        """Load a version, with retries, and warm it up; its state says what came of it."""
        try:
            for attempt in range(max(0, self._flags.max_num_load_retries) + 1):
                if attempt:
                    await asyncio.sleep(self._flags.load_retry_interval_micros / 1e6)
                async with self._at_once:
                    version.state = State.LOADING
                    try:
                        version.model = await self._load(version)
                    except Exception as error:
                        # Kept for as long as the version is known, and therefore without the
                        # traceback, whose frames hold all that had been loaded.
                        version.error = from_exception(error).bare()
                        log.error("Loading servable: %s failed: %s", version, version.error)
                    else:
                        version.state, version.error = State.AVAILABLE, None
                        log.info("Successfully loaded servable version %s", version)
                        break
            if version.model is None:
                await self._in_thread(memory.give_back)
        finally:
            version.task = None
            if version.model is None:
                version.state = State.END

    async def _load(self, version: Version) -> Model:
        loading = asyncio.get_running_loop().run_in_executor(
            self.threads, self._loader.load, version.name, version.number, version.path
        )
        try:
            model = await asyncio.shield(loading)
        except asyncio.CancelledError:
            loading.add_done_callback(_close)
            raise
        try:
            await self._warm_up(model)
        except BaseException:
            model.close()
            raise
        return model

    async def take_down(self, version: Version) -> None:
        """Free a version when the requests in it are answered."""
        await version.until_idle()
        assert version.model is not None
        model, version.model = version.model, None
        await self._in_thread(model.close)
        loaded = weakref.ref(model.servable)
        del model
        for _ in range(_LOOKS):  # the thread that sent the last answer holds it for a moment more
            if loaded() is None:
                break
            await asyncio.sleep(0.05)
        await self._in_thread(memory.give_back)
        version.task, version.state = None, State.END
        log.info("Done unloading servable %s", version)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self.threads, work)

    def close(self) -> None:
        """End the threads."""
        self.threads.shutdown()


def _close(loading: asyncio.Future[Model]) -> None:
    """Close a version that came when nobody wanted it any more."""
    if not loading.cancelled() and not loading.exception():
        loading.result().close()

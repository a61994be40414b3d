"""Which versions there are, and which there should be.

The base paths are looked at every `--file_system_poll_wait_seconds`. A version that should be
served is loaded and warmed up; one that should no longer be is unloaded, but only once another that
should be is available (AvailabilityPreservingPolicy), and after the requests in it are answered.
A version that fails to load shows its error in GetModelStatus and leaves the others alone.

All of this runs in the event loop, so that nothing here needs a lock; only the loading itself and
the look at the file system run in threads.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2 as config_pb2

from helpers.model_server import sources
from helpers.model_server.flags import CPUS, Flags
from helpers.model_server.loading import Loader, Model
from helpers.model_server.status import (
    Code,
    StatusError,
    failed_precondition,
    from_exception,
    invalid,
    not_found,
)
from helpers.model_server.version import State, Version

log = logging.getLogger("model_server")
_LOOK_S = 0.1  # between looks at whether a version that is awaited has failed for the first time


class Models:
    """All configured models.

    Args:
        loader: loads a version.
        warm_up: is awaited with each loaded version before it becomes available.
    """

    def __init__(
        self, flags: Flags, loader: Loader, warm_up: Callable[[Model], Awaitable[None]]
    ) -> None:
        self._flags, self._loader, self._warm_up = flags, loader, warm_up
        self._configs: dict[str, config_pb2.ModelConfig] = {}
        self._versions: dict[str, dict[int, Version]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._said: dict[str, str] = {}  # the last message a model, so that polling says it once
        self._threads = concurrent.futures.ThreadPoolExecutor(4 * CPUS, "load")
        self._at_once = asyncio.Semaphore(4 * CPUS)
        self._poller: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()  # one reload at a time

    # --- What is asked -------------------------------------------------------------------

    @contextlib.contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[Model]:
        """The version that a ModelSpec names; it isn't unloaded meanwhile.

        Raises:
            StatusError: INVALID_ARGUMENT for no name or an unknown label, NOT_FOUND for what isn't
                available.
        """
        version = self._find(spec)
        assert version.model is not None
        version.in_flight += 1
        version.idle.clear()
        try:
            yield version.model
        finally:
            version.in_flight -= 1
            if not version.in_flight:
                version.idle.set()

    def _find(self, spec: model_pb2.ModelSpec) -> Version:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        available = self._available(spec.name)
        if choice is None:
            if not available:
                raise not_found(f"Servable not found for request: Latest({spec.name})")
            return available[max(available)]
        number = spec.version.value
        if choice == "version_label":
            labels = self._labels.get(spec.name, {})
            if spec.version_label not in labels:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
            number = labels[spec.version_label]
        if number not in available:
            raise not_found(f"Servable not found for request: Specific({spec.name}, {number})")
        return available[number]

    def _available(self, name: str) -> Mapping[int, Version]:
        versions = self._versions.get(name, {})
        return {n: v for n, v in versions.items() if v.state == State.AVAILABLE}

    def versions(self, name: str, number: int | None = None) -> list[Version]:
        """What is known of a model, the newest version first.

        Raises:
            StatusError: NOT_FOUND where nothing is.
        """
        known = self._versions.get(name, {})
        if number is None and not known:
            raise not_found(f"Could not find any versions of model {name}")
        if number is not None and number not in known:
            raise not_found(f"Could not find version {number} of model {name}")
        return [known[n] for n in sorted(known, reverse=True) if number in (None, n)]

    def all_available(self) -> bool:
        """Whether every configured model has a version that answers."""
        return all(self._available(name) for name in self._configs)

    # --- What is configured ---------------------------------------------------------------

    async def start(self, config: config_pb2.ModelServerConfig) -> None:
        """Load the first versions; returns when every model has one.

        Waits for as long as a model has no version at all, as the original does.

        Raises:
            StatusError: the configuration is invalid, or a model could not be loaded.
        """
        await self.reload(config)
        self._at_once = asyncio.Semaphore(self._flags.num_load_threads or 1)
        if self._flags.file_system_poll_wait_seconds > 0:
            self._poller = asyncio.create_task(self._poll_forever())

    async def reload(self, config: config_pb2.ModelServerConfig) -> None:
        """Replace the list of models: new ones are loaded, omitted ones unloaded, labels moved.

        Raises:
            StatusError: the configuration is invalid, and the old one stays; or a new model could
                not be loaded, or a label points to a version that isn't available.
        """
        if config.WhichOneof("config") is None:
            log.info("Taking no action for empty config.")
            return
        async with self._lock:
            configs = sources.validated(config, self._configs)
            added = [name for name in configs if name not in self._configs]
            self._configs = configs
            await self._poll()
            await self._wait_until_available(added)
            self._set_labels()

    async def _wait_until_available(self, names: list[str]) -> None:
        while any(not self._versions.get(name) for name in names):
            if not self._flags.file_system_poll_wait_seconds:
                raise not_found("; ".join(self._said.values()))
            await asyncio.sleep(self._flags.file_system_poll_wait_seconds)
            await self._poll()
        failed: list[Version] = []
        for name in names:
            tasks = [v.task for v in self._versions[name].values() if v.task is not None]
            while tasks and self._lacks_something(name):
                _, pending = await asyncio.wait(
                    tasks, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED
                )
                tasks = list(pending)
            if not self._available(name):
                failed += self._versions[name].values()
        if failed:
            listed = ", ".join(f"{{Servable: {v} due to error: {v.error}}}" for v in failed)
            text = f"{len(failed)} servable(s) did not become available: {{{listed}}}"
            raise StatusError(Code.UNKNOWN, text)

    def _lacks_something(self, name: str) -> bool:
        """Whether it has no version yet, or one that a label names has still to be loaded.

        The original waits for one version only, so that labels are a race among the others.
        """
        available, labels = self._available(name), self._configs[name].version_labels
        coming = {n for n, version in self._versions[name].items() if version.error is None}
        return not available or bool(coming.intersection(labels.values()) - available.keys())

    def _set_labels(self) -> None:
        labels: dict[str, dict[str, int]] = {}
        for name, config in self._configs.items():
            for label, number in config.version_labels.items():
                new = label not in self._labels.get(name, {})
                allowed = new and self._flags.allow_version_labels_for_unavailable_models
                if number not in self._available(name) and not allowed:
                    raise failed_precondition(
                        f"Request to assign label to version {number} of model {name}, which is "
                        "not currently available for inference"
                    )
                labels.setdefault(name, {})[label] = number
        self._labels = labels

    # --- What is there --------------------------------------------------------------------

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(self._flags.file_system_poll_wait_seconds)
            try:
                await self._poll()
            except Exception:
                log.exception("looking for versions failed; the next look comes as usual")

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        for name, config in dict(self._configs).items():
            found, problem = await loop.run_in_executor(self._threads, sources.look, config)
            if problem and self._said.get(name) != problem:
                log.warning(problem)
            self._said[name] = problem
            if found is not None:
                self._want(name, found)
        for name in self._versions.keys() - self._configs.keys():
            self._want(name, {})

    def _want(self, name: str, found: Mapping[int, Path]) -> None:
        versions = self._versions.setdefault(name, {})
        for number, version in versions.items():
            if version.wanted and number not in found:
                version.wanted = False
                if version.state in (State.START, State.LOADING) and version.task is not None:
                    version.task.cancel()
        for number, path in sorted(found.items(), reverse=True):
            known = versions.get(number)
            if known is None or (not known.wanted and known.state == State.END):
                versions[number] = version = Version(name, number, path)
                version.task = asyncio.create_task(self._bring_up(version))
        self._retire(name)

    async def _bring_up(self, version: Version) -> None:
        """Load a version, with retries, and warm it up."""
        try:
            for attempt in range(self._flags.max_num_load_retries + 1):
                if attempt:
                    await asyncio.sleep(self._flags.load_retry_interval_micros / 1e6)
                async with self._at_once:
                    version.state = State.LOADING
                    try:
                        version.model = await self._load(version)
                    except Exception as error:
                        version.error = from_exception(error)
                        log.error("Loading servable: %s failed: %s", version, version.error)
                    else:
                        version.state, version.error = State.AVAILABLE, None
                        log.info("Successfully loaded servable version %s", version)
                        break
        finally:
            version.task = None
            if version.model is None:
                version.state = State.END
        self._retire(version.name)

    async def _load(self, version: Version) -> Model:
        loading = asyncio.get_running_loop().run_in_executor(
            self._threads, self._loader.load, version.name, version.number, version.path
        )
        try:
            model = await asyncio.shield(loading)
        except asyncio.CancelledError:
            loading.add_done_callback(_free)
            raise
        try:
            await self._warm_up(model)
        except BaseException:
            model.close()
            raise
        return model

    def _retire(self, name: str) -> None:
        """Unload what is no longer wanted, if something that is wanted can take over."""
        versions = self._versions.get(name, {}).values()
        wanted = [version for version in versions if version.wanted]
        if wanted and not any(version.state == State.AVAILABLE for version in wanted):
            return
        for version in versions:
            if not version.wanted and version.state == State.AVAILABLE:
                version.state = State.UNLOADING
                version.task = asyncio.create_task(self._take_down(version))

    async def _take_down(self, version: Version) -> None:
        if version.in_flight:
            await version.idle.wait()
        assert version.model is not None
        await asyncio.get_running_loop().run_in_executor(self._threads, version.model.close)
        version.model, version.task, version.state = None, None, State.END
        log.info("Done unloading servable %s", version)

    async def close(self) -> None:
        """Stop looking for versions and free them all. Nothing may be running."""
        everything = [v for versions in self._versions.values() for v in versions.values()]
        tasks = [t for t in [self._poller, *(v.task for v in everything)] if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for version in everything:
            if version.model is not None:
                version.model.close()
        self._threads.shutdown()


def _free(loading: asyncio.Future[Model]) -> None:
    """Close a version that came when nobody wanted it any more."""
    if not loading.cancelled() and not loading.exception():
        loading.result().close()

"""Which versions there are, and which there should be.

The base paths are looked at every `--file_system_poll_wait_seconds`. A version that should be
served is loaded and warmed up; one that should no longer be is unloaded, but only once another that
should be is available (AvailabilityPreservingPolicy), and after the requests in it are answered.
A version that fails to load shows its error in GetModelStatus and leaves the others alone.

All of this runs in the event loop; only the loading itself and the look at the file system run in
threads, and `use` in any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from pathlib import Path

from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2 as config_pb2

from helpers.model_server import sources
from helpers.model_server.flags import Flags
from helpers.model_server.lifecycle import Lifecycle
from helpers.model_server.loading import Loader, Model
from helpers.model_server.status import (
    Code,
    StatusError,
    failed_precondition,
    invalid,
    not_found,
)
from helpers.model_server.version import State, Version

log = logging.getLogger("model_server")
_LOOK_S = 0.05  # between looks at whether what is awaited has come


class Models:
    """All configured models.

    Args:
        loader: loads a version.
        warm_up: is awaited with each loaded version before it becomes available.
    """

    def __init__(
        self, flags: Flags, loader: Loader, warm_up: Callable[[Model], Awaitable[None]]
    ) -> None:
        self._flags = flags
        self._lifecycle = Lifecycle(flags, loader, warm_up)
        self._configs: dict[str, config_pb2.ModelConfig] = {}
        self._versions: dict[str, dict[int, Version]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._said: dict[str, str] = {}  # the last message a model, so that polling says it once
        self._poller: asyncio.Task[None] | None = None
        self._served: set[str] = set()  # models of which a version has been available

    # --- What is asked -------------------------------------------------------------------

    @contextlib.contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[Model]:
        """The version that a ModelSpec names; it isn't unloaded meanwhile. Any thread may ask.

        Raises:
            StatusError: INVALID_ARGUMENT for no name or an unknown label, NOT_FOUND for what isn't
                available.
        """
        version = self._find(spec)
        while (model := version.take()) is None:  # its last requests are being waited for
            version = self._find(spec)
        try:
            yield model
        finally:
            version.let_go()

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
        versions = list(self._versions.get(name, {}).values())  # in one step, for other threads
        return {v.number: v for v in versions if v.state == State.AVAILABLE}

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
        """Whether every configured model that has answered still does, and one of them has.

        A model that is new and isn't there yet takes nothing away from the others.
        """
        served = [name for name in self._configs if name in self._served]
        return all(map(self._available, served)) and bool(served or not self._configs)

    # --- What is configured ---------------------------------------------------------------

    async def start(self, config: config_pb2.ModelServerConfig) -> None:
        """Load the first versions; returns when every model has one.

        Waits for as long as a model has no version at all, as the original does; what `apply`
        brings meanwhile counts.

        Raises:
            StatusError: the configuration is invalid, or a model could not be loaded.
        """
        await self.apply(config)
        if self._flags.file_system_poll_wait_seconds > 0:
            self._poller = asyncio.create_task(self._poll_forever())
        while True:
            awaited = self._configs
            await self._wait_until_available(awaited)
            if self._configs.keys() == awaited.keys():
                break
        self.set_labels()
        self._lifecycle.started()

    async def reload(self, config: config_pb2.ModelServerConfig) -> None:
        """Replace the list of models, wait for those that are new, and move the labels.

        Raises:
            StatusError: the configuration is invalid, and the old one stays; or a new model could
                not be loaded, or a label points to a version that isn't available; or yet another
                configuration came meanwhile.
        """
        added = await self.apply(config)
        await self._wait_until_available(added)
        if dropped := ", ".join(name for name in added if name not in self._configs):
            raise StatusError(
                Code.ABORTED, f"A newer configuration, without {dropped}, has replaced this one"
            )
        self.set_labels()

    async def apply(self, config: config_pb2.ModelServerConfig) -> list[str]:
        """Replace the list of models: new ones begin to load, omitted ones are unloaded.

        Returns:
            The names of the new ones. It doesn't wait for them, so that a base path that isn't
            there never stands in the way of the next configuration.

        Raises:
            StatusError: the configuration is invalid, and the old one stays.
        """
        if config.WhichOneof("config") is None:
            log.info("Taking no action for empty config.")
            return []
        configs = sources.validated(config, self._configs)
        added = [name for name in configs if name not in self._configs]
        self._configs = configs
        self._served &= configs.keys()
        await self._poll()
        return added

    async def _wait_until_available(self, names: Collection[str]) -> None:
        """Until each has what it lacks or can't have it; what is no longer configured is let go."""
        while any(self._may_still_come(name) for name in names):
            await asyncio.sleep(_LOOK_S)
        failed = [
            version
            for name in names
            if name in self._configs and not self._available(name)
            for version in self._wanted(name)
        ]
        if failed:
            listed = ", ".join(f"{{Servable: {v} due to error: {v.error}}}" for v in failed)
            text = f"{len(failed)} servable(s) did not become available: {{{listed}}}"
            raise StatusError(Code.UNKNOWN, text)

    def _may_still_come(self, name: str) -> bool:
        """Whether a model lacks something that is loading, or that may yet be found.

        Raises:
            StatusError: NOT_FOUND, there is no version and nobody looks for one again.
        """
        if name not in self._configs:
            return False
        wanted = self._wanted(name)
        if not wanted and self._poller is None:
            raise not_found("; ".join(filter(None, self._said.values())))
        loading = any(version.state in (State.START, State.LOADING) for version in wanted)
        return not wanted or (loading and self._lacks_something(name))

    def _wanted(self, name: str) -> list[Version]:
        return [version for version in self._versions.get(name, {}).values() if version.wanted]

    def _lacks_something(self, name: str) -> bool:
        """Whether it has no version yet, or one that a label names has still to be loaded.

        The original waits for one version only, so that labels are a race among the others.
        """
        available, labels = self._available(name), self._configs[name].version_labels
        coming = {n for n, version in self._versions[name].items() if version.error is None}
        return not available or bool(coming.intersection(labels.values()) - available.keys())

    def set_labels(self) -> None:
        """Give the labels of the configuration to their versions, all or none.

        Raises:
            StatusError: FAILED_PRECONDITION, a version isn't available. Ask again later.
        """
        labels: dict[str, dict[str, int]] = {}
        for name, config in self._configs.items():
            for label, number in config.version_labels.items():
                moved = self._labels.get(name, {}).get(label, number) != number
                allowed = not moved and self._flags.allow_version_labels_for_unavailable_models
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
            found, problem = await loop.run_in_executor(
                self._lifecycle.threads, sources.look, config
            )
            if self._configs.get(name) is not config:
                continue  # it was replaced meanwhile, and its successor looks for itself
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
            elif known.state == State.AVAILABLE:
                known.wanted = True  # what should have followed it has gone again
        self._retire(name)

    async def _bring_up(self, version: Version) -> None:
        await self._lifecycle.bring_up(version)
        if version.state == State.AVAILABLE:
            self._served.add(version.name)
        self._retire(version.name)

    def _retire(self, name: str) -> None:
        """Unload what is no longer wanted, if something that is wanted can take over."""
        versions = self._versions.get(name, {}).values()
        wanted = [version for version in versions if version.wanted]
        if wanted and not any(version.state == State.AVAILABLE for version in wanted):
            return
        for version in versions:
            if not version.wanted and version.state == State.AVAILABLE:
                version.state = State.UNLOADING
                version.task = asyncio.create_task(self._lifecycle.take_down(version))

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
        self._lifecycle.close()

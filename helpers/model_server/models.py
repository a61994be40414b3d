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
import dataclasses
import enum
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import file_system_storage_path_source_pb2 as source_pb2
from tensorflow_serving.config import model_server_config_pb2 as config_pb2

from helpers.model_server.flags import CPUS, Flags
from helpers.model_server.loading import Loader, Model
from helpers.model_server.status import Code, StatusError, from_exception, invalid

log = logging.getLogger("model_server")
Policy = source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy


class State(enum.IntEnum):
    """ModelVersionStatus.State of get_model_status.proto."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(eq=False)
class Version:
    """One version of a model, from the day it is found. Its last state is kept, as the error is."""

    name: str
    number: int
    path: Path
    state: State = State.START
    error: StatusError | None = None
    model: Model | None = None
    in_flight: int = 0
    wanted: bool = True
    task: asyncio.Task[None] | None = None
    idle: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


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
        self._loader = loader
        self._warm_up = warm_up
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
        number = spec.version.value
        if choice == "version_label":
            labels = self._labels.get(spec.name, {})
            if spec.version_label not in labels:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
            number = labels[spec.version_label]
        available = self._available(spec.name)
        if choice is None:
            if not available:
                raise StatusError(
                    Code.NOT_FOUND, f"Servable not found for request: Latest({spec.name})"
                )
            return available[max(available)]
        if number not in available:
            raise StatusError(
                Code.NOT_FOUND, f"Servable not found for request: Specific({spec.name}, {number})"
            )
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
        if number is not None:
            if number not in known:
                raise StatusError(
                    Code.NOT_FOUND, f"Could not find version {number} of model {name}"
                )
            return [known[number]]
        if not known:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        return [known[n] for n in sorted(known, reverse=True)]

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
        if config.WhichOneof("config") != "model_config_list":
            if config.WhichOneof("config") is None:
                log.info("Taking no action for empty config.")
                return
            raise StatusError(
                Code.FAILED_PRECONDITION,
                "Cannot transition to requested config. It is only legal to transition from one "
                "ModelConfigList to another.",
            )
        async with self._lock:
            configs = _validated(config, self._configs)
            added = [name for name in configs if name not in self._configs]
            self._configs = configs
            await self._poll()
            await self._wait_until_available(added)
            self._set_labels()

    async def _wait_until_available(self, names: list[str]) -> None:
        patience = self._flags.file_system_poll_wait_seconds or 1
        while any(not self._versions.get(name) for name in names):
            if not self._flags.file_system_poll_wait_seconds:
                raise StatusError(
                    Code.NOT_FOUND,
                    "; ".join(self._said.values())
                    + " (and --file_system_poll_wait_seconds=0 says not to look again)",
                )
            await asyncio.sleep(patience)
            await self._poll()
        failed: list[Version] = []
        for name in names:
            tasks = [v.task for v in self._versions[name].values() if v.task is not None]
            while tasks and not self._available(name):
                _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                tasks = list(pending)
            if not self._available(name):
                failed += self._versions[name].values()
        if failed:
            listed = ", ".join(
                f"{{Servable: {{name: {v.name} version: {v.number}}} due to error: {v.error}}}"
                for v in failed
            )
            raise StatusError(
                Code.UNKNOWN,
                f"{len(failed)} servable(s) did not become available: {{{listed}}}",
            )

    def _set_labels(self) -> None:
        labels: dict[str, dict[str, int]] = {}
        for name, config in self._configs.items():
            for label, number in config.version_labels.items():
                new = label not in self._labels.get(name, {})
                allowed = new and self._flags.allow_version_labels_for_unavailable_models
                if number not in self._available(name) and not allowed:
                    raise StatusError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {name}, which is "
                        "not currently available for inference",
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
        configs = dict(self._configs)
        for name, config in configs.items():
            found, problem = await loop.run_in_executor(self._threads, _look, config)
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
            if known is not None and (known.wanted or known.state != State.END):
                continue
            versions[number] = version = Version(name, number, path)
            version.task = asyncio.create_task(self._bring_up(version))
        self._retire(name)

    async def _bring_up(self, version: Version) -> None:
        """Load a version, with retries, and warm it up."""
        label = f"{{name: {version.name} version: {version.number}}}"
        try:
            for attempt in range(self._flags.max_num_load_retries + 1):
                if attempt:
                    await asyncio.sleep(self._flags.load_retry_interval_micros / 1e6)
                async with self._at_once:
                    version.state = State.LOADING
                    try:
                        await self._load(version)
                        break
                    except Exception as error:
                        version.error = from_exception(error)
                        log.error("Loading servable: %s failed: %s", label, version.error)
            if version.model is None:
                version.state = State.END
                return
            version.error = None
            version.state = State.AVAILABLE
            log.info("Successfully loaded servable version %s", label)
        except asyncio.CancelledError:
            version.state = State.END
            raise
        finally:
            version.task = None
        self._retire(version.name)

    async def _load(self, version: Version) -> None:
        loop = asyncio.get_running_loop()
        loading = loop.run_in_executor(
            self._threads, self._loader.load, version.name, version.number, version.path
        )
        try:
            model = await asyncio.shield(loading)
        except asyncio.CancelledError:
            loading.add_done_callback(_close_loaded)
            raise
        try:
            await self._warm_up(model)
        except BaseException:
            model.close()
            raise
        version.model = model

    def _retire(self, name: str) -> None:
        """Unload what is no longer wanted, if something that is wanted can take over."""
        versions = self._versions.get(name, {})
        wanted = [version for version in versions.values() if version.wanted]
        if wanted and not any(version.state == State.AVAILABLE for version in wanted):
            return
        for version in versions.values():
            if not version.wanted and version.state == State.AVAILABLE:
                version.state = State.UNLOADING
                version.task = asyncio.create_task(self._take_down(version))

    async def _take_down(self, version: Version) -> None:
        if version.in_flight:
            await version.idle.wait()
        assert version.model is not None
        await asyncio.get_running_loop().run_in_executor(self._threads, version.model.close)
        version.model, version.task, version.state = None, None, State.END
        log.info("Done unloading servable {name: %s version: %s}", version.name, version.number)

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


def _close_loaded(loading: asyncio.Future[Model]) -> None:
    """Free a version that finished loading when nobody wanted it any more."""
    if not loading.cancelled() and loading.exception() is None:
        loading.result().close()


def _validated(
    config: config_pb2.ModelServerConfig, old: Mapping[str, config_pb2.ModelConfig]
) -> dict[str, config_pb2.ModelConfig]:
    configs: dict[str, config_pb2.ModelConfig] = {}
    for model in config.model_config_list.config:
        if model.name in configs:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        if not Path(model.base_path).is_absolute():
            raise invalid(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()="
                f"{model.base_path}"
            )
        platform = model.model_platform or ("tensorflow" if model.model_type == 1 else "")
        if not platform:
            raise invalid(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                f'ModelServerConfig::model_platform. Add model_platform: "tensorflow" to '
                f"{model.name}"
            )
        if model.name in old and old[model.name].model_platform != model.model_platform:
            raise StatusError(
                Code.FAILED_PRECONDITION,
                f"Cannot transition to requested model platform. It is only legal to transition to "
                f"the same model platform. Model {model.name}",
            )
        if platform != "tensorflow":
            raise invalid(f'ModelServer supports model_platform "tensorflow"; got {platform}')
        configs[model.name] = model
    return configs


def _look(config: config_pb2.ModelConfig) -> tuple[Mapping[int, Path] | None, str]:
    """The versions that should be served (None: can't tell, change nothing), and what is wrong."""
    base = Path(config.base_path)
    try:
        children = {
            int(child.name): child
            for child in base.iterdir()
            if child.name.isascii() and child.name.isdigit() and child.is_dir()
        }
    except OSError as error:
        return None, (
            f"FileSystemStoragePathSource encountered a filesystem access error: Could not find "
            f"base path {base} for servable {config.name} ({error.strerror}). Check the path, or "
            "export a model to it; the server goes on looking"
        )
    policy = config.model_version_policy
    if not children:
        return {}, (
            f"No versions of servable {config.name} found under base path {base}. Did you forget "
            "to name your leaf directory as a number (eg. '/1/')?"
        )
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return children, ""
    if kind == "specific":
        missing = [n for n in policy.specific.versions if n not in children]
        problem = "".join(
            f"Version {n} of servable {config.name}, which was requested to be served as a "
            f"'specific' version in the servable's model version policy, was not found in the file "
            f"system ({base}). "
            for n in missing
        )
        return {n: children[n] for n in policy.specific.versions if n in children}, problem
    newest = sorted(children, reverse=True)[: policy.latest.num_versions or 1]
    return {n: children[n] for n in newest}, ""

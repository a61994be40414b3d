"""One family of errors: each says what happened, why, and what to do next.

An exception of another library (a gRPC status, an `ApiException`, an exit code) is turned into
one of these where it enters, with the original chained: `raise ServingError(...) from error`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class TutorialError(Exception):
    """What all errors of this project have in common.

    Args:
        what: the thing that failed and how, with names: `inception on 127.0.0.1:8500 did not
            answer in 10 s`.
        cause: why, as far as it is known. May be empty.
        next_step: what the reader does now, as a sentence.
    """

    def __init__(self, what: str, *, cause: str = "", next_step: str) -> None:
        self.what = what
        self.cause = cause
        self.next_step = next_step
        super().__init__(what, cause, next_step)

    def __str__(self) -> str:
        head = f"{self.what}: {self.cause}" if self.cause else self.what
        return f"{head.rstrip('.')}. {self.next_step}"

    def _render_traceback_(self) -> list[str]:
        """What IPython shows for an error that ends a cell: the message, not our call stack."""
        return [f"{type(self).__name__}: {self}"]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or the stop button, during something long: a line instead of a library's call stack.

    Args:
        what: what was interrupted and how things are now, as a sentence.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows for it."""
        return [f"Interrupted: {self}"]


@contextmanager
def interruptible(what: str) -> Iterator[None]:
    """Raises `Interrupted` in the place of a KeyboardInterrupt; also as a decorator."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(what) from None


class SetupError(TutorialError):
    """Something that the tutorial needs on this machine is missing or too old."""


class PhotoError(TutorialError):
    """A photo is missing, or its bytes are not those of a picture."""


class ExportError(TutorialError):
    """The model could not be built, written or found."""


class WeightsError(ExportError):
    """The weights could not be had, or belong to another network."""


class ServingError(TutorialError):
    """A model server answered with an error, or not at all.

    Args:
        code: the gRPC status code's name, such as `INVALID_ARGUMENT`.
        details: the server's own message, unchanged.
    """

    def __init__(
        self, what: str, *, cause: str = "", next_step: str, code: str = "", details: str = ""
    ) -> None:
        super().__init__(what, cause=cause, next_step=next_step)
        self.code = code
        self.details = details


class BadRequestError(ServingError):
    """The server refused the request: the same request will be refused again."""


class ModelNotFoundError(ServingError):
    """The server has no such model, version or label."""


class ServerUnavailableError(ServingError):
    """Nothing answered, or the server is too busy: the same request may succeed later."""


class DeadlineError(ServingError):
    """The answer did not come before the request's deadline."""


class ContainerError(TutorialError):
    """An image could not be built, or a container of it could not be run."""


class ClusterError(TutorialError):
    """A target could not start, reach, scale or stop its replicas."""


class NotReadyError(ClusterError):
    """Replicas did not become ready before the deadline, or never will."""


class ManifestError(ClusterError):
    """A manifest can't be read, or asks for what the target can't do."""


class LoadError(TutorialError):
    """A load test can't be run as asked."""


class NoRequestsError(LoadError):
    """There is no finished request to compute a figure from."""


class NotebookError(TutorialError):
    """A notebook can't be read or run, or publishes what can't be published."""


class ResultError(TutorialError):
    """A file of results is cut off, of another schema, or can't be compared."""

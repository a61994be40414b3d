"""Sentences that are checked against the run that they speak of.

    claim(
        "round_robin_is_even",
        imbalance < 0.1,
        f"Each replica gets its share: the furthest is {imbalance:.0%} from the mean.",
        otherwise=f"The shares differ by {imbalance:.0%}: too few requests to call them even.",
    )

The page shows the sentence that is true of the run. A claim without an `otherwise` that doesn't
hold is a contradiction: it is shown as one, and a test fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from helpers.errors import NotebookError
from helpers.lab.publishing import displayed

CLAIM = "application/vnd.inception-tutorial.claim+json"


@dataclass(frozen=True)
class Claim:
    """A sentence about a run, and whether the run bears it out.

    Args:
        name: an identifier, unique in its notebook.
        held: whether its condition holds in this run.
        sentence: what is shown: the claim itself, or what is true instead.
        contradicted: whether it doesn't hold and nothing is true instead.
    """

    name: str
    held: bool
    sentence: str
    contradicted: bool = False

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        warning = "**This run contradicts what the text expects:** " if self.contradicted else ""
        shown = warning + self.sentence
        return {CLAIM: vars(self), "text/markdown": shown, "text/plain": shown}


def claim(name: str, holds: bool, sentence: str, *, otherwise: str = "") -> Claim:
    """Says a sentence if it is true of this run, and what is true instead if it isn't.

    Args:
        name: an identifier; `results.json` and `make claims` list the claim by it.
        holds: the condition, on values that the notebook publishes.
        sentence: Markdown; what the lesson expects.
        otherwise: Markdown; what is true of the run when the condition doesn't hold. Without it,
            such a run is one that contradicts the text.

    Raises:
        NotebookError: the name is no identifier.
    """
    if not name.isidentifier():
        raise NotebookError(
            f"{name!r} can't name a claim",
            cause="`make claims` lists claims by name",
            next_step="Use letters, digits and underscores.",
        )
    held = bool(holds)
    return Claim(name, held, sentence if held else otherwise or sentence, not (held or otherwise))


def claims(notebook: Any) -> list[Claim]:
    """The claims of an executed notebook (a path or a node), in order."""
    return [Claim(**record) for record in displayed(notebook, CLAIM)]

"""What an arm is: a way to build the prompt, and the weights that answer it.

The arms of the paper's tables (arXiv 2502.19312). Every arm starts from the same base checkpoint;
an arm with its own training has an adapter on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from fspo_core.errors import UnknownArm


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to answer.

    ``adapter`` names the weights on top of the base (None: the base itself). ``reads_labels`` puts
    the participant's labelled pairs in the prompt, with ``reads_another`` those of another
    participant. ``describes_first`` writes a description of the user from the labels and then
    answers (the paper's COT, later RAT). ``told_description`` is the oracle, told the true
    description.
    """

    name: str
    adapter: str | None
    reads_labels: bool
    describes_first: bool = False
    told_description: bool = False
    reads_another: bool = False


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("base", adapter=None, reads_labels=False),
        Arm("prompted", adapter=None, reads_labels=True),
        Arm("pref_ft", adapter="pref_ft", reads_labels=True),
        Arm("ipo", adapter="ipo", reads_labels=False),
        Arm("fspo", adapter="fspo", reads_labels=True),
        Arm("fspo_rat", adapter="fspo", reads_labels=True, describes_first=True),
        Arm("yoked", adapter="fspo", reads_labels=True, reads_another=True),
        Arm("oracle", adapter=None, reads_labels=False, told_description=True),
    )
}


def get_arm(name: str) -> Arm:
    """The arm called ``name``. Raises UnknownArm, naming the value and the known arms."""
    try:
        return ARMS[name]
    except KeyError:
        raise UnknownArm(f"unknown arm {name!r}; known arms: {', '.join(ARMS)}") from None

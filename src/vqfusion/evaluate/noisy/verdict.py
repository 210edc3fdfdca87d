"""Whether a training without clean data worked, in words."""

from dataclasses import asdict, dataclass
from typing import Any

from vqfusion.config import OwnNoiseConfig
from vqfusion.evaluate.noisy.judge import Facts
from vqfusion.models.restoration.own_noise import HELD_OUT

# limits, chosen on made-up signals and train400: docs/microscopy.md
LOST, MADE = 0.15, -0.15  # further share of detail that would bring the estimate nearer to the truth
SURE = 4.0  # standard errors that a share must be away from 0
SHARED = 0.22  # correlation of the noise between neighbours
LEFT = 0.03  # positive autocorrelation of the residual at a distance
LEAST_GAIN = 0.97  # risk of the prior / that of the best baseline that needs no training
COPIED = 0.5  # residual / variance of the noise
BELOW = 3.0  # standard errors by which held-out elements differ less than the noise alone would make them
OFF = 0.04  # difference of the coverage from 90 %


@dataclass(frozen=True)
class Verdict:
    """The verdict: `works` is False where something is wrong; `lines` say what, and what may help."""

    works: bool
    lines: tuple[str, ...]

    @property
    def words(self) -> str:
        """The verdict in one line."""
        if self.works:
            return "it worked: " + "; ".join(self.lines)
        return "it did not work: " + "; ".join(self.lines)


def verdict(facts: Facts, noise: OwnNoiseConfig) -> Verdict:
    """Judge what was measured."""
    wrong = []
    hidden_along = [reach > 0 for reach in noise.reach]
    shared = [(axis, value) for axis, value in enumerate(facts.noise) if value > SHARED and not hidden_along[axis]]
    if shared:
        axis, value = max(shared, key=lambda one: one[1])
        wrong.append(
            f"the noise is correlated (neighbours along axis {axis} {value:.2f}) and the method {noise.method} takes "
            "it for structure: use method auto"
        )
    if facts.residual < COPIED:
        wrong.append(
            f"the estimate keeps much of the noise (only {100 * facts.residual:.0f} % of its variance was taken away): "
            "train longer"
        )
    others = {name: risk for name, risk in facts.risk.items() if name != "prior"}
    best = min(others, key=lambda name: others[name])
    if facts.risk["prior"] > LEAST_GAIN * others[best]:
        wrong.append(
            f"its estimated error is {facts.risk['prior'] / others[best]:.2f} times that of {best}, which needs no "
            "training: train longer, or with more data"
        )
    for share, error in zip(facts.lost, facts.lost_error, strict=True):
        if share > max(LOST, SURE * error):
            wrong.append(
                f"the estimate is too smooth: {100 * share:.0f} % more of its fine structure would be nearer to the "
                "truth, and the residual holds it: train longer, or with a larger network"
            )
            break
    for share, error in zip(facts.lost, facts.lost_error, strict=True):
        if share < min(MADE, -SURE * error):
            wrong.append(
                f"the estimate shows structure that the data do not support: {-100 * share:.0f} % less of its fine "
                "structure would be nearer to the truth: train longer, or on more data"
            )
            break
    if facts.hidden["prior"] < 1 - BELOW * (2 * HELD_OUT / facts.elements) ** 0.5:
        wrong.append(
            "the noise level was estimated too high, so that errors and shares here are uncertain: held-out noisy "
            f"values differ by {facts.hidden['prior']:.2f} of its variance, and noise alone would make that 1"
        )
    far = max((value for row in facts.white.along for value in row[1:]), default=0.0)
    if far > LEFT and not shared and not facts.white.is_white:
        wrong.append(f"the residual holds structure (autocorrelation {far:.3f} at a distance): it is not noise alone")
    if facts.covered is not None and abs(facts.covered - 0.9) > OFF + 2 * facts.covered_error:
        wrong.append(f"90 % intervals are estimated to hold {100 * facts.covered:.0f} % of the clean values")
    if wrong:
        return Verdict(False, tuple(wrong))
    gain = f"its estimated error is {facts.risk['prior'] / others[best]:.2f} times that of {best}"
    clean = f"the residual is {'white' if facts.white.is_white else 'nearly white'} (largest autocorrelation " + (
        f"{facts.white.largest:.3f})"
    )
    held = "" if facts.covered is None else f"; 90 % intervals are estimated to hold {100 * facts.covered:.1f} %"
    return Verdict(True, (gain, clean + held))


def report(facts: Facts, judged: Verdict) -> dict[str, Any]:
    """Everything as JSON."""
    return {"works": judged.works, "verdict": judged.words} | asdict(facts) | {"is_white": facts.white.is_white}

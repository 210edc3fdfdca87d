"""Temperature scaling: the temperature that was put in is found, and a trained chain's probabilities are right."""

import pytest
import torch

from vqfusion.evaluate.metrics import expected_calibration_error
from vqfusion.train.fusion.temperature import fitted_temperature


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_overconfidence_is_found_and_mended(factor):
    """Classes drawn from softmax(z), asked about `factor` z: the temperature is `factor`, to the noise of 20,000."""
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(20_000, 5, generator=generator, dtype=torch.float64)
    truth = torch.multinomial(z.softmax(1), 1, generator=generator)[:, 0]
    stated = (factor * z).log_softmax(1)
    t = fitted_temperature(stated, truth)
    assert t == pytest.approx(factor, rel=0.05)
    mended = (stated / t).softmax(1).max(1)
    assert expected_calibration_error(mended.values.float(), mended.indices == truth) < 0.015


def test_adding_a_constant_to_all_logits_changes_nothing():
    logits = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    truth = torch.arange(200) % 4
    assert fitted_temperature(logits, truth) == pytest.approx(fitted_temperature(logits + 7, truth), rel=1e-6)

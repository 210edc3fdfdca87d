"""Temperature scaling: the temperature that was put in is found, and a trained chain's probabilities are right."""

import pytest
import torch

from vqfusion.config import ChainConfig, DrawConfig, FusionConfig, LabelTokenizerConfig, TextTokenizerConfig
from vqfusion.data.record import Dataset, Record
from vqfusion.evaluate.metrics import expected_calibration_error
from vqfusion.models.fusion.fusion import Fusion
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.system import System
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.train.fusion.own_data import one_token_slot, text_slot
from vqfusion.train.fusion.temperature import FEWEST_RECORDS, calibrated, fitted_temperature
from vqfusion.types import Sample


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


def test_calibration_leaves_out_what_training_left_out():
    """A text of 50 tokens in a slot of 32 is no record of the training, and none that its end stumbles over."""
    texts = [f"{shade} {colour}" for shade in ("light", "dark", "pale", "deep") for colour in ("red", "green", "blue")]
    tokenizers = {"text": TextTokenizer.train(texts, 300), "label": LabelTokenizer(("blue", "green", "red"))}
    chain = ChainConfig(
        name="colours",
        tokenizers={"text": TextTokenizerConfig(vocabulary_size=300), "label": LabelTokenizerConfig()},
        fusion=FusionConfig(
            dim=8, layers=1, heads=1, slots={"text:en": text_slot(32), "label": one_token_slot("label")}
        ),
        draws=(DrawConfig(given=("text:en",), target=("label",)),),
    )
    slots = SlotTokenizers(chain, tokenizers)
    torch.manual_seed(0)
    system = System(chain, slots, Fusion(chain.fusion, slots.vocabularies, slots.codebooks))

    def record(text: str) -> Record:
        label = text.split()[-1]
        return Record(
            text, "val", sources={"text:en": lambda: Sample("text", text), "label": lambda: Sample("label", label)}
        )

    fitting, long = [record(text) for text in 2 * texts], record("x" * 50 + " red")
    assert len(fitting) >= FEWEST_RECORDS and slots.encode_fitting("text:en", [long.load("text:en")]) == [None]
    plain, more = (calibrated(system, Dataset("colours", records)) for records in (fitting, [*fitting, long]))
    assert more.config.fusion.slots["label"].calibration == plain.config.fusion.slots["label"].calibration != {}

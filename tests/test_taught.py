"""Names that a model was taught: which texts are names, that they ship with the model, and the doubt about others."""

import json

import vqfusion
from vqfusion.data import Record, open_dataset
from vqfusion.models.fusion.taught import Taught
from vqfusion.types import Sample


def record(key: str, **texts: str) -> Record:
    sources = {f"text:{name}": lambda text=text: Sample("text", text) for name, text in texts.items()}
    return Record(key, "train", sources=sources)


def test_texts_that_repeat_are_names_and_captions_are_not():
    records = [record(str(i), en=f"thing {i // 2}", de=f"caption {i}") for i in range(8)]
    taught = Taught.of(records, ("text:en", "text:de", "text:fr"))
    assert taught.names == {"text:en": ("thing 0", "thing 1", "thing 2", "thing 3")}
    assert taught.doubt("text:en", "thing 3") is None
    assert taught.doubt("text:de", "anything") is None, "without a list there is nothing to doubt"
    assert "near it: thing" in (taught.doubt("text:en", "thing 9") or "")
    assert "it knows thing" in (taught.doubt("text:en", "Zug") or "")


def test_the_shipped_model_has_the_names_of_its_data():
    system = vqfusion.load("emoji")
    learned = open_dataset(system.config.data).limited(system.config.limit_keys).select(split="train")
    assert system.taught.names == Taught.of(learned, [slot for slot in system.slots if slot.startswith("text:")]).names
    assert {len(names) for names in system.taught.names.values()} == {system.config.limit_keys}


def test_the_command_says_that_it_guesses(cli):
    quick = ("--steps", "2")
    code, _, err = cli("translate", "brocoli", "--to", "de", *quick)
    assert code == 0 and err.startswith("vqfusion: 'brocoli' is not among the 400 names") and "broccoli" in err
    assert cli("translate", "broccoli", "--to", "de", *quick)[2] == ""
    code, out, err = cli("classify", "brocoli", "--json")
    assert code == 0 and err == "" and len(json.loads(out)["warnings"]) == 1
    code, out, err = cli("translate", "brócoli", "--from", "es", "--to", "fr", "--json", *quick)
    assert json.loads(out)["warnings"] == [], "what the model itself says on the way is not doubted"

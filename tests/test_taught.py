"""Names that a model was taught: which texts are names, that they ship with the model, and the warning about others."""

import json

import pytest

import vqfusion
from vqfusion.data import Record, open_dataset
from vqfusion.models.fusion.taught import Taught
from vqfusion.models.sampling import Generated, Sampling
from vqfusion.tasks import TASKS
from vqfusion.types import Sample


def record(key: str, **texts: str) -> Record:
    sources = {f"text:{name}": lambda text=text: Sample("text", text) for name, text in texts.items()}
    return Record(key, "train", sources=sources)


def test_texts_that_repeat_are_names_and_captions_are_not():
    records = [record(str(i), en=f"thing {i // 2}", de=f"caption {i}") for i in range(8)]
    taught = Taught.of(records, ("text:en", "text:de", "text:fr"))
    assert taught.names == {"text:en": ("thing 0", "thing 1", "thing 2", "thing 3")}
    assert taught.warning("text:en", "thing 3") is None
    assert taught.warning("text:de", "anything") is None, "without a list there is nothing to doubt"
    assert "near it: thing" in (taught.warning("text:en", "thing 9") or "")
    assert "it knows thing" in (taught.warning("text:en", "Zug") or "")


def test_the_shipped_model_has_the_names_of_its_data():
    system = vqfusion.load("emoji")
    learned = open_dataset(system.config.data).limited(system.config.limit_keys).select(split="train")
    taught = Taught.of(learned, [slot for slot in system.slots if slot.startswith("text:")])
    assert system.taught.names == taught.names and system.taught.together == taught.together
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


def said(text: str, voice: str) -> Record:
    sources = {"text:en": text, "audio": "", "speaker": voice, "style": "never shown in a sound"}
    return Record(text, "train", sources={name: lambda one=one: Sample("label", one) for name, one in sources.items()})


def test_voices_that_said_a_name_are_known_and_kept():
    records = [said("cat", "ada"), said("cat", "bob"), said("dog", "bob"), said("dog", "eve")]
    taught = Taught.of(records, ["text:en"])
    assert taught.labels_for("audio", "text:en", "cat", "speaker") == ("ada", "bob")
    assert taught.labels_for("image", "text:en", "cat", "style") == ()
    stored = json.loads(json.dumps(taught.stored_together()))
    assert stored["audio"]["text:en"]["speaker"] == {"ada": "10", "bob": "11", "eve": "01"}
    assert Taught.from_stored(taught.names, stored).together == taught.together
    with pytest.raises(ValueError):
        Taught.from_stored({"text:en": ["cat"]}, stored)


class Asked:
    """A system that keeps what it was asked."""

    slots, languages, taught = ("text:en", "audio", "image", "speaker", "style"), ("en",), None

    def labels(self, slot):
        return ["ada", "bob", "eve"]

    def warnings(self, given):
        return ()

    def generate(self, given, target, sampling, known=None):
        self.given = given
        return Generated(target, [], 0, 0.0)


def test_speak_takes_a_voice_that_said_the_name_and_imagine_one_style():
    system = Asked()
    system.taught = Taught.of(
        [said("cat", "ada"), said("cat", "bob"), said("dog", "bob"), said("dog", "eve")], ["text:en"]
    )
    words = [Sample("text", "cat"), Sample("text", "dog")]
    answer = TASKS["speak"]()(system, words, Sampling(seed=0))
    assert [one.data for one in system.given["speaker"]] == ["ada", "bob"] and answer.warnings == ()
    TASKS["speak"]()(system, words, Sampling(seed=1))
    assert [one.data for one in system.given["speaker"]] == ["bob", "eve"], "the seed chooses among them"
    answer = TASKS["speak"](speaker="eve")(system, words, Sampling())
    assert answer.warnings == ("eve never said 'cat' in training, so it may not be understood; ada, bob did",)
    TASKS["imagine"]()(system, words[0], Sampling())
    assert system.given["style"].data == "ada", "one of the styles where none is known to show the name"
    system.slots = ("text:en", "audio", "image")
    TASKS["imagine"]()(system, words[0], Sampling())
    assert "style" not in system.given, "a model without styles is not given one"


def test_a_name_that_no_voice_says_is_announced():
    system = Asked()
    system.taught = Taught(
        {"text:en": ["cat", "pig"]}, {"audio": {"text:en": {"speaker": {"ada": frozenset({"cat"})}}}}
    )
    answer = TASKS["speak"]()(system, Sample("text", "pig"), Sampling())
    assert "not taught 'pig' with any speaker" in answer.warnings[0] and len(system.given["speaker"].data) == 3

"""Baselines of the table of results."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    classifiers="Classifier",
    memory="TranslationMemory",
    ngrams="CharacterModel",
    pictures="HogClassifier jpeg mean_picture nearest_picture",
    recogniser="NameRecogniser",
    sounds="MfccClassifier opus",
    texts="PivotDictionary",
)

"""Languages of short texts: scripts, frequent words, and letters that follow each other, learned from the texts."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# the most frequent words of some languages: articles, pronouns, prepositions, forms of to be and to have
FREQUENT: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "en": "the a an and of to in is was are were be been i you he she it we they this that my your his her not "
        "do does did don't didn't i'm it's have has had with for on at from what who how will would can there tom's",
        "de": "der die das den dem ein eine einen und oder ist war sind waren ich du er sie es wir ihr mein dein sein "
        "nicht mit für auf von zu im am was wer wie wird hat haben hast habe noch auch dass kann mich dich uns",
        "fr": "le la les un une des du et ou est était sont je tu il elle nous vous ils mon ton son ma ta sa ne pas "
        "avec pour sur dans que qui quoi ce cette a ai as ont été au aux c'est j'ai n'est d'un qu'il en",
        "es": "el la los las un una unos y o es era son está yo tú él ella nosotros ellos mi tu su no con por para en "
        "de del al que qué quién cómo lo le se me te ha he han muy este esta hay fue",
        "it": "il lo la gli le un uno una e o è era sono io tu lui lei noi voi loro mio tuo suo non con per su di del "
        "della nel che chi come ho ha hanno questo questa si mi ti ci molto anche",
        "pt": "o a os as um uma e ou é era são está eu tu ele ela nós vocês eles meu teu seu não com por para em no na "
        "do da que quem como isso este esta foi tem têm você muito",
        "nl": "de het een en of is was zijn waren ik jij hij zij wij jullie mijn jouw niet met voor op van naar in dat "
        "die wat wie hoe heeft hebben heb er ook maar nog te kan",
        "sv": "en ett och eller är var jag du han hon det vi ni de min din inte med för på av till i att som vad vem "
        "har hade den kan ska så",
        "pl": "i w na z do nie jest był była są to ja ty on ona my wy oni mój twój się że co kto jak ma mam tak czy",
        "tr": "bir ve bu o ben sen biz siz onlar değil ile için ne kim nasıl var yok da de mi çok ama",
    }.items()
}
SCRIPTS: dict[str, tuple[str, ...]] = {
    "ru": ("CYRILLIC",), "uk": ("CYRILLIC",), "bg": ("CYRILLIC",), "el": ("GREEK",), "he": ("HEBREW",),
    "ar": ("ARABIC",), "fa": ("ARABIC",), "ur": ("ARABIC",), "hi": ("DEVANAGARI",), "th": ("THAI",),
    "ko": ("HANGUL", "CJK"), "zh": ("CJK",), "ja": ("HIRAGANA", "KATAKANA", "CJK"), "ka": ("GEORGIAN",),
    "hy": ("ARMENIAN",),
} | {name: ("LATIN",) for name in FREQUENT}  # fmt: skip
FEWEST_LETTERS, FEWEST_WORDS = 4, 2
FEWEST_TEXTS = 8  # of a language, from which its letters are learned
BUCKETS, CHUNK, ROUNDS = 2**16, 4096, 6
UNIFORM = 0.1  # share of the uniform distribution in that of the runs of a language
LEARNED = 120  # characters of each text


def strange_script(text: str, language: str) -> str:
    """Script of most letters of a text, where its language is not written in it; "" otherwise."""
    letters = [c for c in text if c.isalpha()]
    expected = SCRIPTS.get(language)
    if expected is None or len(letters) < FEWEST_LETTERS:
        return ""
    scripts = Counter(unicodedata.name(c, "UNKNOWN").split()[0] for c in letters[:LEARNED])
    script, count = scripts.most_common(1)[0]
    fitting = sum(scripts[name] for name in expected)
    return script.lower() if fitting < count and fitting < len(letters[:LEARNED]) / 2 else ""


def by_frequent_words(text: str) -> str:
    """Language of which a text holds at least two frequent words more than of any other; "" where there is none."""
    words = set(re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text.casefold().replace("\u2019", "'")))
    counts = sorted(((len(words & frequent), name) for name, frequent in FREQUENT.items()), reverse=True)
    (best, name), (second, _) = counts[:2]
    return name if best >= second + FEWEST_WORDS else ""


def other_languages(
    texts: Sequence[str], language: str, others: Mapping[str, Sequence[str]]
) -> list[tuple[str, float]]:
    """For each text that should be in a language, the language that it is more likely in, and by how much.

    Texts that are recognised by their frequent words, and the texts of other slots, teach a naive Bayes classifier of
    runs of one to three letters which letters follow each other; all others teach it the language itself. It judges
    every text by the other texts, then learns again without those that it took for foreign, until nothing changes.

    Args:
        texts: The texts.
        language: The language that they should be in.
        others: Texts in other languages.

    Returns:
        For each text the other language, "" where its own is more likely, and the difference of the log-likelihoods
        for each character, in nats.
    """
    counts = _counts([*texts, *(text for rows in others.values() for text in rows)])
    taught = [name for name, rows in others.items() for _ in rows]
    lengths = np.array([max(1, len(text[:LEARNED])) for text in texts])
    names = [guess if guess and guess != language else language for guess in map(by_frequent_words, texts)]
    margins = np.ones(len(texts))
    for _ in range(ROUNDS):
        now = np.array(names + taught)
        known = [name for name, count in Counter(now.tolist()).items() if count >= FEWEST_TEXTS]
        if not set(known) - {language}:
            break
        classes = sorted({language, *known})
        scores = np.stack([_log_likelihood(counts, now == name)[: len(texts)] for name in classes], 1)
        best = scores.argmax(1)
        margins = (scores.max(1) - scores[:, classes.index(language)]) / lengths
        if names == (names := [classes[i] for i in best]):
            break
    return [(name, float(m)) if name != language else ("", 0.0) for name, m in zip(names, margins, strict=True)]


def _counts(texts: Sequence[str]) -> Any:
    """Counts of the runs of one to three characters of each text, hashed, as a sparse matrix."""
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import HashingVectorizer

    runs = HashingVectorizer(
        analyzer="char_wb", ngram_range=(1, 3), n_features=BUCKETS, norm=None, alternate_sign=False, dtype=np.float32
    )
    parts = range(0, max(1, len(texts)), CHUNK)
    return vstack([runs.transform([text[:LEARNED] for text in texts[i : i + CHUNK]]) for i in parts]).tocsr()


def _log_likelihood(counts: Any, members: np.ndarray) -> np.ndarray:
    """Log-likelihood of each text under the texts of a language; a text of the language is left out for itself.

    Without that a text would vouch for itself by the runs that it alone has. Frequencies are mixed with a uniform
    distribution (Jelinek, Mercer, 1980), so that what nobody has seen counts the same in all languages.
    """
    of_language = np.asarray(counts[members].sum(0), np.float64).ravel()
    own = np.repeat(members, np.diff(counts.indptr))
    seen = of_language[counts.indices] - own * counts.data
    total = of_language.sum() - members * np.asarray(counts.sum(1), np.float64).ravel()
    share = seen / np.maximum(np.repeat(total, np.diff(counts.indptr)), 1.0)
    each = counts.data * np.log((1 - UNIFORM) * share + UNIFORM / BUCKETS)
    sums = np.concatenate([[0.0], np.cumsum(each)])
    return sums[counts.indptr[1:]] - sums[counts.indptr[:-1]]

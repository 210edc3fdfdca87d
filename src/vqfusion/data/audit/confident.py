"""Confident learning: which labels a cross-validated classifier contradicts (Northcutt, Jiang, Chuang, 2021)."""

import numpy as np
from jaxtyping import Bool, Float, Int

FOLDS, NEIGHBOURS = 5, 5
MOST = 20_000  # items that a classifier is trained on
SURE, UNLIKELY = 0.6, 0.1  # probabilities of another class and of the given one, from which a label is suspect
KNOWN = 0.5  # fraction of a class that is recognised, from which its labels are judged


def probabilities(
    matrix: Float[np.ndarray, "N D"], points: Float[np.ndarray, "N d"], labels: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "N K"]:
    """Probability of each class for each item, by two classifiers that did not see the item.

    The mean of a linear discriminant analysis with a shrunken covariance (Ledoit, Wolf, 2004), which has a closed form,
    and of the five nearest neighbours: a label is contradicted only where a global and a local view agree.

    Args:
        matrix: Embeddings.
        points: The same in few dimensions, for distances.
        labels: Classes from 0 to K - 1, each of at least `FOLDS` items.

    Returns:
        The probabilities.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold
    from sklearn.neighbors import KNeighborsClassifier

    found = np.zeros((len(labels), int(labels.max()) + 1))
    for known, asked in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(np.zeros(len(labels)), labels):
        known = np.random.default_rng(0).permutation(known)[:MOST]
        linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        local = KNeighborsClassifier(NEIGHBOURS, weights="distance")
        for model, rows in ((linear, matrix), (local, points)):
            model.fit(rows[known], labels[known])
            found[asked[:, None], model.classes_] += model.predict_proba(rows[asked]) / 2
    return found


def label_quality(
    p: Float[np.ndarray, "N K"], labels: Int[np.ndarray, " N"]
) -> tuple[Bool[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Which labels are probably wrong, and how well each label fits.

    A label is judged where the classifier knows its class: it recognises at least half of the items with this label. A
    class j is confident for an item where its probability is at least the mean probability of j among the items
    labelled j (equation 2); a label is suspect where the most probable of the confident classes is another one, with a
    probability of at least `SURE`, and its own is at most `UNLIKELY`.

    Args:
        p: Probabilities by a classifier that did not see the item.
        labels: The given labels.

    Returns:
        Which are suspect, and the probability of each label ("self-confidence" in the paper).
    """
    rows, classes = np.arange(len(labels)), range(p.shape[1])
    thresholds = np.array([p[labels == k, k].mean() if (labels == k).any() else np.inf for k in classes])
    confident = np.where(p >= thresholds, p, -1.0)
    best, found, own = confident.argmax(1), p.argmax(1), p[rows, labels]
    known = np.array([(found[labels == k] == k).mean() if (labels == k).any() else 0.0 for k in classes])
    suspect = (best != labels) & (confident[rows, best] >= SURE) & (own <= UNLIKELY) & (known[labels] >= KNOWN)
    return suspect, own

"""Embeddings of items as a matrix for scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vqfusion.data.audit.item import Item

COLUMNS, TOPICS = 2**18, 256  # hashed terms, and components that stand for them


def matrix_of(items: Sequence[Item]) -> Any:
    """Embeddings `[N, D]`: float32 for dense ones, a sparse matrix of weighted terms for texts.

    Terms are weighted by their inverse document frequency and rows have unit length (Salton, Buckley, 1988).
    """
    rows = [item.measured.embedding for item in items if item.measured and item.measured.embedding is not None]
    if rows[0].dtype.kind == "f":
        return np.stack(rows).astype(np.float32)
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfTransformer

    used, columns = np.unique(
        np.concatenate(rows) % COLUMNS, return_inverse=True
    )  # terms that nobody has need no column
    ends = np.cumsum([0, *map(len, rows)])
    counts = csr_matrix((np.ones(len(columns), np.float32), columns.astype(np.int32), ends), (len(rows), len(used)))
    return TfidfTransformer().fit_transform(counts)


def dense_of(items: Sequence[Item]) -> np.ndarray:
    """Embeddings `[N, D]` as they are, or of texts the leading `TOPICS` components (Deerwester et al., 1990)."""
    matrix = matrix_of(items)
    return matrix if isinstance(matrix, np.ndarray) else reduced(items, TOPICS, scaled=False)


def reduced(items: Sequence[Item], dims: int, most: int = 20_000, scaled: bool = True) -> np.ndarray:
    """The leading principal components `[N, dims]` of the embeddings; `scaled`: each to a variance of one or less.

    Components are estimated on up to `most` items. Those with less than a hundredth of the variance of the first keep
    their small scale, so that noise is not blown up.
    """
    from sklearn.decomposition import PCA, TruncatedSVD

    matrix = matrix_of(items)
    dims = min(dims, len(items) - 1, matrix.shape[1])
    sparse = not isinstance(matrix, np.ndarray)
    model = TruncatedSVD(dims, random_state=0) if sparse else PCA(dims, svd_solver="randomized", random_state=0)
    sample = np.random.default_rng(0).permutation(len(items))[:most]
    scores = model.fit(matrix[sample]).transform(matrix)
    if not scaled:
        return scores.astype(np.float32)
    spread = scores.std(0)
    return (scores / np.maximum(spread, 0.1 * spread.max() + 1e-12)).astype(np.float32)

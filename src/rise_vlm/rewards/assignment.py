"""The best one-to-one assignment between two sets, by shortest augmenting paths (the Hungarian method).

Left out: sparse input. At the sizes of this package (a few hundred boxes) a dense matrix takes milliseconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def best_assignment(worth: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs (row, column) of the assignment with the greatest total worth, by row.

    ``worth`` is (N, M) and finite; each row and each column is used at most once and min(N, M) pairs are returned.
    Source: Jonker and Volgenant 1987, in the form with potentials; O(min(N, M)^2 max(N, M)).
    """
    if worth.shape[0] > worth.shape[1]:
        return sorted((row, column) for column, row in best_assignment(worth.T))
    rows, columns = worth.shape
    cost = -np.asarray(worth, dtype=np.float64)
    of_row, of_column = np.zeros(rows), np.zeros(columns)  # the potentials
    row_at = np.full(columns, -1)
    for row in range(rows):
        column, previous = _shortest_path(cost, row, of_row, of_column, row_at)
        while column >= 0:  # each row on the path takes the column it was reached for
            before = int(previous[column])
            row_at[column] = row if before < 0 else row_at[before]
            column = before
    return sorted((int(row), column) for column, row in enumerate(row_at) if row >= 0)


def _shortest_path(
    cost: NDArray[np.float64],
    start: int,
    of_row: NDArray[np.float64],
    of_column: NDArray[np.float64],
    row_at: NDArray[np.int_],
) -> tuple[int, NDArray[np.int_]]:
    """(a free column, for each column the one before it on the way there, -1 at the beginning): the cheapest way to
    give the row ``start`` a column. Updates the potentials in place.
    """
    columns = cost.shape[1]
    distance, previous = np.full(columns, np.inf), np.full(columns, -1)
    done = np.zeros(columns, dtype=bool)
    row, column, reached = start, -1, 0.0
    while True:
        step = reached + cost[row] - of_row[row] - of_column
        nearer = ~done & (step < distance)
        distance[nearer], previous[nearer] = step[nearer], column
        open_to = np.where(done, np.inf, distance)
        reached = float(open_to.min())
        nearest = np.flatnonzero(open_to == reached)
        column = int(nearest[row_at[nearest].argmin()])  # of equals a free one (-1): paths stay short
        done[column] = True
        if row_at[column] < 0:
            break
        row = int(row_at[column])
    done[column] = False
    of_row[start] += reached
    of_row[row_at[done]] += reached - distance[done]
    of_column[done] -= reached - distance[done]
    return column, previous

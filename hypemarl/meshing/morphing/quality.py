"""Quality of moved triangles: their radius ratios, compiled."""

import numba
import numpy as np


@numba.njit(cache=True)
def radius_ratio(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Twice the inscribed over the circumscribed radius: 1 equilateral, 0 flat, < 0 inverted.

    2 r / R = 8 A |A| / (p l_1 l_2 l_3), A the signed area, l_i the sides, p half their sum; 0 for
    coordinates that are no numbers.
    """
    ab_x, ab_y, ac_x, ac_y = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
    bc_x, bc_y = ac_x - ab_x, ac_y - ab_y
    area = 0.5 * (ab_x * ac_y - ab_y * ac_x)
    l_1 = np.sqrt(ab_x * ab_x + ab_y * ab_y)
    l_2 = np.sqrt(ac_x * ac_x + ac_y * ac_y)
    l_3 = np.sqrt(bc_x * bc_x + bc_y * bc_y)
    scale = 0.5 * (l_1 + l_2 + l_3) * l_1 * l_2 * l_3
    return 8.0 * area * abs(area) / scale if scale > 0.0 else 0.0


@numba.njit(cache=True)
def radius_ratios(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Radius ratio of every cell: (N, 2), (M, 3) anticlockwise -> (M,)."""
    ratios = np.empty(len(cells))
    for k in range(len(cells)):
        ratios[k] = radius_ratio(points[cells[k, 0]], points[cells[k, 1]], points[cells[k, 2]])
    return ratios


def worst_cell(points: np.ndarray, cells: np.ndarray) -> tuple[float, int]:
    """Smallest radius ratio and its cell. Negative where a cell is inverted."""
    ratios = radius_ratios(points, cells)
    return float(ratios.min()), int(ratios.argmin())

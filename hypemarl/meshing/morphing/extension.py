"""Extension of a boundary's displacement into the mesh, as a dense operator built once.

The mesh is an elastic body whose Young's modulus is the inverse of a cell's volume, so that small
cells, which lie at the obstacle, move almost rigidly. Source: T. E. Tezduyar, M. Behr, S. Mittal,
J. Liou, Computation of unsteady incompressible flows with the stabilized finite element methods,
ASME PVP 246 (1992). Harmonic extension, which the tests compare with it, inverts cells.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

from hypemarl.meshing.raw import MeshError

POISSON_RATIO = 0.3
STIFFENING = 1.0
"""Young's modulus is (mean volume / volume) ** STIFFENING."""


def elastic_extension(
    points: np.ndarray,
    cells: np.ndarray,
    moved: np.ndarray,
    fixed: np.ndarray,
    modes: np.ndarray | None = None,
    stiffening: float = STIFFENING,
) -> np.ndarray:
    """The operator from the displacement of the ``moved`` nodes to that of all nodes.

    Args:
        points: (N, 2); cells: (M, 3) anticlockwise.
        moved: (k,) nodes with a prescribed displacement; fixed: (m,) nodes that stay.
        modes: (2 k, m) displacements of the moved nodes to extend; by default each of their
            components in turn. Few modes take less time and memory than the whole operator.
        stiffening: power of the inverse volume; 0 is plain elasticity.

    Returns:
        (2 N, m) or (2 N, 2 k): rows (and columns) by node, x then y; zero at fixed nodes.

    Raises:
        MeshError: a cell is not anticlockwise, or a node is both moved and fixed.
    """
    gradients, volumes = barycentric_gradients(points, cells)
    young = (volumes.mean() / volumes) ** stiffening
    mu = young / (2.0 * (1.0 + POISSON_RATIO))
    la = young * POISSON_RATIO / ((1.0 + POISSON_RATIO) * (1.0 - 2.0 * POISSON_RATIO))
    products = np.einsum("nai,nbj->naibj", gradients, gradients)
    shear = products.transpose(0, 1, 4, 3, 2)
    same = np.einsum("nai,nbi,cd->nacbd", gradients, gradients, np.eye(2))
    la, mu, weight = (a[:, None, None, None, None] for a in (la, mu, volumes))
    local = weight * (la * products + mu * (shear + same))
    dofs = (2 * cells[:, :, None] + np.arange(2)).reshape(len(cells), 6)
    size = 2 * len(points)
    matrix = assembled(local.reshape(len(cells), 6, 6), dofs, dofs, (size, size))
    return extended(matrix, _both(moved), _both(fixed), modes)


def _both(nodes: np.ndarray) -> np.ndarray:
    """Rows of both components of nodes."""
    return (2 * np.asarray(nodes)[:, None] + np.arange(2)).ravel()


def barycentric_gradients(points: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients (M, 3, 2) of the barycentric coordinates and signed areas (M,)."""
    corners = points[cells]
    opposite = np.roll(corners, -2, axis=1) - np.roll(corners, -1, axis=1)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = 0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    if not (areas > 0.0).all():
        raise MeshError(
            f"extension: cell {np.argmin(areas)} has the signed area {areas.min():g}; expected "
            f"anticlockwise cells of positive area"
        )
    turned = np.stack([-opposite[..., 1], opposite[..., 0]], axis=-1)
    return turned / (2.0 * areas[:, None, None]), areas


def assembled(
    local: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Sum of the matrices ``local`` (M, k, l) of cells with nodes ``rows`` (M, k), ``columns``."""
    i = np.repeat(rows, columns.shape[1], axis=1).ravel()
    j = np.tile(columns, (1, rows.shape[1])).ravel()
    return sparse.csr_matrix((local.ravel(), (i, j)), shape=shape)


def local_masses(areas: np.ndarray) -> np.ndarray:
    """Integrals (M, 3, 3) of products of the P1 functions of triangles with areas (M,)."""
    return areas[:, None, None] * (np.ones((3, 3)) + np.eye(3)) / 12.0


def extended(
    matrix: sparse.csr_matrix, moved: np.ndarray, fixed: np.ndarray, modes: np.ndarray | None
) -> np.ndarray:
    """Solve for the free rows with the modes, or a unit displacement of every moved row in turn."""
    if np.intersect1d(moved, fixed).size:
        raise MeshError("extension: the obstacle touches a fixed boundary: they share nodes")
    free = np.setdiff1d(np.arange(matrix.shape[0]), np.concatenate([moved, fixed]))
    imposed = np.eye(len(moved)) if modes is None else modes
    operator = np.zeros((matrix.shape[0], imposed.shape[1]))
    operator[moved] = imposed
    factors = factorised(matrix[free][:, free])
    operator[free] = factors.solve(-(matrix[free][:, moved] @ imposed))
    return operator


def factorised(matrix: sparse.csr_matrix) -> SuperLU:
    """SuperLU factors of a symmetric positive definite matrix, ordered and pivoted as such."""
    options = {"SymmetricMode": True}
    return splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)

"""What the network needs of meshes: bilinear forms, coarse spaces, features of nodes; kept by digest.

The mesh graph has the pattern of the stiffness matrix. What passes along its edges is weighted not by learnt
functions of positions but by the bilinear forms of the linear elements, all those of order up to two:
int phi_i phi_j, int phi_i d_k phi_j, int d_k phi_i d_l phi_j, divided by m_i = int phi_i and multiplied by
h_i to the power of the order, h_i = m_i^(1 / dimension). They have no units, know no origin and no numbering,
and are sparse matrices that follow from the mesh: what is learnt is how channels mix.

Coarse spaces are multilinear elements on 2^k cells along each axis of the bounding box. They are nested in
each other, so prolongation is the canonical embedding. They are not nested in the space on the mesh: a coarse
function is interpolated at the nodes. Restriction is the transpose with the masses, divided by its row sums.
Points of a coarse grid whose functions vanish on the mesh carry nothing. A gap in the domain narrower than a
coarse cell does not separate what lies on its two sides.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from kernels.operators.base import MeshBatch
from kernels.operators.spon_spaces import check_cells

KEPT_BYTES = 512 * 2**20
"""How much of what is made from meshes is kept; the longest unused goes first."""


@dataclass(frozen=True)
class Pattern:
    """Edges of the mesh graph with a loop at each node, sorted by end: they depend on the topology alone.

    start (edges,) int64; pointer (nodes + 1,): edges from pointer[i] to pointer[i + 1] end in node i; back
    (edges,): the same edge in the other direction; slot (cells, corners, corners): edge of (end, start) in
    every cell; boundary (nodes,) bool.
    """

    start: Tensor
    pointer: Tensor
    back: Tensor
    slot: Tensor
    boundary: Tensor


@dataclass(frozen=True)
class Geometry:
    """A mesh, or several joined: see Pattern; forms (kinds, edges); coarse (nodes, corners) int64 and weight
    (nodes, corners): where a node lies on the finest coarse grid, numbered through all samples; coarse_mass
    (samples, points); mass (nodes,): m_i in fractions of the whole; position (nodes, dimension): in [-1, 1]
    across the bounding box; extent (samples, dimension): log of the box."""

    start: Tensor
    pointer: Tensor
    back: Tensor
    boundary: Tensor
    forms: Tensor
    coarse: Tensor
    weight: Tensor
    coarse_mass: Tensor
    mass: Tensor
    position: Tensor
    extent: Tensor


class Kept:
    """Least recently used store bounded by bytes: `get` what was `put` by name, or None."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self.most, self.bytes = most, 0
        self._store: OrderedDict[object, tuple[int, Pattern | Geometry]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._store)

    def get(self, name: object) -> Pattern | Geometry | None:
        """What was kept under the name, None where nothing is."""
        if name not in self._store:
            return None
        self._store.move_to_end(name)
        return self._store[name][1]

    def put(self, name: object, value: Pattern | Geometry) -> None:
        """Keep a value, and drop those unused for longest until all fit; one too large alone is not kept."""
        tensors = (getattr(value, f.name) for f in fields(value))
        size = sum(t.numel() * t.element_size() for t in tensors)
        if name in self._store:
            self.bytes -= self._store.pop(name)[0]
        if size > self.most:
            return
        self._store[name] = (size, value)
        self.bytes += size
        while self.bytes > self.most:
            self.bytes -= self._store.popitem(last=False)[1][0]


def pattern(connectivity: np.ndarray, nodes: int) -> Pattern:
    """Edges of the graph of a mesh, (cells, corners) -> Pattern."""
    corners = connectivity.shape[1]
    end = np.repeat(connectivity, corners, axis=1).ravel()
    start = np.tile(connectivity, (1, corners)).ravel()
    key, slot = np.unique(end * nodes + start, return_inverse=True)
    ends, starts = np.divmod(key, nodes)
    pointer = np.concatenate(([0], np.cumsum(np.bincount(ends, minlength=nodes))))
    back = np.searchsorted(key, starts * nodes + ends)
    return Pattern(
        torch.from_numpy(starts), torch.from_numpy(pointer), torch.from_numpy(back),
        torch.from_numpy(slot.reshape(len(connectivity), corners, corners)),
        torch.from_numpy(_boundary(connectivity, nodes)),
    )  # fmt: skip


def _boundary(connectivity: np.ndarray, nodes: int) -> np.ndarray:
    """Nodes of facets that belong to one cell only."""
    corners = connectivity.shape[1]
    facets = np.concatenate([np.delete(connectivity, k, axis=1) for k in range(corners)])
    _, first, count = np.unique(np.sort(facets, axis=1), axis=0, return_index=True, return_counts=True)
    found = np.zeros(nodes, dtype=bool)
    found[facets[first[count == 1]].ravel()] = True
    return found


def forms(
    x: Tensor, connectivity: Tensor, slot: Tensor, edges: int, pointer: Tensor
) -> tuple[Tensor, Tensor]:
    """Bilinear forms (kinds, edges) and masses m_i (nodes,) of linear elements, float64.

    kinds = 1 + dimension + dimension (dimension + 1) / 2, in the order mass, first, second derivatives.
    """
    dimension = x.shape[1]
    jacobian = x[connectivity[:, 1:]] - x[connectivity[:, :1]]
    inner = torch.linalg.inv(jacobian)
    gradient = torch.cat([-inner.sum(dim=2, keepdim=True), inner], dim=2)  # (cells, axis, corner)
    volume = torch.linalg.det(jacobian).abs() / float(np.prod(np.arange(1, dimension + 1)))
    corners, nodes = dimension + 1, len(x)
    share = volume / corners
    mass = torch.zeros(nodes, dtype=x.dtype).index_add_(
        0, connectivity.ravel(), share[:, None].expand(-1, corners).reshape(-1)
    )
    ones = torch.ones(corners, corners, dtype=x.dtype)
    local = [(ones + torch.eye(corners, dtype=x.dtype)) * (share / (corners + 1))[:, None, None]]
    local += [(share[:, None] * gradient[:, k])[:, None, :].expand(-1, corners, -1) for k in range(dimension)]
    for k in range(dimension):
        for m in range(k, dimension):
            product = gradient[:, k, :, None] * gradient[:, m, None, :]
            local.append(volume[:, None, None] * 0.5 * (product + product.transpose(1, 2)))
    size = mass ** (1.0 / dimension)
    order = [0] + [1] * dimension + [2] * (len(local) - 1 - dimension)
    end = torch.repeat_interleave(torch.arange(nodes), pointer.diff())
    found = torch.zeros(len(local), edges, dtype=x.dtype)
    for kind, values in enumerate(local):
        found[kind].scatter_add_(0, slot.reshape(-1), values.reshape(-1))
        found[kind] *= (size ** order[kind] / mass)[end]
    return found, mass


def coarse(position: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Points of a grid of `cells` along each axis around positions in [-1, 1], and multilinear weights there.

    position (nodes, dimension) -> numbers (nodes, 2^dimension) int64 in row-major order, weights alike.
    """
    scaled = (0.5 * (position + 1.0) * cells).clamp(0.0, float(cells))
    low = scaled.floor().clamp(max=cells - 1)
    part = scaled - low
    numbers = torch.zeros(len(position), 1, dtype=torch.int64)
    weights = torch.ones(len(position), 1, dtype=position.dtype)
    for axis in range(position.shape[1]):
        at = low[:, axis : axis + 1].to(torch.int64)
        numbers = torch.cat([numbers * (cells + 1) + at, numbers * (cells + 1) + at + 1], dim=1)
        right = part[:, axis : axis + 1]
        weights = torch.cat([weights * (1.0 - right), weights * right], dim=1)
    return numbers, weights


class Geometries:
    """Geometry of batches of meshes; what is made of a mesh or a topology is kept by digest."""

    def __init__(self, cells: int, most: int = KEPT_BYTES) -> None:
        self.cells, self.kept = cells, Kept(most)

    def __call__(self, mesh: MeshBatch) -> Geometry:
        """Geometry of all samples of the batch, joined as its nodes are.

        Raises InputError where cells are degenerate or not simplices, or nodes belong to no cell.
        """
        samples = len(mesh.digests)
        nodes = torch.bincount(mesh.sample, minlength=samples)
        cells = torch.bincount(mesh.sample[mesh.connectivity[:, 0]], minlength=samples)
        bounds = [[0, *torch.cumsum(count, 0).tolist()] for count in (nodes, cells)]
        pieces = []
        for i, digest in enumerate(mesh.digests):
            piece = self.kept.get(digest)
            if not isinstance(piece, Geometry):
                (a, b), (c, d) = bounds[0][i : i + 2], bounds[1][i : i + 2]
                piece = self._one(mesh.x[a:b], mesh.connectivity[c:d] - a)
                self.kept.put(digest, piece)
            pieces.append(piece)
        return joined(pieces, (self.cells + 1) ** mesh.x.shape[1])

    def _one(self, x: Tensor, connectivity: Tensor) -> Geometry:
        check_cells(x.numpy(), connectivity.numpy())
        name = len(x), hashlib.blake2b(connectivity.numpy().tobytes(), digest_size=16).digest()
        graph = self.kept.get(name)
        if not isinstance(graph, Pattern):
            graph = pattern(connectivity.numpy(), len(x))
            self.kept.put(name, graph)
        found, mass = forms(x, connectivity, graph.slot, len(graph.start), graph.pointer)
        low, high = x.amin(dim=0), x.amax(dim=0)
        position = 2.0 * (x - low) / (high - low) - 1.0
        numbers, weights = coarse(position, self.cells)
        mass = mass / mass.sum()
        points = torch.zeros((self.cells + 1) ** x.shape[1], dtype=x.dtype)
        points.index_add_(0, numbers.ravel(), (weights * mass[:, None]).ravel())
        small = torch.float32
        return Geometry(
            graph.start, graph.pointer, graph.back, graph.boundary, found.to(small), numbers,
            weights.to(small), points[None].to(small), mass.to(small), position.to(small),
            (high - low).log()[None].to(small),
        )  # fmt: skip


def moved(geometry: Geometry, device: torch.device) -> Geometry:
    """The same on another device."""
    if geometry.start.device == device:
        return geometry
    return Geometry(*(getattr(geometry, f.name).to(device) for f in fields(geometry)))


def joined(pieces: list[Geometry], points: int) -> Geometry:
    """Several geometries as one: block-diagonal forms, coarse points numbered through all samples."""
    nodes = torch.tensor([0, *[len(p.mass) for p in pieces]]).cumsum(0).tolist()
    edges = torch.tensor([0, *[len(p.start) for p in pieces]]).cumsum(0).tolist()
    pointer = [p.pointer[:-1] + e for p, e in zip(pieces, edges, strict=False)]
    return Geometry(
        torch.cat([p.start + n for p, n in zip(pieces, nodes, strict=False)]),
        torch.cat([*pointer, torch.tensor(edges[-1:])]),
        torch.cat([p.back + e for p, e in zip(pieces, edges, strict=False)]),
        torch.cat([p.boundary for p in pieces]),
        torch.cat([p.forms for p in pieces], dim=1),
        torch.cat([p.coarse + i * points for i, p in enumerate(pieces)]),
        *(torch.cat([getattr(p, name) for p in pieces]) for name in
          ("weight", "coarse_mass", "mass", "position", "extent")),
    )  # fmt: skip

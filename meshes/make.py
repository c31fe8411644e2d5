"""Generate the mesh files of this folder: ``python meshes/make.py``.

They are examples for ``env.mesh.file``; the built-in shapes are meshed on the fly.
"""

from pathlib import Path

from hypemarl.config import MeshConfig
from hypemarl.meshing import write

SHIPPED = {
    "interval": MeshConfig(shape="interval", element_size=0.05),
    "square": MeshConfig(shape="square", element_size=0.2),
    "square-with-disc": MeshConfig(shape="square-with-disc", element_size=0.2),
}

if __name__ == "__main__":
    for name, config in SHIPPED.items():
        print(write(config, Path(__file__).parent / f"{name}.msh"))

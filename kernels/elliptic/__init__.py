"""Second-order elliptic problems: finite volumes on the unit square, finite elements on moving meshes."""

"""Triangle and tetrahedron meshes: topology, location, transfer, morphing."""

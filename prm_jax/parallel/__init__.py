"""The machine: the mesh, the logical axis rules and the shardings; the only room that knows devices."""

"""The modules of `pipelines` import each other in one direction, inside functions too."""

import graphlib

import grimp


def test_imports_form_a_tree():
    graph = grimp.build_graph("pipelines")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert "pipelines.flows" in imports["pipelines.embedded_prefect"]
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which shows the ring

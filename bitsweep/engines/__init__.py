"""The engines: each carries models through one TVM. Only modules in here import TVM.

An engine is a package here with one module per task, each with a function `run(inputs, outputs,
settings)` that takes paths by name and plain settings and returns nothing or raises `Refused`.
Tasks run in a process of their own (`worker`), whose `tvm` is the engine's.
"""

ENGINES = ("relay", "relax")

TRACED_FORM = {"relay": "torchscript", "relax": "exported"}
"""In which form an engine's importer reads the traced network."""

"""The engines: each carries models through one tool. Only modules in here import TVM or another.

An engine is a package here: a module `engine`, which declares it (`declared.Engine`), and one per
task, each with a function `run(inputs, outputs, settings)` that takes paths by name and plain
settings and returns nothing or raises `Refused`. Tasks run in a process of their own (`worker`),
whose tool is the engine's; where the package has a module `process`, that is imported first.
"""

"""OpenVINO as an engine."""

from functools import partial

from bitsweep import tool_error
from bitsweep.engines.declared import Engine
from bitsweep.engines.openvino.settings import OpenVino

ENGINE = Engine(
    traced="torchscript",
    requirements={"packages": "requirements/openvino.txt"},
    precision=OpenVino,
    place=partial(tool_error.parse, packages=("openvino", "nncf")),
)

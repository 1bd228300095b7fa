"""Annotate: decide which operators run in integers, and mark the tensors between them.

A convolution that is not skipped runs in integers. Additions and products of two tensors, average
pools and attention do where what they read does; what only moves data, and functions of one tensor,
where also what reads them does. `bitsweep.fake_quantize` after a tensor says that it will be uint8,
with how many bits; a convolution's `weight_bits` says that it runs in integers.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import tvm
from tvm import relax

from bitsweep.relax import elementwise, graph, op
from bitsweep.relax.config import QConfig
from bitsweep.relax.errors import NotQuantizable

MOVES = (
    "relax.nn.max_pool2d",
    "relax.reshape",
    "relax.permute_dims",
    "relax.split",
    "relax.strided_slice",
    "relax.expand_dims",
    "relax.squeeze",
    "relax.flatten",
)
"""What uint8 goes through as it is."""

_BATCH_NORM_BITS = 8


def annotate(mod: tvm.IRModule, config: QConfig) -> tvm.IRModule:
    """Mark a canonical module.

    Batch norms that no convolution precedes keep 8 bits for their weights, one a channel, unless
    `config.layer_bits` names them. Raises `NotQuantizable` for a layer that the configuration names
    and the module does not have, and where two named layers read one tensor by different bits.
    """
    return tvm.ir.IRModule({"main": _annotator(mod, config).run()}, attrs=mod.attrs)


def input_groups(mod: tvm.IRModule, config: QConfig = QConfig()) -> list[tuple[str, ...]]:  # noqa: B008
    """Return the layers that `config` quantizes, those together that read one tensor.

    Moved or concatenated, a tensor keeps its width, so that layers of a group must be given the
    same bits of their input. Groups and their names are in the order of the canonical module.
    """
    return [tuple(readers) for _, readers in _annotator(mod, config).shared_inputs()]


def _annotator(mod: tvm.IRModule, config: QConfig) -> "_Annotator":
    function = graph.main_of(mod)
    former = dict(mod.attrs["former_names"]) if "former_names" in (mod.attrs or {}) else {}
    return _Annotator(function, config, layer_bits(function, config, former))


def layer_bits(
    function: relax.Function, config: QConfig, former: Mapping[str, str]
) -> dict[str, tuple[int, int]]:
    """Bits of weights and inputs of each layer to quantize, by name, in the order of the graph.

    `former` has the names of layers by those that they had before PyTorch's.
    """
    layers = [
        binding.value
        for binding in graph.bindings(function)
        if op.is_call(binding.value, "bitsweep.conv2d")
    ]
    names = [layer.attrs["name"] for layer in layers]
    if not names:
        raise NotQuantizable("the module has nothing to quantize: no convolution, no dense layer")
    _require_layers("skip_layers", config.skip_layers, names, former)
    _require_layers("layer_bits", config.layer_bits, names, former)
    bits = {name: (config.weight_bits, config.activation_bits) for name in names}
    for name, own in ((names[0], config.first_layer_bits), (names[-1], config.last_layer_bits)):
        if own is not None:
            bits[name] = (own, own)
    for layer in layers:
        if _is_batch_norm(layer):
            name = layer.attrs["name"]
            bits[name] = (_BATCH_NORM_BITS, bits[name][1])
    bits.update(config.layer_bits)
    for name in config.skip_layers:
        bits.pop(name, None)
    if not bits:
        raise NotQuantizable("the module has nothing to quantize: every layer is skipped")
    return bits


def _require_layers(
    key: str, wanted: Iterable[str], names: list[str], former: Mapping[str, str]
) -> None:
    """`NotQuantizable` for what the setting `key` wants and is not among the names of layers."""
    for name in wanted:
        if name in names:
            continue
        if name in former:
            raise NotQuantizable(
                f"{key}: layers are called as in PyTorch: {name!r} is {former[name]!r}"
            )
        near = difflib.get_close_matches(name, names, 3) or names[:3]
        raise NotQuantizable(f"{key}: no layer is called {name!r}; near it: {', '.join(near)}")


def _is_batch_norm(layer: relax.Expr) -> bool:
    """Whether a layer is a batch norm of its own: a factor a channel."""
    outputs, *window, inputs = op.shape_of(layer.args[1])
    return window == [1, 1] and inputs == 1 and layer.attrs["groups"] == outputs


@dataclass(frozen=True)
class _Role:
    """What an operator is to the quantizer, and the tensors it reads."""

    kind: str  # conv, float, arithmetic, move, concat, function
    reads: tuple[relax.Var, ...]


class _Annotator:
    def __init__(
        self, function: relax.Function, config: QConfig, bits: Mapping[str, tuple[int, int]]
    ):
        self.function = function
        self.config = config
        self.bits = bits
        self.bindings = list(graph.bindings(function))
        self.roles: dict[relax.Var, _Role] = {}
        self.bases: dict[relax.Var, relax.Var] = {}
        for binding in self.bindings:
            self.roles[binding.var] = self.role(binding)
        self.capable = self.forward()
        self.required = self.backward()
        self.give()

    def base(self, var: relax.Var) -> relax.Var:
        """The tensor that `var` is a function of, element by element; itself without one."""
        return self.bases.get(var, var)

    def role(self, binding: relax.VarBinding) -> _Role:
        value = binding.value
        reads = tuple(graph.variables(value))
        if isinstance(value, relax.TupleGetItem | relax.Var):
            return _Role("move", reads)
        if not isinstance(value, tvm.ir.Call) or not isinstance(value.op, tvm.ir.Op):
            return _Role("float", reads)
        name = value.op.name
        if name == "bitsweep.conv2d":
            return _Role("conv" if value.attrs["name"] in self.bits else "float", reads)
        if name in elementwise.UNARY or name in elementwise.BINARY:
            bases = {self.base(var) for var in reads}
            scalars = all(isinstance(a, relax.Var) or _is_scalar(a) for a in value.args)
            same = all(op.shape_of(var) == op.shape_of(binding.var) for var in reads)
            if len(bases) == 1 and scalars and same:
                self.bases[binding.var] = bases.pop()
                return _Role("function", reads)
            if name in ("relax.add", "relax.multiply") and len(reads) == 2 and _aligned(value):
                return _Role("arithmetic", reads)
        if name == "relax.nn.avg_pool2d" and _is_plain_pool(value):
            return _Role("arithmetic", reads)
        if name == "bitsweep.attention":
            return _Role("arithmetic", reads)
        if name == "relax.concat":
            return _Role("concat", reads)
        if name in MOVES:
            return _Role("move", reads)
        return _Role("float", reads)

    def forward(self) -> set[relax.Var]:
        """Tensors that integers can make."""
        capable = set()
        for binding in self.bindings:
            role = self.roles[binding.var]
            if role.kind == "conv":
                made = len(role.reads) == 1 or role.reads[1] in capable
            else:
                made = role.kind != "float" and all(var in capable for var in role.reads)
            if made and role.reads:
                capable.add(binding.var)
        return capable

    def backward(self) -> dict[relax.Var, int]:
        """Bits that operators in integers ask of the tensors they read."""
        required: dict[relax.Var, int] = {}

        def ask(var, bits):
            required[var] = max(bits, required.get(var, 0))

        for binding in reversed(self.bindings):
            role, var = self.roles[binding.var], binding.var
            if role.kind == "conv":
                ask(role.reads[0], self.bits[binding.value.attrs["name"]][1])
                if var in self.capable:
                    for residual in role.reads[1:]:
                        ask(residual, self.config.activation_bits)
            elif var in self.capable and (role.kind == "arithmetic" or var in required):
                bits = required[var] if role.kind == "move" else self.config.activation_bits
                if op.is_call(binding.value, "relax.nn.avg_pool2d"):
                    # Bytes in any case, of which the average keeps what more bits have.
                    bits = max(bits, required.get(var, 0))
                for read in role.reads:
                    ask(read, bits)
        return required

    def give(self) -> None:
        """Give tensors the widths that the configuration has for layers that read them."""
        for tensors, readers in self.shared_inputs():
            given = {name: bits for name, bits in readers.items() if name in self.config.layer_bits}
            if not given:
                continue
            first, *others = given
            for other in others:
                if given[other] != given[first]:
                    raise NotQuantizable(
                        f"layer_bits: {first!r} and {other!r} read one tensor, which cannot have "
                        f"both {given[first]} and {given[other]} bits"
                    )
            self.required.update(dict.fromkeys(tensors, given[first]))

    def shared_inputs(self) -> list[tuple[list[relax.Var], dict[str, int]]]:
        """What layers read, tensors of one width together, with their readers' input bits.

        A tensor keeps its width where it is moved as uint8, and what is concatenated has one.
        """
        groups: dict[relax.Var, tuple[list[relax.Var], dict[str, int]]] = {}

        def group_of(var):
            return groups.setdefault(var, ([var], {}))

        for binding in self.bindings:
            role, var = self.roles[binding.var], binding.var
            if role.kind in ("move", "concat") and self.in_integers(var):
                for read in role.reads:
                    self._join(groups, group_of(var), group_of(read))
        for binding in self.bindings:
            role = self.roles[binding.var]
            if role.kind == "conv":
                name = binding.value.attrs["name"]
                group_of(role.reads[0])[1][name] = self.bits[name][1]
        return [g for g in {id(g): g for g in groups.values()}.values() if g[1]]

    @staticmethod
    def _join(groups, group, other) -> None:
        if group is not other:
            group[0].extend(other[0])
            groups.update(dict.fromkeys(other[0], group))

    def in_integers(self, var: relax.Var) -> bool:
        kind = self.roles[var].kind
        return kind == "conv" or (
            var in self.capable and (kind == "arithmetic" or var in self.required)
        )

    def is_marked(self, var: relax.Var) -> bool:
        """Whether a tensor that integers read gets a scale of its own."""
        if var not in self.required:
            return False
        role = self.roles.get(var)
        if role is None or not self.in_integers(var):
            return True
        if role.kind == "move":
            return False
        return role.kind != "function" or self.read_as_integers(var)

    def read_as_integers(self, var: relax.Var) -> bool:
        """Whether anything but a further function of the same tensor reads it in integers."""
        return any(
            var in role.reads and self.in_integers(reader) and role.kind != "function"
            for reader, role in self.roles.items()
        )

    def run(self) -> relax.Function:
        builder = relax.BlockBuilder()
        (image,) = self.function.params
        exact: dict[relax.Var, relax.Expr] = {}
        marked: dict[relax.Var, relax.Expr] = {}

        def define(var, value):
            exact[var] = value
            if self.is_marked(var):
                attrs = {"name": var.name, "bits": self.required[var]}
                marked[var] = builder.emit(op.call("fake_quantize", [value], attrs))
                if var in self.capable:  # then nothing keeps the exact value
                    exact[var] = marked[var]

        with builder.function("main", [image]):
            with builder.dataflow():
                define(image, image)
                for binding in self.bindings:
                    versions = exact
                    if self.in_integers(binding.var):
                        versions = {**exact, **marked}
                    value = self.rewritten(binding, versions, exact, builder)
                    define(binding.var, builder.emit(value))
                result = builder.emit_output(graph.replace(self.function.body.body, exact))
            builder.emit_func_output(result)
        return builder.finalize()["main"]

    def rewritten(self, binding, versions, exact, builder) -> relax.Expr:
        value = graph.replace(binding.value, versions)
        if self.roles[binding.var].kind != "conv":
            return value
        attrs = op.attributes(value)
        attrs["weight_bits"] = self.bits[attrs["name"]][0]
        if binding.var in self.capable:
            return op.call("conv2d", value.args, attrs)
        # The residual is float: it cannot join the accumulator, and need not be rounded.
        low, high = attrs["clip_min"], attrs["clip_max"]
        attrs["clip_min"], attrs["clip_max"] = op.NO_CLIP
        alone = builder.emit(op.call("conv2d", value.args[:3], attrs))
        total = relax.op.add(alone, graph.replace(binding.value.args[3], exact))
        if (low, high) == op.NO_CLIP:
            return total
        return relax.op.clip(builder.emit(total), low, high)


def _is_scalar(expr) -> bool:
    constant = graph.array(expr)
    return constant is None or constant.size == 1


def _aligned(call) -> bool:
    a, b = (op.shape_of(arg) for arg in call.args)
    if a == b:
        return True
    if call.op.name != "relax.multiply" or len(a) != 4 or len(b) != 4:
        return False
    return any(x[0] == y[0] and x[3] == y[3] and y[1:3] == (1, 1) for x, y in ((a, b), (b, a)))


def _is_plain_pool(call) -> bool:
    attrs = call.attrs
    padded = any(int(pad) for pad in attrs.padding)
    return (
        attrs.layout == "NHWC"
        and not attrs.ceil_mode
        and all(int(step) == 1 for step in attrs.dilation)
        and (attrs.count_include_pad or not padded)
    )

"""Plans: bits for every layer of a network, what they should cost, and what they turned out to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bitsweep.search.allocation import Candidate, Choice, Layers, total

Bits = tuple[int, int]
Judge = Callable[[Mapping[str, Bits]], Mapping[str, float | None]]
"""What the really quantized network comes to, as `bitsweep.relax.trial.Trial.judge` tells it."""


@dataclass(frozen=True)
class Plan:
    """Bits (of weights, of input) by layer, with their figures.

    `bytes`, `predicted_error` (nats) and `latency_ms` are sums over layers; the latency has what
    is no layer too, and is None where no times are known. `mean_weight_bits` is over all weights.
    `uniform` are the weights' bits where all layers have the same. Of the network really quantized,
    on the selection images, are `error` (nats), `loss` (nats), `top1_accuracy`, `top1_agreement`,
    and of how many images it alone is right (`images_gained`), or the float network alone
    (`images_lost`). Without labels there are only error and agreement.
    """

    layer_bits: Mapping[str, Bits]
    bytes: int
    mean_weight_bits: float
    predicted_error: float
    uniform: int | None
    error: float
    loss: float | None
    top1_accuracy: float | None
    top1_agreement: float
    images_gained: int | None
    images_lost: int | None
    latency_ms: float | None = None

    @property
    def badness(self) -> float:
        """What the best plan has least of: the loss, without labels the error."""
        return self.error if self.loss is None else self.loss

    def record(self) -> dict[str, Any]:
        """Return it for JSON, as `Plan.read` reads it."""
        return asdict(self)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Plan":
        """Return the plan of such a record."""
        bits = {name: tuple(pair) for name, pair in record["layer_bits"].items()}
        return cls(**{**record, "layer_bits": bits})


@dataclass(frozen=True)
class Network:
    """A network to allocate bits in: its layers' candidates, in order, and their weights' numbers.

    Layers of a group read one tensor. `rest_ms` is the time of all that is no layer, None where no
    times are known.
    """

    layers: Layers
    weights: Mapping[str, int]
    groups: Sequence[Sequence[str]] = ()
    rest_ms: float | None = None

    @classmethod
    def of(
        cls,
        costs: Mapping[str, Any],
        times: Mapping[str, Any] | None = None,
        groups: Sequence[Sequence[str]] = (),
    ) -> "Network":
        """Return the network of what the stages `costs` and `time_layers` left."""
        layers, weights = {}, {}
        for layer in costs["layers"]:
            name = layer["layer"]
            weights[name] = layer["weights"]
            layers[name] = tuple(
                Candidate(
                    candidate["weight_bits"],
                    candidate["input_bits"],
                    candidate["error"],
                    candidate["bytes"],
                    times["layers"][name][str(candidate["weight_bits"])] if times else 0.0,
                )
                for candidate in layer["candidates"]
            )
        own = [[name for name in group if name in layers] for group in groups]
        shared = [group for group in own if len(group) > 1]
        return cls(layers, weights, shared, times["rest_ms"] if times else None)

    def choice(self, layer_bits: Mapping[str, Bits]) -> Choice:
        """Return the candidates of these bits."""
        return {
            name: next(c for c in candidates if c.bits == tuple(layer_bits[name]))
            for name, candidates in self.layers.items()
        }

    def uniform(self) -> list[Choice]:
        """Return the choices of one width for all layers that have it, from most bits to fewest."""
        first, *others = self.layers.values()
        shared = [c.bits for c in first if all(c.bits in {o.bits for o in own} for own in others)]
        return [self.choice(dict.fromkeys(self.layers, bits)) for bits in sorted(shared)[::-1]]

    def judged(self, choice: Choice, judge: Judge) -> Plan:
        """Return the plan of a choice, really quantized."""
        bits = {name: candidate.bits for name, candidate in choice.items()}
        weights = sum(
            self.weights[name] * candidate.weight_bits for name, candidate in choice.items()
        )
        return Plan(
            layer_bits=bits,
            bytes=total(choice, "bytes"),
            mean_weight_bits=weights / sum(self.weights.values()),
            predicted_error=total(choice, "error"),
            uniform=next(iter(bits.values()))[0] if len(set(bits.values())) == 1 else None,
            latency_ms=self.latency(choice),
            **judge(bits),
        )

    def latency(self, choice: Choice) -> float | None:
        """Return the milliseconds of a choice and of what is no layer."""
        return None if self.rest_ms is None else self.rest_ms + total(choice, "latency_ms")

    def timed(self, plan: Plan) -> Plan:
        """Return a plan with this network's times."""
        return replace(plan, latency_ms=self.latency(self.choice(plan.layer_bits)))

"""Reductions that need each other, each against a definition that its cascade did not come from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from accelsim import verbs
from accelsim.cascade import cascade_from_text, interpret
from accelsim.errors import AccelsimError

Array = npt.NDArray[np.float64]
Definition = Callable[..., dict[str, Array]]


def torched(array: Array) -> torch.Tensor:
    return torch.from_numpy(array.copy())


def log_sum_exp(x: Array) -> dict[str, Array]:
    return {"LSE": torch.logsumexp(torched(x), dim=1).numpy()}


def mean_variance(x: Array) -> dict[str, Array]:
    variance, mean = torch.var_mean(torched(x), dim=1, correction=0)
    return {"MU": mean.numpy(), "VAR": variance.numpy()}


def softmax_mean_variance(s: Array, x: Array) -> dict[str, Array]:
    """Var x = half the mean square of differences of two independent draws."""
    p = torch.softmax(torched(s), dim=1).numpy()
    pairs = (x[:, :, None] - x[:, None, :]) ** 2
    return {
        "MU": np.einsum("rn,rn->r", p, x),
        "VAR": 0.5 * np.einsum("rn,rm,rnm->r", p, p, pairs),
    }


def cross_entropy(z: Array, y: Array) -> dict[str, Array]:
    """torch takes Y that sums to anything, as the cascade does."""
    loss = torch.nn.functional.cross_entropy(torched(z), torched(y), reduction="none")
    return {"L": loss.numpy()}


def layer_norm(x: Array) -> dict[str, Array]:
    made = torch.nn.functional.layer_norm(torched(x), (x.shape[1],), eps=0.0)
    return {"Y": made.numpy()}


def mean_absolute_deviation(x: Array) -> dict[str, Array]:
    return {"MAD": np.array([sum(abs(v - sum(r) / len(r)) for v in r) / len(r) for r in x])}


DEFINITIONS: dict[str, Definition] = {
    "log_sum_exp": log_sum_exp,
    "mean_variance": mean_variance,
    "softmax_mean_variance": softmax_mean_variance,
    "cross_entropy": cross_entropy,
    "layer_norm": layer_norm,
    "mean_absolute_deviation": mean_absolute_deviation,
}


@pytest.mark.parametrize("kind", ["normal", "large", "offset"])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_is_its_definition(name: str, kind: str) -> None:
    rng = np.random.default_rng(1983)
    built = verbs.load_cascade(name)
    for _ in range(20):
        shape = (int(rng.integers(1, 5)), int(rng.integers(2, 40)))
        inputs = {tensor: rng.normal(size=shape) for tensor in built.inputs}
        if kind == "large":
            inputs = {tensor: array * 300 for tensor, array in inputs.items()}
        elif kind == "offset":
            inputs = {tensor: array + 1e4 for tensor, array in inputs.items()}
        expected = DEFINITIONS[name](*inputs.values())
        actual = interpret(built, inputs)
        assert set(actual) == set(expected)
        for output, array in expected.items():
            least = max(1.0, float(np.abs(array).max()))
            assert np.abs(actual[output] - array).max() <= 1e-9 * least, (output, shape)


def test_probabilities_need_not_sum_to_one() -> None:
    """Y = 2 at one word: twice its loss."""
    built = verbs.load_cascade("cross_entropy")
    z = np.array([[1.0, 2.0, 3.0]])
    y = np.array([[0.0, 2.0, 0.0]])
    expected = 2 * (np.log(np.exp(z).sum()) - 2.0)
    assert interpret(built, {"Z": z, "Y": y})["L"] == pytest.approx([expected], rel=1e-14)


def test_a_shape_that_only_a_formula_names_is_asked_for() -> None:
    built = cascade_from_text(
        "cascade: c\nsource: a test\nranks: {R: rows, N: samples}\n"
        "tensors: {X: [R], Y: [R]}\noutputs: [Y]\neinsums: |\n  Y[r] = X[r] / N\n"
    )
    with pytest.raises(AccelsimError, match="no input tells the shape of N"):
        interpret(built, {"X": [4.0]})
    assert interpret(built, {"X": [4.0]}, {"N": 2})["Y"] == [2.0]

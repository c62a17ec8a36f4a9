# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whether a model with an adapter gives what a reference gives: what is behind `adapter-opt verify` and
`ao.verify`.

What the reference is decides what is proven. A PEFT model in memory, or samples that one made, share nothing
with this project. A graph that adapter-opt merged, run by ONNX Runtime, shares the decision where the adapter
goes.
"""

import dataclasses
import os

import numpy as np

from adapter_opt.call_arguments import widened
from adapter_opt.runtime import Model, load

EFFECT, MAGNITUDE = 1e-3, 3e-6  # bound: so much of what the adapter changes, and of the output
WITHOUT_BASE, NARROW = 1e-5, 2e-2  # of the output, where the base is not known, and of 16 bits


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One output beside its reference. Sizes are largest magnitudes over finite entries.

    difference: of the output from the reference, as a share of the reference.
    effect_error: the same as a share of what the adapter changes; None where the base is not known or equal.
    problem: why the output is not what the reference is, in words; None where it is.
    """

    name: str
    difference: float | None = None
    effect_error: float | None = None
    problem: str | None = None

    def __str__(self):
        if self.difference is None:
            return f"{self.name}: {self.problem}"
        text = f"{self.name}: differs by {self.difference:.2e} of the largest magnitude"
        if self.effect_error is not None:
            text += f", effect error {self.effect_error:.2e}"
        return text if self.problem is None else f"{text}: {self.problem}"


def compare(name, y, reference, base=None, narrow=False):
    """Compares an output with its reference. base is the output without the adapter; narrow says that the
    model computed the output in 16 bits."""
    y, reference = np.asarray(y), np.asarray(reference)
    if y.shape != reference.shape:
        return Comparison(name, problem=f"has shape {list(y.shape)}, the reference {list(reference.shape)}")
    if y.dtype != reference.dtype:
        return Comparison(name, problem=f"is {y.dtype}, the reference {reference.dtype}")
    if base is not None and np.shape(base) != y.shape:
        return Comparison(
            name, problem=f"has shape {list(y.shape)}, without the adapter {list(np.shape(base))}"
        )
    if y.dtype.kind != "f":
        wrong = int((y != reference).sum())
        return Comparison(
            name, 0.0 if not wrong else 1.0, None, f"{wrong} of {y.size} entries differ" if wrong else None
        )
    finite = np.isfinite(reference)
    if not np.array_equal(np.where(finite, 0, reference), np.where(np.isfinite(y), 0, y), equal_nan=True):
        return Comparison(name, problem="infinities or NaNs stand in other places than in the reference")
    return _compare_finite(name, y, reference, base, finite, narrow or y.dtype.itemsize == 2)


def _compare_finite(name, y, reference, base, finite, narrow):
    wide = reference.astype(np.float64)
    error = _largest(y[finite].astype(np.float64) - wide[finite])
    magnitude = _largest(wide[finite])
    bound, effect = (NARROW if narrow else WITHOUT_BASE) * magnitude, None
    if base is not None:
        both = finite & np.isfinite(base)
        effect = _largest(wide[both] - np.asarray(base)[both].astype(np.float64))
        if not narrow:
            bound = EFFECT * effect + MAGNITUDE * magnitude
    problem = None if error <= bound else f"off by {error:.2e}, and {bound:.2e} is allowed"
    return Comparison(
        name, error / magnitude if magnitude else error, error / effect if effect else None, problem
    )


def _largest(values):
    return float(np.abs(values).max()) if values.size else 0.0


def compare_all(outputs, references, bases, narrow=()):
    """Comparisons of outputs by name with references by name; a ValueError where nothing is proven."""
    unknown = sorted(set(references) - set(outputs))
    if unknown:
        raise ValueError(f"there is no output '{unknown[0]}'; the outputs are: {', '.join(outputs)}")
    if not references:
        raise ValueError(f"there is no output to compare with; the outputs are: {', '.join(outputs)}")
    results = [
        compare(name, outputs[name], references[name], bases.get(name), name in narrow) for name in references
    ]
    known = [name for name in references if name in bases]
    if known and not any(_differs(references[name], bases[name]) for name in known):
        raise ValueError(
            "the reference with the adapter equals the one without it, on these inputs: nothing is proven"
        )
    return results


def _differs(reference, base):
    return not np.array_equal(reference, base, equal_nan=np.asarray(reference).dtype.kind == "f")


#
# What runs a model
#


class OnnxModel:
    """A graph in ONNX Runtime."""

    def __init__(self, path):
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(
                f"{path}: running it needs ONNX Runtime: pip install onnxruntime ({error})"
            ) from None
        if not os.path.exists(path):
            raise ValueError(f"{path}: does not exist")
        self.path = path
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is said once, below
        try:
            self._session = onnxruntime.InferenceSession(
                os.fspath(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise self._fault(error) from None
        # By name: element type as NumPy says it, dims as numbers or names.
        types = {each.name: each.type[len("tensor(") : -1] for each in self._session.get_inputs()}
        types = {
            name: {"float": "float32", "double": "float64"}.get(text, text) for name, text in types.items()
        }
        self.inputs = [(each.name, types[each.name], each.shape) for each in self._session.get_inputs()]
        self.narrow = {each.name for each in self._session.get_outputs() if each.type.endswith("float16)")}

    def __call__(self, feed):
        try:
            values = self._session.run(None, dict(feed))
        except Exception as error:
            raise self._fault(error) from None
        return dict(zip([each.name for each in self._session.get_outputs()], values, strict=True))

    def _fault(self, error):
        return ValueError(f"{self.path}: ONNX Runtime cannot run it: {str(error).splitlines()[0]}")


class Artifact:
    """A compiled model with what acts in it: `adapters`, as a call of the model takes them, or the name of an
    adapter to switch in."""

    def __init__(self, model, adapters=None):
        self._model = model if isinstance(model, Model) else load(model)
        info = self._model.info()
        entry, *others = info["entries"]
        if others:
            raise ValueError(
                f"the artifact has the graphs {entry['name']}, {others[0]['name']}, ...; verify takes one"
            )
        self.inputs = [(each["name"], each["dtype"], each["dims"]) for each in entry["inputs"]]
        self.narrow = {each["name"] for each in entry["outputs"] if each["dtype"].endswith("float16")}
        self._bits = {each["name"] for each in entry["outputs"] if each["dtype"] == "bfloat16"}
        self._before = info["state"]["switched"]
        switched = (
            isinstance(adapters, str) and self._model.adapters.get(adapters, {}).get("time") == "switch"
        )
        self._switched, self._adapters = (adapters, None) if switched else (self._before, adapters)

    def __call__(self, feed):
        self._model.switch(self._switched) if self._switched != self._before else None
        try:
            outputs = self._model(feed, adapters=self._adapters)
        finally:
            self._model.switch(self._before) if self._switched != self._before else None
        self._model.finish_check()
        return {name: widened(y) if name in self._bits else y for name, y in outputs.items()}


def open_model(path, adapters=None):
    """What runs a file or an open model: a graph in ONNX Runtime, or an artifact."""
    if isinstance(path, Model) or os.path.isdir(path):
        return Artifact(path, adapters)
    if adapters is not None:
        raise ValueError(f"{path}: adapters are named for an artifact; in an .onnx file they are merged")
    return OnnxModel(path)


def check(comparisons):
    """The comparisons, or a ValueError with what is wrong in all of them."""
    wrong = [str(each) for each in comparisons if each.problem is not None]
    if wrong:
        raise ValueError("not verified: " + "; ".join(wrong))
    return comparisons


def verify(peft_model, model, inputs, adapters=None):
    """Proves a compiled or merged model against a PEFT model in memory, which shares nothing with this
    project.

    peft_model: as PEFT makes it, in evaluation mode, called with the inputs by name; what acts in it is the
        reference, and without its adapters it is the base. A plain function of the inputs will do, without a
        base.
    model: an artifact or an .onnx file, or an open Model.
    inputs: arrays or tensors by name, for both.
    adapters: what acts in the artifact, as a call of the model takes it, or an adapter to switch in.

    Returns a list of Comparison, one for each output; a ValueError says which output differs and by how much.
    Outputs are found by name, else in their order.
    """
    import torch

    if getattr(peft_model, "training", False):
        raise ValueError(
            "the PEFT model is in training mode, and so not the same on each call: call eval() first"
        )
    tensors = {name: torch.as_tensor(value) for name, value in inputs.items()}
    runner = open_model(model, adapters)
    outputs = runner({name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()})
    with torch.no_grad():
        references = _by_name(peft_model(**tensors), outputs)
        bases = {}
        if hasattr(peft_model, "disable_adapter"):
            with peft_model.disable_adapter():
                bases = _by_name(peft_model(**tensors), outputs)
    return check(compare_all(outputs, references, bases, runner.narrow))


def _by_name(result, outputs):
    """What a PyTorch model returned, by the names of the graph's outputs."""
    if hasattr(result, "items"):
        named = {name: value for name, value in result.items() if name in outputs}
        values = list(result.values())
    else:
        named, values = {}, list(result) if isinstance(result, (tuple, list)) else [result]
    if not named:
        named = dict(zip(outputs, values, strict=False))
    # bfloat16, which NumPy lacks, is exact in float32.
    return {
        name: (value.float() if str(value.dtype) == "torch.bfloat16" else value).cpu().numpy()
        for name, value in named.items()
        if hasattr(value, "cpu")
    }

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""OpenVINO as an engine of text.py (text_peers.py), on the graph of ao.export.

Its plugin keeps caches in place and runs attention as one operator where a graph is in the form that
optimum-intel writes: states with a choice of beams, ScaledDotProductAttention. The exported graph has caches
as inputs and outputs, and attention as products and a Softmax; here it is put into that form, so that the
peer is as fast as it can be."""

import text_peers


def up(value, *kinds):
    """The value that is the first operand at the end of a chain of operators of these kinds, upwards."""
    for kind in kinds:
        node = value.get_node()
        if node.get_type_name() != kind:
            raise ValueError(
                f"attention is not in the form that is known: {node.get_type_name()}, not {kind}"
            )
        value = node.input_value(0)
    return value


def factor(value):
    """The constant that a product of values has as its second operand."""
    return float(value.get_node().input_value(1).get_node().get_data())


def with_attention(model):
    """Replaces softmax((q s) (k s)^T + mask) v, in which nothing is masked wholly."""
    import numpy as np
    from openvino import opset13

    for node in list(model.get_ordered_ops()):
        if node.get_type_name() != "Select":
            continue
        if node.input_value(0).get_node().get_type_name() == "IsNaN":
            node.output(0).replace(node.input_value(2))
    found = 0
    for node in list(model.get_ordered_ops()):
        if node.get_type_name() != "Softmax":
            continue
        users = [each.get_node() for each in node.output(0).get_target_inputs()]
        (product,) = [each for each in users if each.get_type_name() == "MatMul"]
        scores, mask = (
            up(node.input_value(0), "Add").get_node(),
            node.input_value(0).get_node().input_value(1),
        )
        queries, keys = scores.input_value(0), scores.input_value(1)
        scale = opset13.constant(np.float32(factor(queries) * factor(keys)))
        keys = up(keys, "Multiply", "Reshape", "Transpose", "Reshape")
        attention = opset13.scaled_dot_product_attention(
            up(queries, "Multiply"), keys, product.input_value(1), mask, scale, causal=False
        )
        product.output(0).replace(attention.output(0))
        found += 1
    return found


def with_states(model):
    """Inputs `past...` and outputs `present...` become states, empty at first."""
    import numpy as np
    from openvino import opset13
    from openvino._offline_transformations import apply_make_stateful_transformation

    names = [each.get_any_name() for each in model.inputs]
    pairs = {each: each.replace("past_key_values", "present") for each in names if "past" in each}
    apply_make_stateful_transformation(model, pairs)
    beams = opset13.parameter([-1], np.int32, name="beam_idx")
    beams.output(0).set_names({"beam_idx"})
    model.add_parameters([beams])
    shape = opset13.shape_of(model.input("input_ids"), output_type="i64")
    batch = opset13.gather(shape, opset13.constant([0]), opset13.constant(0))
    for node in list(model.get_ops()):
        if node.get_type_name() != "ReadValue":
            continue
        sizes = [each.min_length for each in list(node.get_output_partial_shape(0))[1:]]
        sizes = [opset13.constant(np.array([size], np.int64)) for size in sizes]
        empty = opset13.broadcast(opset13.constant(np.float32(0)), opset13.concat([batch, *sizes], axis=0))
        node.set_arguments([empty])
        users = node.output(0).get_target_inputs()
        chosen = opset13.gather(node, beams, opset13.constant(np.int64(0)))
        for each in users:
            each.replace_source_output(chosen.output(0))
    model.validate_nodes_and_infer_types()


class OpenVINO:
    def __init__(self, graph, layers, width, threads):
        import openvino

        self.name = f"openvino {openvino.__version__.split('-')[0]}"
        core = openvino.Core()
        model = core.read_model(graph)
        if with_attention(model) != layers:
            raise ValueError("attention was not found in every layer")
        with_states(model)
        self._model = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": width,
                # Caches of f32 for all engines.
                "KV_CACHE_PRECISION": "f32",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        kinds = [each.get_rt_info()["layerType"].value for each in self._model.get_runtime_model().get_ops()]
        if kinds.count("ScaledDotProductAttention") != layers:
            raise ValueError("attention did not become one operator in every layer")

    def open(self, ids, length):
        return OpenVINORows(self._model.create_infer_request(), ids)


class OpenVINORows:
    def __init__(self, request, ids):
        self._request, self._ids = request, ids

    def _call(self, ids):
        import numpy as np

        count, tokens = ids.shape
        positions = np.arange(self._held, self._held + tokens)
        self._held += tokens
        made = self._request.infer(
            {
                "input_ids": ids,
                "attention_mask": np.ones((count, self._held), np.int64),
                "position_ids": np.broadcast_to(positions, (count, tokens)).copy(),
                "beam_idx": np.arange(count, dtype=np.int32),
            }
        )
        self.logits = made["logits"][:, -1]

    def prompt(self):
        self._request.reset_state()
        self._held = 0
        for ids in text_peers.parts(self._ids):
            self._call(ids)

    def step(self):
        self._call(self.logits.argmax(-1)[:, None])

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Claims (test_claims.py) on models of two halves, BART, T5 and CLIP: an adapter on one graph, on a graph for
each half, and on one half alone, against PEFT."""

import onnx
import product
import pytest
from claimed import Case, cases, every
from claimed_models import PLACES, SPLIT, side

HALVES = ("both", "first", "second")


@pytest.mark.parametrize("model, half", cases(every(SPLIT, HALVES), ("bart", "both"), ("t5", "second")))
def test_one_graph_of_both_halves(made, tmp_path, model, half):
    case = Case(made, model, tmp_path, **side(model, half))
    case.holds(made.graph(model))
    case.proved(made.graph(model))


NAMES = {
    "said": lambda half: f"{PLACES[half]}_model.onnx",
    "nothing": lambda half: f"m{list(PLACES).index(half)}.onnx",
}


@pytest.mark.parametrize(
    "model, half, names",
    cases(
        every(SPLIT, HALVES, NAMES),
        ("bart", "both", "said"),
        ("t5", "first", "nothing"),
        ("clip", "both", "nothing"),
    ),
)
def test_each_half_in_its_own_graph(made, tmp_path, model, half, names):
    """Paths of both begin at `layers`. What is in a file decides, not its name; without the base nothing."""
    case, halves = Case(made, model, tmp_path, **side(model, half)), SPLIT[model][1]
    (tmp_path / "in").mkdir()
    for each in halves:
        (tmp_path / "in" / NAMES[names](each)).symlink_to(made.graph(model, each))
    case.refused(tmp_path / "in", mentions=["the graph has no such module", "--map", "--ignore-missing"])
    product.opt(
        tmp_path / "in", f"--adapter=x={case.folder}", case.own, "--require-proof", "-o", tmp_path / "out"
    )
    for index, each in enumerate(halves):
        case.assert_half(tmp_path / "out" / NAMES[names](each), each, half in ("both", HALVES[1 + index]))
    case.refused(tmp_path / "in", case.other, "--require-proof", mentions=["no such module"])


@pytest.mark.parametrize("model", cases([(each,) for each in SPLIT], ("bart",)))
def test_one_half_alone(made, tmp_path, model):
    halves = SPLIT[model][1]
    case = Case(made, model, tmp_path, **side(model, "both"))
    for half, absent in (halves, reversed(halves)):
        graph, missing = made.graph(model, half), f"--ignore-missing=*{PLACES[absent]}.*"
        case.refused(graph, mentions=["no such module", "--ignore-missing"])
        case.refused(
            graph, case.own, mentions=[f"{PLACES[absent]}.", "nor by the base's contents", "--ignore-missing"]
        )
        case.refused(graph, missing, mentions=[f"{PLACES[half]}.", "--map"])
        case.holds(graph, case.own, missing, "--require-proof", part=half)


def bare(source, target):
    """The graph of a part as if it were exported by itself: no wrapper's name in front of its paths."""
    model = onnx.load(source)
    names = {tensor.name: tensor.name.removeprefix("model.") for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for node in model.graph.node:
        node.name = node.name.removeprefix("/model")
        node.input[:] = [names.get(each, each) for each in node.input]
    onnx.save(model, target)
    return target


# What a bare graph lacks of its path, the file's name says, or modules that the other half does not have.
# Both towers of CLIP have the same.
BARE = [
    each
    for each in every(SPLIT, HALVES, NAMES)
    if each[2] == "said" or each[:2] in (("bart", "both"), ("t5", "both"))
]


@pytest.mark.parametrize(
    "model, half, names", cases(BARE, ("bart", "both", "nothing"), ("clip", "first", "said"))
)
def test_bare_halves(made, tmp_path, model, half, names):
    case, halves = Case(made, model, tmp_path, **side(model, half)), SPLIT[model][1]
    (tmp_path / "in").mkdir()
    graphs = [bare(made.graph(model, each), tmp_path / "in" / NAMES[names](each)) for each in halves]
    for arguments in ([], [case.own, "--require-proof"]):
        product.opt(tmp_path / "in", f"--adapter=x={case.folder}", *arguments, "-o", tmp_path / "out")
        for index, (each, graph) in enumerate(zip(halves, graphs, strict=True)):
            case.assert_half(tmp_path / "out" / graph.name, each, half in ("both", HALVES[1 + index]))
    for index, (each, graph) in enumerate(zip(halves, graphs, strict=True)):
        if half == HALVES[1 + index]:
            case.holds(graph, part=each)
        else:
            case.refused(
                graph,
                mentions=[f"{PLACES[halves[half == 'second']]}." if half != "both" else "--ignore-missing"],
            )


def test_bare_towers_of_one_shape_need_the_base(made, tmp_path):
    case, halves = Case(made, "clip", tmp_path, **side("clip", "both")), SPLIT["clip"][1]
    (tmp_path / "in").mkdir()
    graphs = [bare(made.graph("clip", each), tmp_path / "in" / NAMES["nothing"](each)) for each in halves]
    for graph in (tmp_path / "in", *graphs):
        case.refused(graph, mentions=["could be any of the parts 'text_model', 'vision_model'"])
    product.opt(
        tmp_path / "in", f"--adapter=x={case.folder}", case.own, "--require-proof", "-o", tmp_path / "out"
    )
    for each, graph in zip(halves, graphs, strict=True):
        case.assert_half(tmp_path / "out" / graph.name, each, True)


@pytest.mark.parametrize("model", cases([("bart",), ("t5",)], ("t5",)))
def test_a_decoder_that_keeps_its_path(made, tmp_path, model):
    case, graph = Case(made, model, tmp_path, **side(model, "both")), made.graph(model, "prefixed")
    case.refused(graph, mentions=["encoder.", "--ignore-missing"])
    case.holds(graph, "--ignore-missing=*encoder.*", part="prefixed")
    one = Case(made, model, tmp_path / "one", **side(model, "second"))
    one.holds(graph, part="prefixed")


@pytest.mark.parametrize("model", cases([("bart",), ("t5",)], ("t5",)))
def test_trained_tokens_of_a_shared_table(made, tmp_path, model):
    """Both halves look up in it."""
    fields = dict(target_modules=SPLIT[model][0], trainable_token_indices={"shared": [3, 40, 50]})
    case = Case(made, model, tmp_path, **fields)
    graphs = [made.graph(model, half) for half in ("encoder", "decoder")]
    product.opt(*graphs, f"--adapter=x={case.folder}", case.own, "--require-proof", "-o", tmp_path / "out")
    for half in ("encoder", "decoder"):
        case.assert_half(tmp_path / "out" / made.graph(model, half).name, half, True)


ONE_TABLE = {
    "tokens": (dict(trainable_token_indices={"encoder.embed_tokens": [3, 40]}), ["the same table in"], None),
    "shared": (dict(target_modules=["shared"]), ["does not reach", "--map"], None),
    "encoder": (dict(target_modules=["encoder.embed_tokens"]), [], []),
    "all": (
        dict(target_modules=["shared", "encoder.embed_tokens", "decoder.embed_tokens"]),
        ["does not reach", "--ignore-missing"],
        ["--ignore-missing=*shared"],
    ),
}


@pytest.mark.parametrize("model", cases([("bart",), ("t5",)], ("t5",)))
@pytest.mark.parametrize("what", ONE_TABLE)
def test_modules_that_share_a_table(made, tmp_path, model, what):
    """PEFT changes the module that is named, and lets others follow tokens of the input embeddings alone.
    Nobody calls `shared` itself."""
    fields, mentions, arguments = ONE_TABLE[what]
    case = Case(made, model, tmp_path, **dict(target_modules=SPLIT[model][0]) | fields)
    if mentions:
        case.refused(made.graph(model), case.own, mentions=mentions)
    if arguments is not None:
        case.holds(made.graph(model), *arguments)
        case.holds(made.graph(model), *arguments, case.own)


def test_tokens_of_one_of_two_equal_tables(made, tmp_path):
    """As above, in a graph that holds the table once for each reader."""
    fields = dict(target_modules=SPLIT["t5"][0], trainable_token_indices={"encoder.embed_tokens": [3, 40]})
    case, graph = Case(made, "t5", tmp_path, **fields), onnx.load(made.graph("t5"))
    table = next(each for each in graph.graph.initializer if each.name == "model.shared.weight")
    readers = [node for node in graph.graph.node if table.name in node.input]
    for node in readers[1:]:
        copy = onnx.TensorProto()
        copy.CopyFrom(table)
        copy.name = node.name.strip("/").replace("/", ".").rpartition(".")[0] + ".weight"
        node.input[list(node.input).index(table.name)] = copy.name
        graph.graph.initializer.append(copy)
    assert len(readers) > 1
    onnx.save(graph, tmp_path / "copies.onnx")
    case.refused(tmp_path / "copies.onnx", mentions=["the same table in 'model.decoder.embed_tokens'"])


@pytest.mark.parametrize("model", cases([("bart",), ("t5",)]))
@pytest.mark.parametrize("what", ["head", "norms", "dora"])
def test_other_updates_of_a_sequence_model(made, tmp_path, model, what):
    linears, norms = SPLIT[model][0], ["final_layer_norm" if model == "bart" else "layer_norm"]
    fields = {
        "head": {"target_modules": ["lm_head"]},
        "norms": {"target_modules": linears, "modules_to_save": norms},
        "dora": {"target_modules": linears, "use_dora": True},
    }[what]
    case = Case(made, model, tmp_path, **fields)
    case.holds(made.graph(model))
    case.holds(made.graph(model), case.own)

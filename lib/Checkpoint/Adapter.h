// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What an adapter checkpoint says, module by module, in terms that compiler and runtime share.
#ifndef ADAPTER_LIB_CHECKPOINT_ADAPTER_H
#define ADAPTER_LIB_CHECKPOINT_ADAPTER_H

#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Checkpoint/Mixture.h"
#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace adapter::checkpoint {

// The layers that a checkpoint's layout of tensors is of, where it says so: an embedding's factors are named otherwise.
enum class Layer { Any, Product, Embedding };

enum class MaskMode { Sum, Mean, Select };
template <>
inline constexpr const char *wordsOf<MaskMode>[] = {"sum", "mean", "select"};

// Masked modules in one: a factor is the sum, the mean or the selection of `count` behind their masks.
struct MaskedMix {
  MaskMode mode = MaskMode::Sum;
  int count = 0;
};

// What an adapter takes away from the weight W before its product is added: a product of thin factors that training began
// with, which follows from W's numbers alone.
struct BaseTerm {
  enum Kind {
    Largest,  // the `count` largest of W's singular values, with their vectors
    Smallest, // the `count` smallest
    Leading,  // scale Q Q' W, Q the orthogonal factor of W's first `count` columns
  };
  Kind kind = Largest;
  int64_t count = 0;
};

// One update of one parameter of one module. `form` names the definition (lib/Forms/Library) that says which roles
// `tensors` holds and what they compute; where a tensor is optional, its being there says which variant it is. It is
// empty where one of these is set, which are no definitions:
//
//   bottleneck  acts on activations, not on a parameter, see Bottleneck.h: it stands at `placement`, whose name is
//               `parameter`, behind the output of the sub-layer `module`; "<block>.attention_adapters" and
//               "<block>.output_adapters" are the first and the last sub-layer of a block
//   mixture     A, B, and router, router_bias or logits: several LoRAs and a router, see Mixture.h
//
// The updates of one parameter of one module stand in the order in which they apply: whole values, then what is added
// to all of it, then parts.
struct Update {
  std::string module; // dotted path in the base model: "model.layers.0.self_attn.q_proj"
  // The dots of `module` are written as underscores, so that its components cannot be told apart.
  bool flattened = false;
  // Which model of a pipeline has the module, as diffusers calls them: "unet", "transformer", "text_encoder",
  // "text_encoder_2", ...; "": the only one, or not said.
  std::string part;
  std::string parameter; // "weight", "bias", ...; "in_proj_weight" of a torch.nn.MultiheadAttention
  std::string form;
  std::optional<Bottleneck> bottleneck;
  ModulePlacement placement;
  std::optional<Mixture> mixture;
  Layer layer = Layer::Any;
  // B.<i> and mask.<i> of B's shape, each 0 or 1, stand for B, or up.<i> for up; masks overlap nowhere. Biases up_bias.<i>
  // may be trained whole behind their up_bias_mask.<i>.
  std::optional<MaskedMix> masked;
  double scale = 1.0;
  // fan_in_fan_out: the module's weight is [in, out]. A hint only: PEFT ignores the field for nn.Linear and
  // sets it by itself for Conv1D, so that the operator of the graph decides.
  bool transposed = false;
  int64_t rank = 0; // of low-rank forms
  // Of sparse forms: how many elements there are for each row and column of the parameter; 0: any number.
  int64_t density = 0;
  // Where the base ties this module's parameter to another's (embedding and output head), the update
  // reaches both. Without it, it reaches this module alone.
  bool tied = false;
  // Of mixtures: the module whose input the router reads; "": this one.
  std::string routerInput;
  std::map<std::string, Tensor> tensors; // by role
  // Of low-rank forms; only who has the weight's numbers can apply them.
  std::optional<BaseTerm> taken;
  // Tensors that follow from the weight's size [out, columns], by role: those that a seed gives.
  std::map<std::string, std::function<Result<Tensor>(int64_t out, int64_t columns)>> later;
  // Makes them, where the size is known.
  Status complete(int64_t out, int64_t columns);
  // Of forms that are definitions: numbers beside `scale`, and whole numbers.
  std::map<std::string, double> scalars;
  std::map<std::string, int64_t> attributes;
  // What the form makes of the bias rather than of the weight.
  bool ofBias = false;
  // Where the tensors depend on a task, those of task 0 stand above, and here is what those of any are made of,
  // see Skills.h.
  int64_t tasks = 0;
  std::map<std::string, Tensor> skills;

  // For reports and messages: "lora", "bottleneck+relu".
  std::string formText() const;
};

// What computes the logits of all of an adapter's mixtures from the model's last hidden state h, as a first pass has
// it (X-LoRA): layers with a ReLU between them.
struct Classifier {
  std::vector<std::pair<Tensor, Tensor>> layers; // weight [out, in], bias [out]
  double passScale = 0;                          // the weight of every expert in that pass
  bool again = false;                            // a softmax over the weights of what was chosen
};

// An adapter: every tensor of its checkpoint stands in exactly one update, or in the classifier, or is known to have no
// effect (the counter of a BatchNorm that was saved whole).
struct Adapter {
  std::string method; // PEFT's peft_type, lower case: "lora"
  std::string path;
  std::string baseModel;    // base_model_name_or_path, may be empty
  std::string baseClass;    // of transformers, as "LlamaForCausalLM"; empty where it does not say
  std::string baseRevision; // of it, may be empty
  std::string baseDigest;   // BaseModel::digest of the base that it was made of; empty where it does not say
  std::string hash;         // XXH3-128 of tensors and configuration, hexadecimal
  std::vector<Update> updates;
  std::optional<Classifier> classifier;
  std::shared_ptr<const struct OwnForm>
      own; // of a user's own form, whose updates come with its definition (OwnForm.h)

  int64_t tasks() const; // that it tells apart; 0: it does not
  // Makes plain updates of masked ones, for where none but their sum, mean or selection is ever looked at.
  void foldMasks();
};

// Reads an adapter, a folder or a file in one of the formats of docs/checkpoints.md. A configuration field that changes
// the result and is not supported, and a tensor that has no place, are errors that name them; so is what is not an
// adapter, with what it is.
Result<Adapter> readAdapter(const std::string &path);

// Whether module path `candidate` of a checkpoint names `module` of a graph: equal, or one is the other
// behind a dotted prefix ("model.layers.0.q" matches "layers.0.q").
bool pathsMatch(const std::string &candidate, const std::string &module);

// Those of `paths` that a checkpoint's module could mean: the equal one; else those that end with it
// (wrapped models); else the longest that is its end (parts of models).
std::vector<std::string> matchingPaths(const std::vector<std::string> &paths, const std::string &module);

// The same for an update, whose module may be flattened and a part of a pipeline. A flattened module means a path that
// is the same with its dots as underscores, or that ends so behind one of its dots.
bool pathsMatch(const std::string &candidate, const Update &update);
// A graph's path as an update's module is written: with its dots as underscores where that is flattened.
std::string spelledFor(std::string path, const Update &update);
// Whether a graph's path leads through a part of a pipeline.
bool isInPart(const std::string &path, const std::string &part);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_ADAPTER_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Several adapters as one LoRA.
#ifndef ADAPTER_LIB_DIFF_COMBINE_H
#define ADAPTER_LIB_DIFF_COMBINE_H

#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/Json.h"
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace adapter::diff {

struct Method; // a row of the table in CombineMethods.cpp

// What `rank` is where all directions are wanted.
inline constexpr int64_t fullRank = std::numeric_limits<int64_t>::max();

// A method and its settings; which of them it has says its row.
struct Combination {
  const Method *method = nullptr;
  double density = 1.0;  // the share of elements that are kept
  double beta = 0;       // the shares of the smallest and the largest elements that are not
  double gamma = 0.01;   //
  double epsilon = 0.15; // how far the chance to be kept is from the density for the smallest and the largest
  double t = 0;          // where between two adapters
  double alpha = 0.5;    // the share of what was there before that keeps its directions for itself
  int64_t rank = 0; // of a result that is factorised; 0: the largest of the parts, all where one has none
  bool countsSigns = false; // the majority is of signs, not of the elements' sum
  uint64_t seed = 0;        // of what chance decides
};

// METHOD[,SETTING=VALUE...]; what is wrong with it otherwise.
checkpoint::Result<Combination> parseCombination(const std::string &text);
// The methods with their settings and formulas, for people.
std::string methodsText();
// Whether a method has a setting of that name; a method that there is not has none.
bool hasSetting(const std::string &method, const std::string &name);

struct Part {
  std::string path;
  double weight = 1.0;
};

// What an adapter that is no product of factors makes of one weight or bias.
struct WeightChange {
  std::string module;
  checkpoint::Layer layer = checkpoint::Layer::Product;
  std::vector<int64_t> shape; // of the weight: [out, in, ...]; of a table [entries, width]; of a bias [out]
  checkpoint::Tensor values;  // f64 [out, columns], what is added to it; of a table the transpose
  checkpoint::Tensor before;  // f64, of a bias; none where the model has none there
};

// What only a compiler knows of adapters (lib/Pipelines/Changes.h).
class Changes {
public:
  virtual ~Changes() = default;
  // Makes the updates of an adapter whose form its user defines.
  virtual checkpoint::Status place(checkpoint::Adapter &adapter) = 0;
  // What the adapter at a path changes, weight by weight.
  virtual checkpoint::Result<std::vector<WeightChange>> of(const std::string &path) = 0;
  // Whether there is a model, without which `of` gives nothing.
  virtual bool hasModel() const = 0;
};

struct Combined {
  std::vector<checkpoint::Tensor> tensors; // by PEFT's keys
  checkpoint::Json configuration;
  std::map<std::string, int64_t> ranks;             // by module
  std::map<std::string, checkpoint::Tensor> biases; // by module, what is added to them
  std::string unwritable;                           // what a folder cannot hold
  bool isCut = false;                               // whether the result was factorised
  double error = 0;        // what that lost, relative, in Frobenius norms of all modules together
  double largestError = 0; // in one module
  std::string largestAt;

  int64_t rank() const; // the largest
  // "12 modules, ranks up to 8, relative error of the cut 1.2e-03 (largest 4.0e-03 at 'x')"
  std::string text() const;
  // As an adapter that was read; `name` stands for its path.
  checkpoint::Adapter adapter(const std::string &name) const;
  // As a folder of PEFT's, all or nothing.
  checkpoint::Status write(const std::string &folder) const;
};

// The adapters at `parts`, which may have other modules, ranks and forms each, as far as the method lets them. An error
// names what it does not take. `changes` may be null: plain LoRAs are combined without it.
checkpoint::Result<Combined> combine(const Combination &how, const std::vector<Part> &parts,
                                     Changes *changes = nullptr);

// Opens what the command's --model, --base and --forms say.
struct ModelPaths {
  std::string model, base;
  std::vector<std::string> forms;
};
using OpenChanges = std::function<std::unique_ptr<Changes>(const ModelPaths &paths)>;

// `adapter-opt combine ...`; `argv[1]` is "combine". Returns the exit code.
int combineCommand(int argc, char **argv, const OpenChanges &open);

} // namespace adapter::diff

#endif // ADAPTER_LIB_DIFF_COMBINE_H

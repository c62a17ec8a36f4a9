// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a graph's tensor is of a parameter: itself, or computed from it by an exporter or optimiser. The kinds are a
// closed list; each is recognised by comparing with the base checkpoint, and each can carry an update through.
#ifndef ADAPTER_LIB_ATTACH_DERIVATIONS_H
#define ADAPTER_LIB_ATTACH_DERIVATIONS_H

#include "lib/Attach/Fused.h"
#include "lib/Checkpoint/Adapter.h"
#include <optional>
#include <string>
#include <vector>

namespace adapter {

/// With w the parameter, [out, in, ...] or [size], and g what the graph holds of it:
struct Derivation {
  enum Kind {
    Itself,        ///< g = w, rounded to the graph's type
    OnePlus,       ///< g = 1 + w
    Scaled,        ///< g = factor * w
    RowsScaled,    ///< g[o, ...] = scales[o] * w[o, ...]
    ColumnsScaled, ///< g[o, i] = scales[i] * w[o, i]
    Affine         ///< g[o] = scales[o] * w[o] + offsets[o]
  };
  Kind kind = Itself;
  double factor = 1.0;
  std::vector<double> scales, offsets;

  /// "1 + norm.weight"; "" for the parameter itself.
  std::string text(const std::string &name) const;
};

/// What comparing a part of a graph's tensor with a tensor of the base says.
struct Comparison {
  std::optional<Derivation> derivation; ///< nothing: the numbers differ
  bool storedTransposed = false;        ///< the base holds a matrix as [in, out]
  double difference = 0;     ///< else the largest difference, relative to the base's largest number
  std::string problem;       ///< why they cannot be compared; "" where they can
  bool isOtherShape = false; ///< the problem is that the shapes differ
};

/// Compares outputs [part.offset, part.offset + part.size) of a parameter with a tensor of the base checkpoint.
Comparison compareWithBase(const FusedPart &part, const checkpoint::Tensor &base);

/// The same of a bias whose module's weight has its rows scaled, and so has the bias.
Derivation affineOf(const FusedPart &bias, const checkpoint::Tensor &base, const Derivation &weight);

/// An update of what the graph holds from one of the parameter; an error where the derivation does not let it
/// through. `parameter` is the graph's.
checkpoint::Result<checkpoint::Update> carryThrough(const checkpoint::Update &update,
                                                    const Derivation &derivation, const std::string &name,
                                                    const ModuleParameter &parameter);

/// An update of a table as one of the output head that is tied to it.
checkpoint::Result<checkpoint::Update> ofTiedHead(const checkpoint::Update &update,
                                                  const ModuleParameter &table);

/// Whether two tensors of graphs can be one parameter: equal numbers, but for rounding where their types differ.
bool holdEqualNumbers(const ModuleParameter &x, const ModuleParameter &y);

/// Contents of a graph's parameter as f32; nothing where it has none or they are no floats.
std::optional<checkpoint::Tensor> floatContents(const ModuleParameter &parameter);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_DERIVATIONS_H

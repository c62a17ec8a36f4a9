// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a form asks of an adapter at one place of a model: tensors by role, with their shapes, scalars and attributes.
// A form's definition says it in IR (adapter.form); compiler and runtime check every adapter against it alike.
#ifndef ADAPTER_LIB_SIGNATURE_SIGNATURE_H
#define ADAPTER_LIB_SIGNATURE_SIGNATURE_H

#include "lib/Checkpoint/Tensor.h"
#include "lib/Signature/Expression.h"

namespace adapter::forms {

using checkpoint::Status;
using Shape = std::vector<int64_t>;

/// What a tensor's sizes may be: "out, r, 1..; out, r". A size is an expression, or several with "|" between them of
/// which it must be one. Three are more than a size: "cols" stands for all input axes of the weight, of which a
/// convolution has several, "1.." for any number of ones, and "c.." for all axes that are left, with c for their
/// product. Alternatives stand behind ";".
class Dims {
public:
  static Result<Dims> parse(std::string_view text);

  struct Size {
    enum Kind { Expressions, Columns, Ones, Rest } kind = Expressions;
    std::vector<Expression> expressions;
  };
  using List = std::vector<Size>;
  const std::vector<List> &alternatives() const { return lists; }
  const std::string &text() const { return source; }
  /// The dimensions of the tensor as a form's body gets it: those of the first alternative, with one for "cols" and
  /// none for "1..".
  size_t rank() const;
  std::set<std::string> reads() const;

private:
  std::string source;
  std::vector<List> lists;
};

/// How a tensor reaches a form's body.
enum class RoleLayout {
  Plain,       ///< as its dims say
  Weight,      ///< shaped like the parameter in the checkpoint; as [out, cols]
  Coordinates, ///< [axes, n], of elements of the parameter in the checkpoint; as [2, n] of (output, column)
};

struct Role {
  std::string name;
  RoleLayout layout = RoleLayout::Plain;
  Dims dims; ///< of plain tensors
  bool isIndex = false;
  std::string indexOf;        ///< of plain indices: the size that they are less than; distinct and ascending
  bool isPermutation = false; ///< indices that name each element once, as the body's use of them asks for
  bool isOptional = false;
  std::string variant;   ///< what a form's name has behind a "+" where the tensor is given
  bool isShared = false; ///< one tensor for all modules of an adapter

  /// With the layout that its dims say: "weight", "coordinates", or sizes.
  static Result<Role> parse(const std::string &name, const std::string &dims);
};

struct Scalar {
  std::string name;
  std::optional<double> byDefault; ///< else it must be given
};

struct IntegerAttribute {
  std::string name;
  std::optional<int64_t> byDefault;
};

/// A symbol that is computed: "b = (1 + isqrt(1 + 8 * p)) / 2".
struct Definition {
  std::string symbol;
  Expression value;
  static Result<Definition> parse(std::string_view text);
};

/// "w | a, b": groups of roles of which one is given.
Result<std::vector<std::set<std::string>>> parseChoice(std::string_view text);

/// The place that an adapter acts on.
struct Place {
  std::string kind;              ///< linear, embedding, convolution, vector
  int64_t out = 0, in = 0;       ///< of the module; an embedding has its dim as out and its vocabulary as in
  Shape taps;                    ///< of a convolution
  int64_t groups = 1;            ///< of a convolution
  bool storedTransposed = false; ///< the checkpoint's weight is [in, out]
  std::string text;              ///< "linear [768, 768] (node_MatMul_42)"

  int64_t columns() const; ///< in / groups * taps
  Shape stored() const;    ///< of the parameter in the checkpoint
  Symbols symbols() const; ///< out, in, cols, groups; also vocab and dim of an embedding
};

/// A tensor of an adapter as far as its shape goes.
struct Given {
  std::string key;
  Shape shape;
  bool isFloat = true;
};

/// One form: everything but the computation.
struct Signature {
  std::string name;
  std::vector<std::string> kinds;
  std::vector<Role> roles;
  std::vector<Scalar> scalars;
  std::vector<IntegerAttribute> attributes;
  std::vector<Definition> definitions;
  std::vector<Expression> requirements;
  std::vector<std::vector<std::set<std::string>>> choices; ///< of each one group of optional roles is given
  std::vector<std::string> sliceable;                      ///< symbols of which a setting may ask for fewer
  std::string hash;                                        ///< of the definition's text

  const Role *role(const std::string &name) const;
  bool actsOn(const std::string &kind) const;
  /// Consistent in itself: names that are known and not said twice, symbols that can be bound.
  Status verify() const;
  /// Binds every symbol for tensors at a place; an error that names what does not fit, what was expected and where.
  Result<Symbols> bind(const Place &place, const std::map<std::string, Given> &tensors,
                       const std::map<std::string, int64_t> &attributes) const;
  /// "lora", or "lora+dora" where the tensor of that variant is among the roles.
  std::string variantName(const std::set<std::string> &roles) const;
  /// What tells its uses with other optional tensors apart: the variant's name, and the other optional tensors that are
  /// given, "lokr(w1,w2_a,w2_b)".
  std::string label(const std::set<std::string> &roles) const;
  /// The sets of roles that an adapter may give, for each variant that `variants` names ("dora"), or for none.
  std::vector<std::set<std::string>> roleSets(const std::set<std::string> &variants) const;
  /// All symbols that a place or a tensor can bind, in the order in which compiled code gets them.
  std::vector<std::string> symbolNames() const;
};

/// The shape that a form's body gets of a tensor that fits, given what `bind` made of the symbols; of a whole weight that is
/// stored as [in, out] that shape.
Shape deliveredShape(const Role &role, const Place &place, const Symbols &symbols, const Shape &given);
/// A tensor that fits, as a compilation takes it, given what `bind` made of the symbols: indices in int64, and places in a
/// convolution as those of (output, column). An error where indices are none of what they index.
Result<checkpoint::Tensor> withinLimits(const Role &role, const Place &place, const Symbols &symbols,
                                        const checkpoint::Tensor &tensor);
/// The same with the dimensions that a form's functions get. `besideBias`: those of a function that makes a bias, which see
/// every weight as [out, cols].
Result<checkpoint::Tensor> deliver(const Role &role, const Place &place, const Symbols &symbols,
                                   const checkpoint::Tensor &tensor, bool besideBias);

} // namespace adapter::forms

#endif // ADAPTER_LIB_SIGNATURE_SIGNATURE_H

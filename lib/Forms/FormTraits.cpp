// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See FormTraits.h.
#include "lib/Forms/FormTraits.h"
#include "dialects/Adapter/IR/FormInstance.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace adapter;

namespace {
class Reader {
public:
  Reader(FormOp form, const std::set<std::string> &roles)
      : form(form), signature(form.getSignature()), roles(roles) {}
  FormTraits read();

private:
  // The role whose tensor a value is; "" where it is computed.
  std::string roleOf(Value value) const {
    auto argument = dyn_cast<BlockArgument>(value);
    return argument && argument.getArgNumber() < signature.roles.size()
               ? signature.roles[argument.getArgNumber()].name
               : "";
  }
  // The same of a map that is one of the tensors.
  std::string matrixOf(Value map) const {
    auto matrix = map.getDefiningOp<MatrixOp>();
    return matrix ? roleOf(matrix.getTensor()) : "";
  }
  // Whether a number is what the update's own scale becomes.
  bool isScale(Value number) const {
    auto argument = dyn_cast_if_present<BlockArgument>(number);
    int64_t at = argument ? int64_t(argument.getArgNumber()) - int64_t(signature.roles.size()) : -1;
    return at >= 0 && at < int64_t(signature.scalars.size()) && signature.scalars[at].name == "scale";
  }
  bool isWeight(const std::string &role) const {
    return !role.empty() && signature.role(role)->layout == forms::RoleLayout::Weight;
  }
  void readAdded(AddOp add, FormTraits &traits) const;
  void readPut(SparseOp put, FormTraits &traits) const;

  FormOp form;
  forms::Signature signature;
  const std::set<std::string> &roles;
};
} // namespace

void Reader::readAdded(AddOp add, FormTraits &traits) const {
  // Whoever joins updates puts their scales into the tensors.
  if (traits.scales ? !isScale(add.getScale()) : add.getScale() != nullptr)
    return;
  if (auto chain = add.getMap().getDefiningOp<ChainOp>(); chain && chain.getMaps().size() == 2) {
    std::string outer = matrixOf(chain.getMaps()[0]), inner = matrixOf(chain.getMaps()[1]);
    if (traits.scales && !outer.empty() && !inner.empty() && outer != inner)
      traits.outer = outer, traits.inner = inner;
    return;
  }
  if (auto few = add.getMap().getDefiningOp<GatherOp>()) {
    traits.elements = roleOf(few.getValues()), traits.places = roleOf(few.getPlaces());
    return;
  }
  if (std::string role = matrixOf(add.getMap()); isWeight(role))
    traits.elements = role;
}

void Reader::readPut(SparseOp put, FormTraits &traits) const {
  if (put.getMode() != SparseMode::Overwrite)
    return;
  // Rows of a table come as columns of what a form sees.
  Value values = put.getValues();
  if (auto turned = values.getDefiningOp<linalg::TransposeOp>())
    values = turned.getInput();
  std::string elements = roleOf(values), places = roleOf(put.getIndices());
  if (elements.empty() || places.empty())
    return;
  traits.puts = true;
  traits.elements = elements;
  (put.getSupport() == SparseSupport::Coordinates ? traits.places : traits.rows) = places;
}

FormTraits Reader::read() {
  FormTraits traits;
  traits.scales = llvm::any_of(signature.scalars, [](const auto &each) { return each.name == "scale"; });
  for (const forms::Role &role : signature.roles)
    traits.hasPlaces |= role.layout != forms::RoleLayout::Plain;
  auto isGiven = [&](StringRef role) { return roles.count(role.str()) > 0; };
  Operation *made = yieldedBy(form, isGiven);
  auto update = dyn_cast_if_present<UpdateOpInterface>(made);
  traits.adds = update && update.isAdditive() && !readsWeight(form, /*result=*/0, isGiven);
  if (auto length = dyn_cast_if_present<MagnitudeOp>(made); length && length.getAxis() == 0) {
    traits.length = roleOf(length.getMagnitude());
    made = traits.length.empty() ? nullptr : length.getSource().getDefiningOp();
  }
  if (auto scaled = dyn_cast_if_present<ScaleOp>(made))
    made = scaled.getSource().getDefiningOp();
  if (auto add = dyn_cast_if_present<AddOp>(made))
    readAdded(add, traits);
  else if (auto put = dyn_cast_if_present<SparseOp>(made))
    readPut(put, traits);
  else if (auto whole = dyn_cast_if_present<ReplaceOp>(made); whole && isWeight(roleOf(whole.getValue()))) {
    traits.replaces = true;
    traits.elements = roleOf(whole.getValue());
  }
  // What else a form has may be any part of what it does.
  std::set<std::string> used{traits.outer,    traits.inner,  traits.length,
                             traits.elements, traits.places, traits.rows};
  used.erase("");
  bool isAll = used == roles && signature.scalars.size() <= (traits.scales ? 1u : 0u);
  if (!isAll || (!traits.length.empty() && !traits.isFactors())) {
    FormTraits known;
    known.scales = traits.scales, known.adds = traits.adds, known.hasPlaces = traits.hasPlaces;
    return known;
  }
  return traits;
}

FormTraits adapter::traitsOf(FormOp form, const std::set<std::string> &variants) {
  if (!form)
    return {};
  std::set<std::string> roles;
  for (const forms::Role &role : form.getSignature().roles)
    if (!role.isOptional || variants.count(role.variant))
      roles.insert(role.name);
  return traitsWith(form, roles);
}

FormTraits adapter::traitsWith(FormOp form, const std::set<std::string> &roles) {
  return form ? Reader(form, roles).read() : FormTraits();
}

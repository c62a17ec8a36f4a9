// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Integers.h.
#include "lib/Attach/Integers.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Attach/FormUse.h"
#include "lib/Support/ParameterStore.h"
#include "lib/Support/Quantised.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Status;

// Whether products read a parameter as the integers that it stands for.
static bool isOfIntegers(ModuleParameter &parameter) {
  return parameter.kind == SiteKind::Linear && parameter.value &&
         parameter.value->hasAttr(quantisedAttribute);
}

ParameterOp adapter::floatsOf(ParameterOp parameter, ImplicitLocOpBuilder &b) {
  auto parts = parameter->getAttrOfType<DictionaryAttr>(quantisedAttribute);
  if (!parts)
    return parameter;
  ParameterStore &store = ParameterStore::get(b.getContext());
  auto part = [&](StringRef name) {
    auto at = parts.getAs<onnxir::TensorAttr>(name);
    const checkpoint::Tensor *found = at ? store.lookup(at.getScope(), at.getKey()) : nullptr;
    return found ? *found : checkpoint::Tensor();
  };
  bool transposed = parts.contains("transposed");
  ArrayRef<int64_t> shape = cast<RankedTensorType>(parameter.getType()).getShape();
  Quantised matrix{part("codes"),     part("scales"),     part("zeros"),
                   shape[transposed], shape[!transposed], parts.getAs<IntegerAttr>("block").getInt()};
  auto format = parts.getAs<kernel::FormatAttr>("format");
  matrix.bits = format.getNumber() == kernel::NumberFormat::Int4 ? 4 : 8;
  std::string key = store.addNew(quantisedScope, parameter.getKey(), dequantised(matrix, transposed));
  return ParameterOp::create(b, parameter.getType(), b.getStringAttr(quantisedScope), b.getStringAttr(key),
                             ElementsAttr(), StringAttr());
}

bool adapter::keepsBuilt(const PlannedParameter &planned) {
  ModuleParameter &parameter = *planned.parameter;
  return isOfIntegers(parameter) && llvm::none_of(planned.updates, [&](const PlannedUpdate &each) {
           return each.adapter->time == BindingTime::Build && traitsOf(*each.update, parameter).replaces;
         });
}

static bool isPlainSum(const FormTraits &traits) { return traits.adds && traits.length.empty(); }

// What of a parameter's adapters and rooms does more than add; "" where nothing does.
static std::string noSumAt(const PlannedParameter &planned) {
  const ModuleParameter &parameter = *planned.parameter;
  for (const PlannedUpdate &each : planned.updates)
    if (!isPlainSum(traitsOf(*each.update, parameter)))
      return "adapter '" + each.adapter->request->name + "' ('" + labelOf(*each.update, parameter) + "')";
  for (const PlannedRoom &room : planned.rooms)
    for (const std::string &form : room.forms)
      if (!isPlainSum(traitsAt(form, parameter)))
        return "slot '" + room.slot->name + "' (room for '" + form + "')";
  return "";
}

Status adapter::checkSumsBesideIntegers(const AttachPlan &plan) {
  for (const auto &planned : plan.parameters) {
    if (!planned->parameter || !isOfIntegers(*planned->parameter) || !keepsBuilt(*planned))
      continue;
    const LoadedAdapter *built = nullptr;
    llvm::SetVector<const LoadedAdapter *> all;
    for (const PlannedUpdate &each : planned->updates) {
      all.insert(each.adapter);
      if (each.adapter->time == BindingTime::Build)
        built = each.adapter;
    }
    std::string other = built && (all.size() > 1 || !planned->rooms.empty()) ? noSumAt(*planned) : "";
    if (!other.empty())
      return Error{"'" + planned->parameter->module + "." + planned->parameter->parameter +
                   "' is stored as integers, beside which adapter '" + built->request->name +
                   "' acts in every call, and " + other +
                   " changes more than a sum would; combine them (--combine), or merge what is known at "
                   "build into floats (--allow-lossy-merge)"};
  }
  return Done{};
}

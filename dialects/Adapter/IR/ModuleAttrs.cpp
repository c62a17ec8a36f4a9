// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How what bottlenecks compute is written: #adapter.bottleneck<relu, norm_before, epsilon = 1.0e-6>.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "llvm/ADT/bit.h"
#include <cmath>

using namespace mlir;
using namespace adapter;
using checkpoint::Activation;
using checkpoint::Bottleneck;

static constexpr std::pair<const char *, bool Bottleneck::*> flags[] = {
    {"norm_before", &Bottleneck::normBefore},
    {"norm_after", &Bottleneck::normAfter},
    {"residual_first", &Bottleneck::residualFirst},
    {"gate", &Bottleneck::gate},
    {"channel", &Bottleneck::channel}};

FailureOr<Activation> FieldParser<Activation>::parse(AsmParser &parser) {
  SMLoc at = parser.getCurrentLocation();
  StringRef text;
  if (parser.parseKeyword(&text))
    return failure();
  if (std::optional<Activation> known = checkpoint::named<Activation>(text))
    return *known;
  return parser.emitError(at, "'") << text << "' is no activation";
}

llvm::raw_ostream &adapter::checkpoint::operator<<(llvm::raw_ostream &stream, Activation value) {
  return stream << word(value);
}

llvm::hash_code adapter::checkpoint::hash_value(const Bottleneck &value) {
  llvm::hash_code code = llvm::hash_combine(value.activation, llvm::bit_cast<uint64_t>(value.epsilon));
  for (const auto &[name, flag] : flags)
    code = llvm::hash_combine(code, value.*flag);
  return code;
}

Attribute BottleneckAttr::parse(AsmParser &parser, Type) {
  Bottleneck value;
  if (parser.parseLess())
    return {};
  FailureOr<Activation> activation = FieldParser<Activation>::parse(parser);
  if (failed(activation))
    return {};
  value.activation = *activation;
  while (succeeded(parser.parseOptionalComma())) {
    SMLoc at = parser.getCurrentLocation();
    StringRef text;
    if (parser.parseKeyword(&text))
      return {};
    if (text == "epsilon") {
      if (parser.parseEqual() || parser.parseFloat(value.epsilon))
        return {};
      continue;
    }
    auto flag = llvm::find_if(flags, [&](const auto &each) { return text == each.first; });
    if (flag == std::end(flags)) {
      parser.emitError(at, "'") << text << "' is nothing that a bottleneck has";
      return {};
    }
    value.*(flag->second) = true;
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<BottleneckAttr>(parser.getContext(), value);
}

void BottleneckAttr::print(AsmPrinter &printer) const {
  const Bottleneck &value = getValue();
  printer << "<" << value.activation;
  for (const auto &[name, flag] : flags)
    if (value.*flag)
      printer << ", " << name;
  if (value.epsilon != Bottleneck().epsilon) {
    printer << ", epsilon = ";
    printer.printFloat(APFloat(value.epsilon));
  }
  printer << ">";
}

LogicalResult BottleneckAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, Bottleneck value) {
  if (!(value.epsilon > 0) || !std::isfinite(value.epsilon))
    return emitError() << "a norm's epsilon is above 0";
  if (value.epsilon != Bottleneck().epsilon && !value.normBefore && !value.normAfter)
    return emitError() << "'epsilon' is of norms, which it has not";
  if (value.residualFirst && !value.normAfter)
    return emitError() << "'residual_first' is about the norm behind the module, which it has not";
  return success();
}

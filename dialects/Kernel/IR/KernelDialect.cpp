// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Registration of the kernel dialect.
#include "dialects/Kernel/IR/KernelOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "dialects/Kernel/IR/KernelDialect.cpp.inc"

#include "dialects/Kernel/IR/KernelEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Kernel/IR/KernelAttrs.cpp.inc"

void adapter::kernel::KernelDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Kernel/IR/KernelAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Kernel/IR/KernelOps.cpp.inc"
      >();
}

llvm::LogicalResult
adapter::kernel::FormatAttr::verify(llvm::function_ref<mlir::InFlightDiagnostic()> emitError,
                                    NumberFormat number, int64_t group, bool wideScales, bool zeros) {
  bool isInteger = number == NumberFormat::Int8 || number == NumberFormat::Int4;
  if (!isInteger && group)
    return emitError() << "numbers of " << stringifyNumberFormat(number) << " have no groups";
  if (!isInteger && (wideScales || zeros))
    return emitError() << "numbers of " << stringifyNumberFormat(number) << " have no scales";
  if (group < 0 || group % 8 || group > 1024)
    return emitError() << "a group is a multiple of 8 up to 1024, not " << group;
  return mlir::success();
}

std::string adapter::kernel::FormatAttr::text() const {
  std::string name = stringifyNumberFormat(getNumber()).str();
  if (getGroup() && getGroup() != 32)
    name += ":group=" + std::to_string(getGroup());
  return name + (getWideScales() ? ":scales=f32" : "") + (getZeros() ? ":zeros" : "");
}

void adapter::kernel::FormatAttr::print(mlir::AsmPrinter &printer) const {
  printer << "<" << stringifyNumberFormat(getNumber());
  if (getGroup())
    printer << ", group = " << getGroup();
  if (getWideScales())
    printer << ", scales = f32";
  if (getZeros())
    printer << ", zeros";
  printer << ">";
}

// <int4, group = 64, scales = f32, zeros>, each of the last three at most once and in this order.
mlir::Attribute adapter::kernel::FormatAttr::parse(mlir::AsmParser &parser, mlir::Type) {
  llvm::SMLoc place = parser.getCurrentLocation();
  llvm::StringRef word;
  if (parser.parseLess() || parser.parseKeyword(&word))
    return {};
  std::optional<NumberFormat> number = symbolizeNumberFormat(word);
  if (!number)
    return parser.emitError(place, "'") << word << "' is no format of numbers", mlir::Attribute();
  int64_t group = 0;
  bool wideScales = false, zeros = false;
  while (succeeded(parser.parseOptionalComma())) {
    if (!zeros && !wideScales && !group && succeeded(parser.parseOptionalKeyword("group"))) {
      if (parser.parseEqual() || parser.parseInteger(group))
        return {};
    } else if (!zeros && !wideScales && succeeded(parser.parseOptionalKeyword("scales"))) {
      if (parser.parseEqual() || parser.parseKeyword("f32"))
        return {};
      wideScales = true;
    } else if (parser.parseKeyword("zeros")) {
      return {};
    } else {
      zeros = true;
    }
  }
  if (parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(place); }, parser.getContext(), *number, group, wideScales,
                    zeros);
}

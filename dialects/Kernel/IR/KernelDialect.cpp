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
                                    NumberFormat number, int64_t group) {
  bool isInteger = number == NumberFormat::Int8 || number == NumberFormat::Int4;
  if (!isInteger && group)
    return emitError() << "numbers of " << stringifyNumberFormat(number) << " have no groups";
  if (group < 0 || group % 8 || group > 1024)
    return emitError() << "a group is a multiple of 8 up to 1024, not " << group;
  return mlir::success();
}

std::string adapter::kernel::FormatAttr::text() const {
  std::string name = stringifyNumberFormat(getNumber()).str();
  return getGroup() && getGroup() != 32 ? name + ":group=" + std::to_string(getGroup()) : name;
}

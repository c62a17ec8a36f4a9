// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The adapter-opt command; its code is in lib/Pipelines.
#include "adapter/InitAll.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  adapter::registerAllDialects(registry);
  adapter::registerAllPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "adapter-opt\n", registry));
}

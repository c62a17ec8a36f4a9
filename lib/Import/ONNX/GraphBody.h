// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// State of one graph while it is imported; shared by the files that implement GraphImporter.
#ifndef ADAPTER_LIB_IMPORT_ONNX_GRAPHBODY_H
#define ADAPTER_LIB_IMPORT_ONNX_GRAPHBODY_H

#include "lib/Import/ONNX/GraphImporter.h"

namespace adapter::onnxproto {

struct GraphImporter::Body {
  mlir::Block *block;
  mlir::OpBuilder builder;
  NameScope names;
  llvm::StringMap<mlir::Type> types; // what value_info and outputs say
  llvm::SmallVector<mlir::Attribute> inputNames;
  mlir::NamedAttrList info;
  mlir::Value absent;
  bool inFunction = false;

  Body(mlir::Region &region, const NameScope *outer, mlir::MLIRContext *context)
      : block(&region.emplaceBlock()), builder(context) {
    builder.setInsertionPointToEnd(block);
    names.outer = outer;
  }
};

/// "x: message", for errors that get their place on the way up.
inline checkpoint::Error within(const std::string &place, const checkpoint::Error &error) {
  return checkpoint::Error{place + ": " + error.message};
}

} // namespace adapter::onnxproto

#endif // ADAPTER_LIB_IMPORT_ONNX_GRAPHBODY_H

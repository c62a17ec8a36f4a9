// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writes the functions of a form that is a definition; a part of DefinedForm.
#ifndef ADAPTER_LIB_COMPILE_FORMWRITER_H
#define ADAPTER_LIB_COMPILE_FORMWRITER_H

#include "dialects/Adapter/IR/FormInstance.h"
#include "lib/Compile/DefinedForm.h"
#include "lib/Compile/NormalForm.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

/// Writes one function; see DefinedForm.h for what functions there are.
class FormWriter {
public:
  FormWriter(mlir::ModuleOp module, const DefinedForm &use, Packing packing)
      : b(module.getLoc(), module.getContext()), module(module), use(use), packing(packing),
        signature(FormOp(use.form).getSignature()), symbols(signature.symbolNames()),
        readsWeight(readsWeightBeside(use)) {}

  // Starts a function over `parameters`, the tensors, scalars and symbols.
  void begin(llvm::StringRef name, llvm::ArrayRef<mlir::Type> parameters);
  void end(mlir::ValueRange results);

  mlir::Value materialize();
  llvm::SmallVector<mlir::Value> prepare(EntryShape &entry);
  void touch(bool restores);
  mlir::RankedTensorType parameterType();
  // What functions read of the base: the parameter, and the weight beside a bias.
  llvm::SmallVector<mlir::Type> baseTypes();
  mlir::MemRefType bufferType();

private:
  mlir::RankedTensorType f32(llvm::ArrayRef<int64_t> shape) {
    return mlir::RankedTensorType::get(shape, b.getF32Type());
  }
  mlir::Type roleType(const forms::Role &role);
  // Tensors of a bias's functions are those of a weight [out, cols].
  SiteKind placeKind() { return use.ofBias ? SiteKind::Linear : use.kind; }
  mlir::Value argument(unsigned at) { return function.getArgument(at); }
  mlir::Value sizeOf(mlir::Value tensor, int64_t dim) {
    return b.createOrFold<mlir::tensor::DimOp>(tensor, dim);
  }
  mlir::Value symbol(llvm::StringRef name);
  mlir::Value apply();
  mlir::Value unpacked(mlir::Value base);
  mlir::Value weightSeen();
  FormInputs inputs();
  mlir::Value updatedThinly();
  mlir::Value narrowed(mlir::Value tensor);
  mlir::Value transposedNarrow(mlir::Value tensor);
  mlir::Value pack(mlir::Value source, bool isTransposed, int64_t width);
  mlir::Value paddedUp(mlir::Value outer);
  std::optional<llvm::SmallVector<mlir::Value>> factored(EntryShape &entry);
  void addFactors(const NormalForm &form, EntryShape &entry, llvm::SmallVector<mlir::Value> &results);
  bool addSteps(const NormalForm &form, EntryShape &entry, llvm::SmallVector<mlir::Value> &results);
  llvm::SmallVector<mlir::Value> elements(mlir::Value places, mlir::Value values);
  mlir::Value differences(const PutElements &put);
  llvm::SmallVector<mlir::Value> storedPlace(mlir::ImplicitLocOpBuilder &at, mlir::ValueRange element);

  mlir::ImplicitLocOpBuilder b;
  mlir::ModuleOp module;
  const DefinedForm &use;
  Packing packing;
  forms::Signature signature;
  std::vector<std::string> symbols;
  bool readsWeight; // beside a bias
  mlir::func::FuncOp function;
  unsigned first = 0; // of the tensors among the arguments
};

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_FORMWRITER_H

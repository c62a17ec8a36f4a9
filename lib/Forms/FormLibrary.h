// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The forms that a compilation knows: those of the library, and those that users bring.
#ifndef ADAPTER_LIB_FORMS_FORMLIBRARY_H
#define ADAPTER_LIB_FORMS_FORMLIBRARY_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Checkpoint/Result.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <map>

namespace adapter {

/// Of the library's forms whose bodies are checked as they run because an adapter's indices decide what they read: how often
/// their loops run is not in an adapter's hands.
inline constexpr const char *trustedLoopsAttribute = "adapter.trusted_loops";

/// The form of a whole parameter that is added to. The gate of a mixture that is bound later is a parameter of it.
inline constexpr const char *addedWhole = "add";

/// The method that a form defines; one may have several, for kinds of parameters.
inline llvm::StringRef methodOf(FormOp form) { return form.getSymName().split('.').first; }

/// Forms by name, their calls to helpers replaced by the helpers' bodies.
class FormLibrary {
public:
  /// That of a context, with the library's own forms from the first call on.
  static FormLibrary &get(mlir::MLIRContext *context);

  /// Adds the forms of a file. What is wrong with it is told by the context's diagnostics, with its place.
  mlir::LogicalResult addFile(const std::string &path);

  /// The form of a name on a kind of parameter: "<name>.<kind>" where there is one, else "<name>"; null where none.
  FormOp find(llvm::StringRef name, llvm::StringRef kind) const;
  bool has(llvm::StringRef name) const;
  /// A hash of what a form says and computes, hexadecimal: of its text as it is printed.
  std::string hashOf(FormOp form) const;
  /// All, in the order of their names.
  std::vector<FormOp> all() const;

  /// The form as a symbol of an operation with symbols, where it is put if it is not there yet.
  mlir::FlatSymbolRefAttr use(FormOp form, mlir::Operation *table) const;

private:
  explicit FormLibrary(mlir::MLIRContext *context) : context(context) {}
  mlir::LogicalResult addText(llvm::StringRef text, llvm::StringRef name, bool isOwn);

  mlir::MLIRContext *context;
  mlir::OwningOpRef<mlir::ModuleOp> module;  ///< the forms
  mlir::OwningOpRef<mlir::ModuleOp> helpers; ///< what bodies may call
};

} // namespace adapter

#endif // ADAPTER_LIB_FORMS_FORMLIBRARY_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// --list-forms: what each definition of a method asks of an adapter, as its text says it.
#include "lib/Forms/FormLibrary.h"
#include "lib/Pipelines/Driver.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace adapter;

static std::string roleText(RoleAttr role) {
  std::string text = (role.getName().getValue() + " [" + role.getDims().getValue() + "]").str();
  if (role.getIndex() && role.getDims() != "coordinates")
    text += " index";
  if (role.getOptional())
    text += role.getVariant() ? " (+" + role.getVariant().str() + ")" : " optional";
  return text + (role.getShared() ? " shared" : "");
}

// Names with their defaults, where they have one.
template <typename T>
static std::string numbersText(const std::vector<T> &numbers) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvm::interleaveComma(numbers, stream, [&](const T &each) {
    stream << each.name;
    if (each.byDefault)
      stream << " = " << llvm::format("%g", static_cast<double>(*each.byDefault));
  });
  return text;
}

static void print(llvm::raw_ostream &out, FormOp form, const std::string &hash) {
  forms::Signature signature = form.getSignature();
  std::vector<std::string> roles;
  for (auto role : form.getRoles().getAsRange<RoleAttr>())
    roles.push_back(roleText(role));
  out << signature.name << " for " << llvm::join(signature.kinds, ", ") << "\n  tensors "
      << llvm::join(roles, ", ") << '\n';
  if (!signature.scalars.empty())
    out << "  scalars " << numbersText(signature.scalars) << '\n';
  if (!signature.attributes.empty())
    out << "  attributes " << numbersText(signature.attributes) << '\n';
  out << "  hash " << hash << '\n';
}

ExitCode adapter::listForms(const CommandLine &line, const DialectRegistry &registry,
                            const Console &console) {
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.printOpOnDiagnostic(false);
  bool said = false;
  ScopedDiagnosticHandler diagnostics(&context, [&](Diagnostic &diagnostic) {
    auto at = dyn_cast<FileLineColLoc>(diagnostic.getLocation());
    std::string place =
        at ? llvm::formatv("{0}:{1}:{2}: ", at.getFilename().getValue(), at.getLine(), at.getColumn()).str()
           : "";
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error && !std::exchange(said, true))
      console.error(place + diagnostic.str());
    return success();
  });
  FormLibrary &library = FormLibrary::get(&context);
  for (const std::string &file : line.forms)
    if (failed(library.addFile(file)))
      return inputAtFault;
  for (FormOp form : library.all())
    print(console.out, form, library.hashOf(form));
  return done;
}

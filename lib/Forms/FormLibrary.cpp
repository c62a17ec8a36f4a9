// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reading definitions. Files of users are read like the library's own, but may define forms alone.
#include "lib/Forms/FormLibrary.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Forms/EmbeddedForms.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace adapter;

// Calls deeper than this are those of a helper that calls itself.
static constexpr int deepest = 8;

// Replaces calls to helpers by their bodies.
static LogicalResult inlineCalls(FormOp form, ModuleOp helpers) {
  for (int depth = 0; depth < deepest; ++depth) {
    SmallVector<func::CallOp> calls;
    form.getBody().walk([&](func::CallOp call) { calls.push_back(call); });
    if (calls.empty())
      return success();
    for (func::CallOp call : calls) {
      auto helper = helpers.lookupSymbol<func::FuncOp>(call.getCallee());
      if (!helper || helper.isExternal())
        return call.emitOpError("calls @")
               << call.getCallee() << ", which is not a helper of forms (docs/forms.md)";
      if (helper.getFunctionType() != call.getCalleeType())
        return call.emitOpError("calls @")
               << call.getCallee() << " with other types than its own, " << helper.getFunctionType();
      OpBuilder b(call);
      IRMapping mapping;
      mapping.map(helper.getArguments(), call.getOperands());
      Block &body = helper.getBody().front();
      for (Operation &op : body.without_terminator())
        b.clone(op, mapping);
      for (auto [result, value] : llvm::zip(call.getResults(), body.getTerminator()->getOperands()))
        result.replaceAllUsesWith(mapping.lookup(value));
      call.erase();
    }
  }
  return form.emitOpError("calls helpers that call themselves");
}

// What bodies of users may do: compute on tensors. Loops that may not end, memory, and code of other kinds are not
// among it.
static LogicalResult verifyAllowed(FormOp form) {
  WalkResult result = form.getBody().walk<WalkOrder::PreOrder>([&](Operation *op) {
    StringRef dialect = op->getName().getDialectNamespace(), name = op->getName().getStringRef();
    bool isAllowed = dialect == "adapter" || dialect == "arith" || dialect == "math" || dialect == "linalg" ||
                     dialect == "tensor" || name == "scf.for" || name == "scf.if" || name == "scf.yield" ||
                     name == "func.call" || name == "affine.apply";
    // Of this dialect, what forms are made of.
    if (dialect == "adapter")
      isAllowed =
          isa<MapOpInterface, UpdateOpInterface, SymbolOp, WeightOp, BiasOp, IfGivenOp, YieldOp>(op) &&
          !isa<ApplyOp, SelectOp>(op);
    if (auto loop = dyn_cast<scf::ForOp>(op); loop && !loop.getLowerBound().getType().isIndex()) {
      op->emitOpError("counts by ") << loop.getLowerBound().getType() << "; loops in a form count by index";
      return WalkResult::interrupt();
    }
    if (isAllowed)
      return WalkResult::advance();
    op->emitOpError(
        "is not allowed in a form: bodies are made of adapter, arith, math, linalg and tensor ops, "
        "scf.for and scf.if, and calls to helpers");
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

// Whether an adapter brings whole numbers of which nothing is known before a body uses them.
static bool hasFreeIndices(FormOp form) {
  return llvm::any_of(form.getSignature().roles, [](const forms::Role &role) {
    return role.isIndex && role.layout == forms::RoleLayout::Plain && role.indexOf.empty() &&
           !role.isPermutation;
  });
}

LogicalResult FormLibrary::addText(StringRef text, StringRef name, bool isOwn) {
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, name), SMLoc());
  // Verified once helpers are in place: calls to them lead out of the file.
  ParserConfig config(context, /*verifyAfterParse=*/false);
  // Unknown ops are refused by name, as others are that are not allowed.
  bool before = context->allowsUnregisteredDialects();
  context->allowUnregisteredDialects(before || !isOwn);
  OwningOpRef<ModuleOp> parsed = parseSourceFile<ModuleOp>(sources, config);
  context->allowUnregisteredDialects(before);
  if (!parsed)
    return failure();
  for (Operation &op : llvm::make_early_inc_range(*parsed->getBody())) {
    if (!isa<FormOp>(op) && !(isOwn && isa<func::FuncOp>(op)))
      return op.emitOpError("is not an adapter.form; a file of forms holds nothing else");
    // Helpers take no names from forms.
    ModuleOp into = isa<FormOp>(op) ? *module : *helpers;
    auto symbol = cast<SymbolOpInterface>(op);
    if (into.lookupSymbol(symbol.getNameAttr()))
      return op.emitOpError("defines '") << symbol.getName() << "', which there is already";
    op.remove();
    into.push_back(&op);
    auto form = dyn_cast<FormOp>(op);
    if (form && !isOwn && failed(verifyAllowed(form)))
      return failure();
    if (form) {
      bool isFree = isOwn && hasFreeIndices(form);
      form.setChecked(!isOwn || isFree);
      form->removeAttr(trustedLoopsAttribute);
      if (isFree)
        form->setAttr(trustedLoopsAttribute, UnitAttr::get(context));
    }
    if (form && (failed(inlineCalls(form, *helpers)) || failed(verify(form))))
      return failure();
  }
  return success();
}

FormLibrary &FormLibrary::get(MLIRContext *context) {
  auto *dialect = context->getOrLoadDialect<AdapterDialect>();
  if (dialect->getForms())
    return *static_cast<FormLibrary *>(dialect->getForms());
  context->loadDialect<func::FuncDialect>();
  std::shared_ptr<FormLibrary> library(new FormLibrary(context));
  library->module = ModuleOp::create(UnknownLoc::get(context));
  library->helpers = ModuleOp::create(UnknownLoc::get(context));
  for (bool areHelpers : {true, false})
    for (int i = 0; i < embeddedFormCount; ++i) {
      StringRef name = embeddedForms[i].name;
      if (name.starts_with("helpers") == areHelpers &&
          failed(library->addText(embeddedForms[i].text, name, true)))
        llvm::report_fatal_error("the form library's " + name + " is not valid");
    }
  dialect->setForms(library);
  return *library;
}

LogicalResult FormLibrary::addFile(const std::string &path) {
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!file)
    return emitError(UnknownLoc::get(context)) << "--forms " << path << ": " << file.getError().message();
  return addText((*file)->getBuffer(), path, false);
}

FormOp FormLibrary::find(StringRef name, StringRef kind) const {
  ModuleOp forms = *module;
  if (auto own = forms.lookupSymbol<FormOp>((name + "." + kind).str()))
    return own;
  return forms.lookupSymbol<FormOp>(name);
}

std::string FormLibrary::hashOf(FormOp form) const {
  std::string text;
  llvm::raw_string_ostream stream(text);
  form->print(stream, OpPrintingFlags().useLocalScope());
  return checkpoint::hashBytes(text.data(), text.size());
}

bool FormLibrary::has(StringRef name) const {
  return llvm::any_of(all(), [&](FormOp form) {
    return form.getSymName() == name || form.getSymName().starts_with((name + ".").str());
  });
}

std::vector<FormOp> FormLibrary::all() const {
  std::vector<FormOp> forms;
  ModuleOp own = *module;
  for (FormOp form : own.getOps<FormOp>())
    forms.push_back(form);
  llvm::sort(forms, [](FormOp x, FormOp y) { return x.getSymName() < y.getSymName(); });
  return forms;
}

FlatSymbolRefAttr FormLibrary::use(FormOp form, Operation *table) const {
  if (!SymbolTable::lookupSymbolIn(table, form.getSymNameAttr()))
    OpBuilder::atBlockBegin(&table->getRegion(0).front()).clone(*form);
  return FlatSymbolRefAttr::get(form.getSymNameAttr());
}

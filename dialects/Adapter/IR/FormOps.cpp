// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter.form: its verification and its signature.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Checkpoint/Text.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace adapter;

//===----------------------------------------------------------------------===//
// Signature
//===----------------------------------------------------------------------===//

// What is wrong with a text is an error of the op.
static FailureOr<forms::Role> readRole(FormOp op, RoleAttr attr) {
  checkpoint::Result<forms::Role> role = forms::Role::parse(attr.getName().str(), attr.getDims().str());
  if (!role)
    return op.emitOpError() << role.error().message;
  role->isIndex |= attr.getIndex();
  role->isOptional = attr.getOptional();
  role->isShared = attr.getShared();
  role->indexOf = attr.getIndexOf() ? attr.getIndexOf().str() : "";
  role->variant = attr.getVariant() ? attr.getVariant().str() : "";
  return std::move(*role);
}

static FailureOr<forms::Signature> readSignature(FormOp op) {
  forms::Signature signature;
  signature.name = op.getSymName().str();
  for (Attribute kind : op.getKinds())
    signature.kinds.push_back(stringifySiteKind(cast<SiteKindAttr>(kind).getValue()).str());
  for (auto attr : op.getRoles().getAsRange<RoleAttr>()) {
    FailureOr<forms::Role> role = readRole(op, attr);
    if (failed(role))
      return failure();
    BlockArgument argument = op.getBody().empty() ? BlockArgument() : op.getRoleArgument(attr.getName());
    role->isPermutation =
        argument && llvm::any_of(argument.getUsers(), [](Operation *user) { return isa<PermuteOp>(user); });
    signature.roles.push_back(std::move(*role));
  }
  for (auto attr : op.getScalars().getAsRange<ScalarAttr>())
    signature.scalars.push_back(
        {attr.getName().str(),
         attr.getByDefault() ? std::optional(attr.getByDefault().getValueAsDouble()) : std::nullopt});
  for (auto attr : op.getIntegers().getAsRange<FormIntegerAttr>())
    signature.attributes.push_back({attr.getName().str(), attr.getByDefault()
                                                              ? std::optional(attr.getByDefault().getInt())
                                                              : std::nullopt});
  for (auto text : op.getDefinitions().getAsRange<StringAttr>()) {
    checkpoint::Result<forms::Definition> definition = forms::Definition::parse(text.str());
    if (!definition)
      return op.emitOpError() << definition.error().message;
    signature.definitions.push_back(std::move(*definition));
  }
  for (auto text : op.getRequirements().getAsRange<StringAttr>()) {
    checkpoint::Result<forms::Expression> requirement = forms::Expression::parse(text.str());
    if (!requirement)
      return op.emitOpError("'") << checkpoint::quotable(text.str()) << "' " << requirement.error().message;
    signature.requirements.push_back(std::move(*requirement));
  }
  for (auto text : op.getChoices().getAsRange<StringAttr>()) {
    checkpoint::Result<std::vector<std::set<std::string>>> choice = forms::parseChoice(text.str());
    if (!choice)
      return op.emitOpError() << choice.error().message;
    signature.choices.push_back(std::move(*choice));
  }
  for (auto text : op.getSliceable().getAsRange<StringAttr>())
    signature.sliceable.push_back(text.str());
  return signature;
}

forms::Signature FormOp::getSignature() { return std::move(*readSignature(*this)); }

BlockArgument FormOp::getRoleArgument(StringRef role) {
  for (auto [i, attr] : llvm::enumerate(getRoles().getAsRange<RoleAttr>()))
    if (attr.getName() == role && i < getBody().getNumArguments())
      return getBody().getArgument(i);
  return {};
}

bool FormOp::makesBias() { return getBody().front().getTerminator()->getNumOperands() > 1; }

// Whether a tensor is zero where the bias is.
static bool vanishes(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return false;
  if (isa<BiasOp>(op))
    return true;
  StringRef name = op->getName().getStringRef();
  if (name == "arith.mulf")
    return vanishes(op->getOperand(0)) || vanishes(op->getOperand(1));
  if (name == "arith.addf" || name == "arith.subf")
    return vanishes(op->getOperand(0)) && vanishes(op->getOperand(1));
  // Elements of such a tensor, and tensors of such elements.
  if (name == "tensor.generate")
    return vanishes(op->getRegion(0).front().getTerminator()->getOperand(0));
  return (name == "arith.negf" || name == "arith.divf" || name == "tensor.extract") &&
         vanishes(op->getOperand(0));
}

bool FormOp::keepsNoBias() {
  return makesBias() && vanishes(getBody().front().getTerminator()->getOperand(1));
}

LogicalResult FormOp::verify() {
  FailureOr<forms::Signature> signature = readSignature(*this);
  if (failed(signature))
    return failure();
  if (checkpoint::Status status = signature->verify(); !status)
    return emitOpError() << status.error().message;
  return success();
}

//===----------------------------------------------------------------------===//
// Bodies
//===----------------------------------------------------------------------===//

// Whether an op lies where an optional tensor is known to be given: because it was asked for, or because all groups of a
// choice have it that are left by what was asked.
static bool isWhereGiven(FormOp form, const forms::Signature &signature, Operation *op, StringRef role) {
  std::map<std::string, bool> asked;
  for (auto branch = op->getParentOfType<IfGivenOp>(); branch;
       branch = branch->getParentOfType<IfGivenOp>()) {
    auto tensor = dyn_cast<BlockArgument>(branch.getTensor());
    if (tensor && tensor.getArgNumber() < form.getRoles().size())
      asked[cast<RoleAttr>(form.getRoles()[tensor.getArgNumber()]).getName().str()] =
          branch.getGiven().isAncestor(op->getParentRegion());
  }
  if (auto found = asked.find(role.str()); found != asked.end())
    return found->second;
  return llvm::any_of(signature.choices, [&](const auto &choice) {
    std::set<std::string> named;
    for (const std::set<std::string> &group : choice)
      named.insert(group.begin(), group.end());
    auto isLeft = [&](const std::set<std::string> &group) {
      return llvm::all_of(asked, [&](const auto &each) {
        return !named.count(each.first) || group.count(each.first) == (each.second ? 1 : 0);
      });
    };
    return named.count(role.str()) && llvm::all_of(choice, [&](const std::set<std::string> &group) {
             return !isLeft(group) || group.count(role.str());
           });
  });
}

static LogicalResult verifySymbols(FormOp op, const forms::Signature &signature) {
  llvm::StringSet<> known;
  for (const char *name : {"out", "in", "cols", "groups"})
    known.insert(name);
  for (const forms::Role &role : signature.roles)
    for (const std::string &name : role.dims.reads())
      known.insert(name);
  for (const forms::IntegerAttribute &each : signature.attributes)
    known.insert(each.name);
  for (const forms::Definition &each : signature.definitions)
    known.insert(each.symbol);
  WalkResult result = op.getBody().walk([&](SymbolOp symbol) {
    if (known.contains(symbol.getName()))
      return WalkResult::advance();
    symbol.emitOpError("reads '") << symbol.getName() << "', which the form does not bind";
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

// Code cannot choose between maps or updates, nor carry them through loops: what they are is read off the body.
static LogicalResult verifyStructure(FormOp form) {
  WalkResult result = form.getBody().walk<WalkOrder::PreOrder>([&](Operation *op) {
    auto isStructure = [](Type type) { return isa<MapType, UpdateType>(type); };
    bool carries =
        llvm::any_of(op->getOperandTypes(), isStructure) || llvm::any_of(op->getResultTypes(), isStructure);
    if (!carries || isa<AdapterDialect>(op->getDialect()))
      return WalkResult::advance();
    op->emitOpError(
        "carries a map or an update, which loops and branches cannot do; carry tensors and make the map "
        "behind it, or choose by adapter.if_given");
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

// The bias is known where a bias is made; at the weight it is not.
static LogicalResult verifyBiasIsBeside(FormOp form) {
  SmallVector<Value> work{form.getBody().front().getTerminator()->getOperand(0)};
  llvm::DenseSet<Operation *> seen;
  while (!work.empty()) {
    Operation *op = work.pop_back_val().getDefiningOp();
    if (!op || !seen.insert(op).second)
      continue;
    WalkResult result = op->walk([&](Operation *inner) {
      if (isa<BiasOp>(inner)) {
        inner->emitOpError(
            "is read by what the form makes of the weight; the new bias alone may depend on the bias");
        return WalkResult::interrupt();
      }
      llvm::append_range(work, inner->getOperands());
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return failure();
  }
  return success();
}

LogicalResult FormOp::verifyRegions() {
  FailureOr<forms::Signature> signature = readSignature(*this);
  if (failed(signature) || failed(verifySymbols(*this, *signature)))
    return failure();
  Block &block = getBody().front();
  size_t expected = getRoles().size() + getScalars().size() + getIntegers().size();
  if (block.getNumArguments() != expected)
    return emitOpError("has a body of ")
           << block.getNumArguments() << " arguments for " << expected << " roles, scalars and whole numbers";
  for (auto [argument, attr] : llvm::zip(block.getArguments(), getRoles().getAsRange<RoleAttr>()))
    if (attr.getOptional())
      for (Operation *user : argument.getUsers())
        if (!isa<IfGivenOp>(user) && !isWhereGiven(*this, *signature, user, attr.getName()))
          return user->emitOpError("uses the optional tensor '")
                 << attr.getName().getValue() << "' outside of an adapter.if_given of it";
  auto end = dyn_cast_if_present<YieldOp>(block.empty() ? nullptr : &block.back());
  if (!end || end.getNumOperands() < 1 || end.getNumOperands() > 2 ||
      end.getOperand(0).getType() != viewUpdateType(getContext()))
    return emitOpError("needs a body that ends in adapter.yield of an ")
           << viewUpdateType(getContext()) << " and, where it makes one, a bias";
  auto bias =
      end.getNumOperands() > 1 ? dyn_cast<RankedTensorType>(end.getOperand(1).getType()) : RankedTensorType();
  if (end.getNumOperands() > 1 && (!bias || bias.getRank() != 1 || !bias.getElementType().isF64()))
    return end.emitOpError("yields a bias of type ")
           << end.getOperand(1).getType() << "; expected tensor<?xf64>";
  return failure(failed(verifyStructure(*this)) || failed(verifyBiasIsBeside(*this)));
}

LogicalResult adapter::verifyInForm(Operation *op) {
  return op->getParentOfType<FormOp>() ? success()
                                       : op->emitOpError("stands in the body of an adapter.form alone");
}

LogicalResult IfGivenOp::verify() {
  auto form = (*this)->getParentOfType<FormOp>();
  auto argument = dyn_cast<BlockArgument>(getTensor());
  bool isRole = argument && argument.getOwner() == &form.getBody().front() &&
                argument.getArgNumber() < form.getRoles().size();
  if (!isRole || !cast<RoleAttr>(form.getRoles()[argument.getArgNumber()]).getOptional())
    return emitOpError("asks for what is not an optional tensor of the form");
  for (Region *region : {&getGiven(), &getMissing()}) {
    auto end = region->front().empty() ? YieldOp() : dyn_cast<YieldOp>(region->front().back());
    if (!end || end.getOperandTypes() != getResultTypes())
      return emitOpError("needs regions that yield ") << getResultTypes();
  }
  return success();
}

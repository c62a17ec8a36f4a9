// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Models: parsing the file, operator sets, functions, the main graph.
#include "lib/Import/ONNX/Import.h"
#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Import/ONNX/GraphBody.h"
#include "lib/Import/ONNX/GraphImporter.h"
#include "lib/Import/ONNX/RunInference.h"
#include "lib/Support/ONNX/Attachments.h"
#include "lib/Support/ONNX/Residue.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <google/protobuf/io/coded_stream.h>

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using Model = OwningOpRef<onnxir::ModelOp>;

// Whether all nodes of the default domain spell it out, as some exporters do.
template <typename Nodes>
static bool domainsAreExplicit(const Nodes &nodes) {
  for (const ::onnx::NodeProto &node : nodes) {
    if (!node.has_domain())
      return false;
    for (const auto &attribute : node.attribute()) {
      if (!domainsAreExplicit(attribute.g().node()))
        return false;
      for (const auto &graph : attribute.graphs())
        if (!domainsAreExplicit(graph.node()))
          return false;
    }
  }
  return true;
}

// Domains and versions in turn; `plain` tells whether that is all that the list says.
template <typename List>
static ArrayAttr importOpsets(const List &list, Builder &builder, bool &plain) {
  SmallVector<Attribute> opsets;
  plain = true;
  for (const ::onnx::OperatorSetIdProto &each : list) {
    opsets.push_back(builder.getStringAttr(each.domain()));
    opsets.push_back(builder.getI64IntegerAttr(each.version()));
    plain &= each.has_domain() && each.has_version() && each.unknown_fields().empty();
  }
  return builder.getArrayAttr(opsets);
}

// What operators mean depends on their set's version: it must be there, and known.
static Status checkOpsets(onnxir::ModelOp model) {
  int64_t version = model.getOpsetVersion(""), newest = newestOpset();
  if (version < 0 || version > newest)
    return Error{"it imports version " + std::to_string(version) +
                 " of ONNX's operators, but this program knows those up to " + std::to_string(newest) +
                 "; export it with an older opset"};
  Status status = Done{};
  model.walk([&](onnxir::NodeOp node) {
    if ((node.getDomain().empty() || node.getDomain() == "ai.onnx") && !node.getOpsetVersion()) {
      status = Error{"it has a node of " + node.getOpType().str() +
                     ", but no opset_import says which version of ONNX's operators that is; export it again"};
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return status;
}

static Status importFunctions(::onnx::ModelProto &proto, onnxir::ModelOp model, GraphImporter &importer,
                              TensorReader &tensors) {
  OpBuilder builder = OpBuilder::atBlockEnd(&model.getBody().front());
  llvm::StringSet<> symbols = {"main"};
  for (::onnx::FunctionProto &function : *proto.mutable_functions()) {
    std::string place = "function '" + function.name() + "'";
    if (function.name().empty())
      return Error{"a function has no name"};
    std::string symbol = (function.domain().empty() ? "" : function.domain() + "::") + function.name();
    for (int i = 1; !symbols.insert(symbol).second; ++i)
      symbol = function.domain() + "::" + function.name() + ":" + std::to_string(i);
    OperationState state(NameLoc::get(builder.getStringAttr(function.name())),
                         onnxir::FunctionOp::getOperationName());
    NamedAttrList info;
    ArrayAttr inputNames;
    if (Status status = importer.importFunction(function, *state.addRegion(), info, inputNames); !status)
      return within(place, status.error());
    state.addAttribute("sym_name", builder.getStringAttr(symbol));
    state.addAttribute("domain", builder.getStringAttr(function.domain()));
    state.addAttribute("function_name", builder.getStringAttr(function.name()));
    state.addAttribute("input_names", inputNames);
    using F = ::onnx::FunctionProto;
    std::vector<int> covered = {F::kNameFieldNumber, F::kInputFieldNumber, F::kOutputFieldNumber,
                                F::kNodeFieldNumber, F::kValueInfoFieldNumber};
    if (!function.domain().empty())
      covered.push_back(F::kDomainFieldNumber);
    bool plain = false;
    ArrayAttr opsets = importOpsets(function.opset_import(), builder, plain);
    if (!opsets.empty())
      state.addAttribute("opsets", opsets);
    if (plain)
      covered.push_back(F::kOpsetImportFieldNumber);
    Result<std::string> extra = residueOf(function, covered, tensors);
    if (!extra)
      return within(place, extra.error());
    if (!extra->empty())
      info.set("extra", builder.getStringAttr(*extra));
    if (!info.empty())
      state.addAttribute("info", info.getDictionary(builder.getContext()));
    builder.create(state);
  }
  return Done{};
}

// What an earlier run wrote about adapters becomes ops; the rest of the metadata stays as it is.
static void importAttachments(::onnx::ModelProto &proto, onnxir::ModelOp model) {
  auto *list = proto.mutable_metadata_props();
  for (int i = 0; i < list->size(); ++i)
    if (list->Get(i).key() == attachmentsKey && readAttachments(list->Get(i).value(), model)) {
      list->DeleteSubrange(i, 1);
      return;
    }
}

static Result<Model> importModel(MLIRContext *context, std::shared_ptr<::onnx::ModelProto> proto,
                                 const std::string &folder, const std::string &linkedFolder,
                                 const ImportOptions &options) {
  context->getOrLoadDialect<onnxir::ONNXDialect>();
  OpBuilder builder(context);
  if (!proto->has_graph())
    return Error{"it holds no graph; is this an ONNX model?"};
  TensorReader tensors(ParameterStore::get(context), options.scope, folder, linkedFolder, proto);
  bool explicitDomains = domainsAreExplicit(proto->graph().node());
  for (const auto &function : proto->functions())
    explicitDomains = explicitDomains && domainsAreExplicit(function.node());
  explicitDomains &= proto->graph().node_size() > 0;

  bool plain = false;
  ArrayAttr opsets = importOpsets(proto->opset_import(), builder, plain);
  OperationState state(NameLoc::get(builder.getStringAttr(options.symbol)),
                       onnxir::ModelOp::getOperationName());
  state.addAttribute("sym_name", builder.getStringAttr(options.symbol));
  state.addAttribute("ir_version", builder.getI64IntegerAttr(proto->ir_version()));
  state.addAttribute("opsets", opsets);
  if (explicitDomains)
    state.addAttribute("explicit_domains", builder.getUnitAttr());
  state.addRegion()->emplaceBlock();
  Model model = cast<onnxir::ModelOp>(Operation::create(state));

  GraphImporter importer(context, tensors, explicitDomains);
  OperationState graph(builder.getUnknownLoc(), onnxir::GraphOp::getOperationName());
  NamedAttrList info;
  ArrayAttr inputNames;
  Status status =
      importer.importGraph(*proto->mutable_graph(), *graph.addRegion(), nullptr, info, inputNames);
  if (!status)
    return status.error();
  graph.addAttribute("sym_name", builder.getStringAttr("main"));
  graph.addAttribute("input_names", inputNames);
  if (!info.empty())
    graph.addAttribute("info", info.getDictionary(context));
  builder.setInsertionPointToEnd(&model->getBody().front());
  builder.create(graph);
  if (status = importFunctions(*proto, *model, importer, tensors); !status)
    return status.error();

  if (status = checkOpsets(*model); !status)
    return status.error();

  importAttachments(*proto, *model);
  using M = ::onnx::ModelProto;
  std::vector<int> covered = {M::kGraphFieldNumber, M::kFunctionsFieldNumber};
  if (proto->ir_version())
    covered.push_back(M::kIrVersionFieldNumber);
  if (plain)
    covered.push_back(M::kOpsetImportFieldNumber);
  Result<std::string> extra = residueOf(*proto, covered, tensors);
  if (!extra)
    return extra.error();
  if (!extra->empty())
    model->setExtra(*extra);
  if (tensors.sawExternal)
    model->setExternalData(true);
  return model;
}

static Result<Model> parseModel(MLIRContext *context, StringRef bytes, const std::string &name,
                                const std::string &folder, const std::string &linkedFolder,
                                ImportOptions options) {
  if (bytes.size() > std::numeric_limits<int>::max())
    return Error{name + ": the file has " + std::to_string(bytes.size() >> 20) +
                 " MiB, but ONNX files end at 2 GiB; save the model with external data"};
  auto proto = std::make_shared<::onnx::ModelProto>();
  if (bytes.empty() || !proto->ParsePartialFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Error{name + ": this is no ONNX model, or a damaged or truncated one; export it again"};
  if (options.symbol.empty()) {
    options.symbol = llvm::sys::path::stem(name).str();
    if (options.symbol.empty() || options.symbol == "-")
      options.symbol = "model";
  }
  Result<Model> model = importModel(context, std::move(proto), folder, linkedFolder, options);
  if (!model)
    return within(name, model.error());
  return model;
}

Result<Model> adapter::importONNXFile(MLIRContext *context, const std::string &path,
                                      const ImportOptions &options) {
  llvm::sys::fs::file_status status;
  std::error_code code = llvm::sys::fs::status(path, status);
  if (!code && status.type() == llvm::sys::fs::file_type::directory_file)
    code = std::make_error_code(std::errc::is_a_directory);
  if (code)
    return Error{path + ": cannot be read: " + code.message()};
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return Error{path + ": cannot be read: " + buffer.getError().message()};
  std::string folder = llvm::sys::path::parent_path(path).str();
  llvm::SmallString<256> real;
  std::string linkedFolder;
  if (llvm::sys::fs::is_symlink_file(path) && !llvm::sys::fs::real_path(path, real))
    linkedFolder = llvm::sys::path::parent_path(real).str();
  Result<Model> model =
      parseModel(context, (*buffer)->getBuffer(), path, folder.empty() ? "." : folder, linkedFolder, options);
  if (model)
    ParameterStore::get(context).setFile(options.scope, path);
  return model;
}

Result<Model> adapter::importONNXBytes(MLIRContext *context, StringRef bytes, const std::string &name,
                                       const ImportOptions &options) {
  return parseModel(context, bytes, name, "", "", options);
}

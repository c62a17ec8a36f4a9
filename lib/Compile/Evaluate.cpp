// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The evaluator: the pipeline of the CPU, LLVM's JIT linker, and a host table for one process.
#include "lib/Compile/Evaluate.h"
#include "adapter-rt/artifact.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Checkpoint/Work.h"
#include "lib/Support/ParameterStore.h"
#include "lib/Target/Target.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ThreadPool.h"
#include <cstdlib>
#include <mutex>
#include <set>

using namespace adapter;
using checkpoint::DType;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Tensor;

namespace {
// One call: its outputs, its memory and its failure.
struct Call {
  llvm::DefaultThreadPool *pool;
  const std::vector<DType> *outputTypes;
  std::vector<Tensor> outputs;
  std::mutex mutex;
  std::set<void *> memory;
  std::string failure;
};
} // namespace

static int64_t bytesOf(DType type) {
  switch (type) {
  case DType::F64:
  case DType::I64:
  case DType::U64:
  case DType::C64:
    return 8;
  case DType::F32:
  case DType::I32:
  case DType::U32:
    return 4;
  case DType::F16:
  case DType::BF16:
  case DType::I16:
  case DType::U16:
    return 2;
  default:
    return 1;
  }
}

static void *allocate(void *state, int64_t bytes) {
  auto *call = static_cast<Call *>(state);
  void *memory = bytes < 0 ? nullptr : std::aligned_alloc(64, (std::max<int64_t>(bytes, 1) + 63) / 64 * 64);
  std::lock_guard lock(call->mutex);
  if (memory)
    call->memory.insert(memory);
  return memory;
}

static void release(void *state, void *memory) {
  auto *call = static_cast<Call *>(state);
  {
    std::lock_guard lock(call->mutex);
    call->memory.erase(memory);
  }
  std::free(memory);
}

static void *placeOutput(void *state, int32_t index, int32_t rank, const int64_t *dims) {
  auto *call = static_cast<Call *>(state);
  Tensor &tensor = call->outputs[index];
  tensor.dtype = (*call->outputTypes)[index];
  tensor.shape.assign(dims, dims + rank);
  tensor.bytes = tensor.elements() * bytesOf(tensor.dtype);
  void *memory = std::aligned_alloc(64, (std::max<size_t>(tensor.bytes, 1) + 63) / 64 * 64);
  tensor.owner = std::shared_ptr<void>(memory, std::free);
  tensor.data = static_cast<const std::byte *>(memory);
  return memory;
}

static void recordFailure(void *state, const char *message, const int64_t *values, int32_t count) {
  auto *call = static_cast<Call *>(state);
  std::lock_guard lock(call->mutex);
  if (call->failure.empty())
    call->failure = checkpoint::putIn(message, values, count);
}

static void parallelFor(void *state, adapter_loop_body_v1 body, void *context, int64_t count, int64_t grain) {
  auto *call = static_cast<Call *>(state);
  int64_t pieces =
      std::max<int64_t>(1, std::min<int64_t>(call->pool->getMaxConcurrency() * 4, count / grain));
  llvm::ThreadPoolTaskGroup group(*call->pool);
  for (int64_t piece = 1; piece < pieces; ++piece)
    group.async([=] { body(context, count * piece / pieces, count * (piece + 1) / pieces); });
  body(context, 0, count / pieces);
  group.wait();
}

struct Evaluator::Implementation {
  struct Function {
    adapter_function_v1 entry;
    std::vector<DType> inputs, outputs;
  };
  std::unique_ptr<llvm::orc::LLJIT> jit;
  llvm::StringMap<Function> functions;
  llvm::DefaultThreadPool pool;
};

Evaluator::Evaluator() : implementation(std::make_unique<Implementation>()) {}
Evaluator::~Evaluator() = default;

static std::string text(llvm::Error error) { return llvm::toString(std::move(error)); }

Result<std::unique_ptr<Evaluator>> Evaluator::compile(mlir::ModuleOp module) {
  Result<Target> target = resolveTarget("cpu:native");
  if (!target)
    return target.error();
  std::unique_ptr<Evaluator> evaluator(new Evaluator());
  Implementation &self = *evaluator->implementation;
  for (auto function : module.getOps<mlir::func::FuncOp>()) {
    if (!function.isPublic() || function.isDeclaration())
      continue;
    Implementation::Function entry{};
    auto types = [](mlir::TypeRange range) {
      std::vector<DType> result;
      for (mlir::Type type : range)
        result.push_back(dtypeOf(mlir::cast<mlir::ShapedType>(type).getElementType()));
      return result;
    };
    entry.inputs = types(function.getArgumentTypes());
    entry.outputs = types(function.getResultTypes());
    self.functions[function.getName()] = entry;
  }
  mlir::OwningOpRef<mlir::ModuleOp> clone(module.clone());
  mlir::PassManager manager(module.getContext(), mlir::ModuleOp::getOperationName());
  // The phases from tensors on: there is no graph, and nothing left to stage.
  for (const Phase &phase : codegenPhases(TargetKind::CPU))
    if (phase.name != "linalg" && phase.name != "stage")
      phase.build(manager, target->codegen);
  if (mlir::failed(manager.run(*clone)))
    return Error{"the build-time part of the model cannot be compiled"};
  if (checkpoint::isCancelled())
    return checkpoint::cancelledError();
  Result<llvm::SmallVector<char, 0>> object = emitObject(*clone, *target);
  if (!object)
    return object.error();
  auto jit = llvm::orc::LLJITBuilder().create();
  if (!jit)
    return Error{"no JIT on this machine: " + text(jit.takeError())};
  self.jit = std::move(*jit);
  auto buffer = llvm::MemoryBuffer::getMemBufferCopy(llvm::StringRef(object->data(), object->size()));
  if (llvm::Error error = self.jit->addObjectFile(std::move(buffer)))
    return Error{"the build-time part of the model cannot be loaded: " + text(std::move(error))};
  for (auto &function : self.functions) {
    auto symbol = self.jit->lookup(entrySymbol(function.first()));
    if (!symbol)
      return Error{"internal error: " + text(symbol.takeError())};
    function.second.entry = symbol->toPtr<adapter_function_v1>();
  }
  return evaluator;
}

Result<std::vector<Tensor>> Evaluator::run(llvm::StringRef name, llvm::ArrayRef<Tensor> inputs) {
  auto found = implementation->functions.find(name);
  if (found == implementation->functions.end())
    return Error{"internal error: no build-time function " + name.str()};
  Implementation::Function &function = found->second;
  if (inputs.size() != function.inputs.size())
    return Error{"internal error: " + name.str() + " takes another number of inputs"};
  std::vector<adapter_tensor_v1> tensors;
  for (auto [input, dtype] : llvm::zip(inputs, function.inputs)) {
    if (input.dtype != dtype)
      return Error{"internal error: " + name.str() + " takes another element type for '" + input.key + "'"};
    tensors.push_back({const_cast<std::byte *>(input.data), input.shape.data(),
                       static_cast<int32_t>(input.shape.size()), static_cast<int32_t>(input.dtype)});
  }
  Call call;
  call.pool = &implementation->pool;
  call.outputTypes = &function.outputs;
  call.outputs.resize(function.outputs.size());
  adapter_host_v1 host{
      sizeof(adapter_host_v1), ADAPTER_ABI_VERSION, &call, parallelFor, allocate, release, placeOutput,
      recordFailure,
      /*device=*/nullptr,
      /*collectives=*/nullptr,
      /*routed=*/nullptr};
  if (checkpoint::isCancelled())
    return checkpoint::cancelledError();
  adapter_call_v1 arguments{};
  arguments.host = &host;
  arguments.inputs = tensors.data();
  arguments.input_count = tensors.size();
  int32_t status = function.entry(&arguments);
  for (void *memory : call.memory)
    std::free(memory);
  if (status != 0 || !call.failure.empty())
    return Error{call.failure.empty() ? "evaluation failed" : call.failure};
  return std::move(call.outputs);
}

mlir::FailureOr<Evaluator *>
EvaluatorCache::get(mlir::ModuleOp module, mlir::Operation *op,
                    llvm::function_ref<mlir::LogicalResult(mlir::ModuleOp)> lower) {
  std::string text;
  llvm::raw_string_ostream(text) << *module;
  auto known = evaluators.find(text);
  if (known != evaluators.end())
    return known->second.get();
  if (lower && mlir::failed(lower(module)))
    return mlir::failure();
  Result<std::unique_ptr<Evaluator>> compiled = Evaluator::compile(module);
  if (!compiled)
    return op->emitError() << compiled.error().message;
  return evaluators.try_emplace(text, std::move(*compiled)).first->second.get();
}

Result<std::vector<Tensor>> adapter::evaluate(mlir::ModuleOp module, llvm::StringRef function,
                                              llvm::ArrayRef<Tensor> inputs) {
  Result<std::unique_ptr<Evaluator>> evaluator = Evaluator::compile(module);
  if (!evaluator)
    return evaluator.error();
  return (*evaluator)->run(function, inputs);
}

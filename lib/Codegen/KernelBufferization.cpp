// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// BufferizableOpInterface of kernel ops.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/Passes.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace adapter;

namespace {

/// Destination-style ops: the same op on buffers, without results.
template <typename OpT>
struct DestinationModel : DstBufferizableOpInterfaceExternalModel<DestinationModel<OpT>, OpT> {
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand, const AnalysisState &) const {
    return !cast<DestinationStyleOpInterface>(op).isDpsInit(&operand) || op->hasAttr("accumulate");
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &options,
                          BufferizationState &state) const {
    SmallVector<Value> operands, outputs;
    for (OpOperand &operand : op->getOpOperands()) {
      Value value = operand.get();
      if (isa<TensorType>(value.getType())) {
        FailureOr<Value> buffer = getBuffer(rewriter, value, options, state);
        if (failed(buffer))
          return failure();
        value = *buffer;
      }
      operands.push_back(value);
      if (cast<DestinationStyleOpInterface>(op).isDpsInit(&operand))
        outputs.push_back(value);
    }
    OperationState created(op->getLoc(), op->getName(), operands, TypeRange(), op->getAttrs());
    rewriter.setInsertionPoint(op);
    rewriter.create(created);
    replaceOpWithBufferizedValues(rewriter, op, outputs);
    return success();
  }
};

/// A parameter is a buffer that nobody may write.
struct ParameterModel : BufferizableOpInterface::ExternalModel<ParameterModel, kernel::ParameterOp> {
  AliasingOpOperandList getAliasingOpOperands(Operation *, Value, const AnalysisState &) const { return {}; }
  AliasingValueList getAliasingValues(Operation *, OpOperand &, const AnalysisState &) const { return {}; }
  bool isWritable(Operation *, Value, const AnalysisState &) const { return false; }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &,
                          BufferizationState &) const {
    auto parameter = cast<kernel::ParameterOp>(op);
    auto type = cast<RankedTensorType>(parameter.getType());
    replaceOpWithNewBufferizedOp<kernel::ParameterOp>(
        rewriter, op, MemRefType::get(type.getShape(), type.getElementType()), parameter.getIndexAttr());
    return success();
  }
};

/// A reshape is a view. The rows of a part of a tensor are not contiguous, so that it is copied first.
struct ReshapeModel : BufferizableOpInterface::ExternalModel<ReshapeModel, kernel::ReshapeOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &, const AnalysisState &) const { return false; }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &, const AnalysisState &) const { return false; }
  AliasingValueList getAliasingValues(Operation *op, OpOperand &operand, const AnalysisState &) const {
    if (operand.getOperandNumber() != 0)
      return {};
    return {{op->getOpResult(0), BufferRelation::Equivalent}};
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto reshape = cast<kernel::ReshapeOp>(op);
    FailureOr<Value> source = getBuffer(rewriter, reshape.getSource(), options, state);
    if (failed(source))
      return failure();
    if (auto apart = cast<MemRefType>(source->getType()); !apart.getLayout().isIdentity()) {
      auto together = MemRefType::get(apart.getShape(), apart.getElementType());
      SmallVector<Value> sizes;
      for (int64_t dim = 0; dim < apart.getRank(); ++dim)
        if (apart.isDynamicDim(dim))
          sizes.push_back(memref::DimOp::create(rewriter, op->getLoc(), *source, dim));
      FailureOr<Value> copy = options.createAlloc(rewriter, op->getLoc(), together, sizes);
      if (failed(copy) || failed(options.createMemCpy(rewriter, op->getLoc(), *source, *copy)))
        return failure();
      source = copy;
    }
    auto type = cast<RankedTensorType>(reshape.getType());
    replaceOpWithNewBufferizedOp<kernel::ReshapeOp>(
        rewriter, op, MemRefType::get(type.getShape(), type.getElementType()), *source, reshape.getSizes());
    return success();
  }
};

} // namespace

void adapter::registerKernelBufferization(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, kernel::KernelDialect *) {
    kernel::ParameterOp::attachInterface<ParameterModel>(*context);
    kernel::ReshapeOp::attachInterface<ReshapeModel>(*context);
    kernel::LinearOp::attachInterface<DestinationModel<kernel::LinearOp>>(*context);
    kernel::BatchMatmulOp::attachInterface<DestinationModel<kernel::BatchMatmulOp>>(*context);
    kernel::AttentionOp::attachInterface<DestinationModel<kernel::AttentionOp>>(*context);
    kernel::UnpackOp::attachInterface<DestinationModel<kernel::UnpackOp>>(*context);
    kernel::RowLinearOp::attachInterface<DestinationModel<kernel::RowLinearOp>>(*context);
    kernel::RowEmbeddingOp::attachInterface<DestinationModel<kernel::RowEmbeddingOp>>(*context);
    kernel::RowBottleneckOp::attachInterface<DestinationModel<kernel::RowBottleneckOp>>(*context);
    kernel::RowVectorsOp::attachInterface<DestinationModel<kernel::RowVectorsOp>>(*context);
    kernel::UpdateWeightOp::attachInterface<DestinationModel<kernel::UpdateWeightOp>>(*context);
    kernel::PackOp::attachInterface<DestinationModel<kernel::PackOp>>(*context);
    kernel::EncodeOp::attachInterface<DestinationModel<kernel::EncodeOp>>(*context);
    kernel::DecodeOp::attachInterface<DestinationModel<kernel::DecodeOp>>(*context);
    kernel::DequantizeOp::attachInterface<DestinationModel<kernel::DequantizeOp>>(*context);
    kernel::RepackOp::attachInterface<DestinationModel<kernel::RepackOp>>(*context);
    kernel::TopKOp::attachInterface<DestinationModel<kernel::TopKOp>>(*context);
    kernel::DispatchOp::attachInterface<DestinationModel<kernel::DispatchOp>>(*context);
    kernel::GatherRowsOp::attachInterface<DestinationModel<kernel::GatherRowsOp>>(*context);
    kernel::GroupedLinearOp::attachInterface<DestinationModel<kernel::GroupedLinearOp>>(*context);
    kernel::CombineOp::attachInterface<DestinationModel<kernel::CombineOp>>(*context);
    kernel::UniqueRowsOp::attachInterface<DestinationModel<kernel::UniqueRowsOp>>(*context);
    kernel::ArrangeRowsOp::attachInterface<DestinationModel<kernel::ArrangeRowsOp>>(*context);
    kernel::AllToAllOp::attachInterface<DestinationModel<kernel::AllToAllOp>>(*context);
    kernel::AllToAllRowsOp::attachInterface<DestinationModel<kernel::AllToAllRowsOp>>(*context);
    kernel::AllGatherRowsOp::attachInterface<DestinationModel<kernel::AllGatherRowsOp>>(*context);
  });
}

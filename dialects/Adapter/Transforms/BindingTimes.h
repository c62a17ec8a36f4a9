// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The analysis of binding times: when each value becomes known.
#ifndef ADAPTER_DIALECTS_ADAPTER_TRANSFORMS_BINDINGTIMES_H
#define ADAPTER_DIALECTS_ADAPTER_TRANSFORMS_BINDINGTIMES_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "mlir/Analysis/DataFlow/SparseAnalysis.h"

namespace adapter {

/// A time, or nothing yet; the later one holds.
struct KnownAt {
  std::optional<BindingTime> time;

  bool operator==(const KnownAt &other) const { return time == other.time; }
  static KnownAt join(const KnownAt &a, const KnownAt &b) { return {a.time < b.time ? b.time : a.time}; }
  void print(llvm::raw_ostream &os) const { os << (time ? stringifyBindingTime(*time) : "unknown"); }
};

using TimeLattice = mlir::dataflow::Lattice<KnownAt>;

class BindingTimeAnalysis : public mlir::dataflow::SparseForwardDataFlowAnalysis<TimeLattice> {
public:
  using SparseForwardDataFlowAnalysis::SparseForwardDataFlowAnalysis;
  mlir::LogicalResult visitOperation(mlir::Operation *op, llvm::ArrayRef<const TimeLattice *> operands,
                                     llvm::ArrayRef<TimeLattice *> results) override;
  void setToEntryState(TimeLattice *lattice) override;
};

/// The time that an op declares, `adapter.time`.
inline constexpr const char *declaredTimeAttribute = "adapter.time";
/// The time that was inferred.
inline constexpr const char *inferredTimeAttribute = "adapter.inferred";

} // namespace adapter

#endif // ADAPTER_DIALECTS_ADAPTER_TRANSFORMS_BINDINGTIMES_H

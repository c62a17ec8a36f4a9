// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The adapter dialect: what adapters compute.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_ADAPTERDIALECT_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_ADAPTERDIALECT_TD

include "mlir/IR/DialectBase.td"

def Adapter_Dialect : Dialect {
  let name = "adapter";
  let summary = "Adapters: parameters by name, updates of weights, and when they are bound";
  let description = [{
    Says what an adapter computes. Parameters are named, not inlined. An update is an SSA value that maps a
    parameter to its adapted self; ops make updates from factors and combine them. When a value becomes known
    (build, load, switch, call, row) is declared on parameters' scopes and inferred everywhere else.
  }];
  let cppNamespace = "::adapter";
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let extraClassDeclaration = [{
    /// Where parameters' contents come from; set by the tool, null where only IR is at hand.
    void setParameterProvider(std::shared_ptr<ParameterProvider> newProvider) { provider = std::move(newProvider); }
    ParameterProvider *getParameterProvider() const { return provider.get(); }
    /// The definitions that this context knows, whatever keeps them (lib/Forms).
    void setForms(std::shared_ptr<void> newForms) { forms = std::move(newForms); }
    void *getForms() const { return forms.get(); }

  private:
    std::shared_ptr<ParameterProvider> provider;
    std::shared_ptr<void> forms;
  }];
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_ADAPTERDIALECT_TD

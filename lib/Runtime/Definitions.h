// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Forms that the artifact's manifest defines, at its sites.
#ifndef ADAPTER_LIB_RUNTIME_DEFINITIONS_H
#define ADAPTER_LIB_RUNTIME_DEFINITIONS_H

#include "lib/Artifact/manifest.pb.h"
#include "lib/Checkpoint/Adapter.h"
#include "lib/Signature/Signature.h"

namespace adapter::runtime {

// What a definition asks of an adapter; an error where its texts have no meaning.
checkpoint::Result<forms::Signature> signatureOf(const artifact::FormDefinition &definition);

// A site as signatures see it. Of a bias it is the weight's beside it that counts.
forms::Place placeOf(const artifact::Site &site);

// The definition of a form for a kind of parameter, as the compiler chose it: null where there is none.
const artifact::FormDefinition *findDefinition(const artifact::Manifest &manifest, const std::string &form,
                                               const std::string &kind);

// The method that a definition is of; one may have several, for kinds of parameters.
std::string methodOf(const artifact::FormDefinition &definition);
// One of a method's definitions; null where there is none.
const artifact::FormDefinition *anyDefinition(const artifact::Manifest &manifest, const std::string &method);

// What an update is called at sites: by its form and the optional tensors that it has.
checkpoint::Result<std::string> labelOf(const artifact::FormDefinition &definition,
                                        const checkpoint::Update &update);

// Its form, with the variant that the tensors say behind a "+", as slots name it.
checkpoint::Result<std::string> variantOf(const artifact::FormDefinition &definition,
                                          const checkpoint::Update &update);

// Places the tensors of an adapter whose form is its user's own.
checkpoint::Status placeOwnForm(const artifact::Manifest &manifest, checkpoint::Adapter &adapter);

// Adds what forms make of biases, as updates of their own behind those of the weights.
void addBiasUpdates(const artifact::Manifest &manifest, checkpoint::Adapter &adapter);

// What compiled functions take beside tensors, each in the order that they want.
struct FormNumbers {
  std::vector<double> scalars;
  std::vector<int64_t> symbols;
  int64_t scale = -1; // which of the scalars is the scale
  int64_t rank = -1;  // which of the symbols a rank setting is about
};

// Checks an update's tensors, brings them to the dimensions that the form's body wants, and collects its numbers.
checkpoint::Result<FormNumbers> bindDefinition(const artifact::FormDefinition &definition,
                                               const artifact::Site &site, const checkpoint::Update &update,
                                               std::map<std::string, checkpoint::Tensor> &tensors);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_DEFINITIONS_H

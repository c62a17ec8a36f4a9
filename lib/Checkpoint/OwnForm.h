// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Folders of type ADAPTER_OPT_FORM: an adapter of a method that its user defines. What its tensors mean is in the
// definition alone, so they are placed once that is at hand.
#ifndef ADAPTER_LIB_CHECKPOINT_OWNFORM_H
#define ADAPTER_LIB_CHECKPOINT_OWNFORM_H

#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/PeftConfig.h"

namespace adapter::checkpoint {

// A tensor that a definition asks for.
struct OwnRole {
  std::string name;
  bool isShared = false;
};

// A number that a definition asks for; without a default it must be given.
struct OwnScalar {
  std::string name;
  std::optional<double> byDefault;
};

// What the definitions of a name ask for, those for some kinds of parameters included.
struct OwnDefinition {
  std::vector<OwnRole> roles;
  std::vector<OwnScalar> scalars;
  std::string hash;  // empty: there is none
  int64_t kinds = 0; // how many definitions have the name
};

// The folder of such an adapter, as far as it can be read without the definition.
struct OwnForm {
  std::string form, hash; // `hash` may be empty
  std::string file;
  std::vector<Tensor> tensors;
  // Of all modules, and of some.
  std::map<std::string, double> scalars;
  std::map<std::string, int64_t> attributes;
  std::map<std::string, std::map<std::string, double>> moduleScalars;
  std::map<std::string, std::map<std::string, int64_t>> moduleAttributes;
};

Status readOwnForm(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                   Adapter &adapter);

// Makes the updates of such an adapter from its tensors: keys are base_model.model.<module>.<role>, and
// base_model.<role> for roles that all modules share. Scalars are those of the definition, all that have no default.
Status placeOwnForm(Adapter &adapter, const OwnDefinition &definition);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_OWNFORM_H

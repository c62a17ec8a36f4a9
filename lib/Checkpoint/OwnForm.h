// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Folders of type ADAPTER_OPT_FORM: an adapter of a method that its user defines. What its tensors mean is in the
// definition alone, so they are placed once that is at hand.
#ifndef ADAPTER_LIB_CHECKPOINT_OWNFORM_H
#define ADAPTER_LIB_CHECKPOINT_OWNFORM_H

#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/PeftConfig.h"
#include <set>

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

// What the configuration says of some module.
struct OwnModule {
  std::string form;      // empty: the folder's
  std::string parameter; // that the form acts on; empty: the weight
  bool tied = false;     // as Update::tied
  std::map<std::string, double> scalars;
  std::map<std::string, int64_t> attributes;
};

// The folder of such an adapter, as far as it can be read without the definitions.
struct OwnForm {
  std::string form;                          // of modules that name none; empty where all do
  std::map<std::string, std::string> hashes; // by form, of those that the folder insists on
  std::string file;
  std::vector<Tensor> tensors;
  // Of all modules of the folder's form, and of some modules.
  std::map<std::string, double> scalars;
  std::map<std::string, int64_t> attributes;
  std::map<std::string, OwnModule> modules;

  std::set<std::string> forms() const;
  const std::string &formOf(const std::string &module) const;
};

Status readOwnForm(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                   Adapter &adapter);

// Makes the updates of such an adapter from its tensors: keys are base_model.model.<module>.<role>, and
// base_model.<role> for roles that all modules share. Scalars are those of the definition, all that have no default.
// `definitions` has all of the folder's forms.
Status placeOwnForm(Adapter &adapter, const std::map<std::string, OwnDefinition> &definitions);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_OWNFORM_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The reader of PEFT's methods whose computation is a definition (lib/Forms/Library): a method is a row of a table, which
// says what files call the form's tensors, and what of the configuration the form asks for.
#ifndef ADAPTER_LIB_CHECKPOINT_FORMREADER_H
#define ADAPTER_LIB_CHECKPOINT_FORMREADER_H

#include "lib/Checkpoint/PeftReader.h"

namespace adapter::checkpoint {

struct Method;

class FormReader final : public PeftReader {
public:
  FormReader(const Method &method, const PeftConfig &config, const std::string &file, Adapter &adapter)
      : PeftReader(config, file, adapter), method(method) {}

  // What rows of a table are made of.
  using PeftReader::config;
  using PeftReader::file;
  using PeftReader::Module;
  using PeftReader::modules;
  using PeftReader::Place;
  using PeftReader::wrong;

  // A field that is true or false, as an attribute.
  Status takeSwitch(const char *field, const char *attribute, Update &update) const;
  // A positive whole number.
  Status takeCount(const char *field, int64_t missing, const char *attribute, Update &update) const;
  // A number, as the scale; it must be finite.
  Status takeScale(const char *field, double missing, Update &update) const;
  // alpha / r with r and alpha of the configuration and its patterns: whole factors do not show their rank.
  Status takeAlpha(const std::string &path, Update &update) const;
  Status refuseRole(const Module &module, const char *role, const char *why) const;
  // Of tensors that are shared by some modules, "<role>.<name>": into the update, or an error that says that it is missing.
  Status takeShared(const std::string &role, const std::string &name, const std::string &path,
                    Update &update);
  // Tensors "<role>.0", "<role>.1", ... of one shape as one with an axis in front.
  Status stack(const std::string &role, const Module &module, Update &update) const;

  // Updates of the module beside the one that a row finishes, which come behind it.
  std::vector<Update> more;

private:
  std::vector<Place> places() const override;
  const std::set<std::string> &knownFields() const override;
  const std::map<std::string, const char *> &refusedFields() const override;
  Status readTuned(const std::string &path, const Module &module) override;
  Status checkAll() const override;

  const Method &method;
  std::set<std::string> taken; // roles of shared tensors
};

struct Method {
  const char *form;
  std::vector<FormReader::Place> places;
  std::set<std::string> known; // fields that are obeyed, or have no bearing on the result
  std::map<std::string, const char *> refused;
  // Scalars, attributes, and another form where the configuration says so; with the form "" the module has no update but
  // those in `more`.
  Status (*finish)(FormReader &reader, const std::string &path, const FormReader::Module &module,
                   Update &update);
};

// By peft_type in lower case: sums of thin products, other differences, and what multiplies the weight.
using Methods = std::map<std::string, Method>;
const Methods &lowRankMethods();
const Methods &differenceMethods();
const Methods &multiplicativeMethods();

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_FORMREADER_H

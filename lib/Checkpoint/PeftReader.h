// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What PEFT's methods have in common on disk: fields of the configuration that every method has, tensors by
// the end of their key, whole parameters saved along. A method derives from it.
#ifndef ADAPTER_LIB_CHECKPOINT_PEFTREADER_H
#define ADAPTER_LIB_CHECKPOINT_PEFTREADER_H

#include "lib/Checkpoint/PeftConfig.h"
#include <map>
#include <set>
#include <string>
#include <vector>

namespace adapter::checkpoint {

class PeftReader {
public:
  PeftReader(const PeftConfig &config, const std::string &file, Adapter &adapter)
      : config(config), file(file), adapter(adapter) {}
  virtual ~PeftReader() = default;
  Status run(const Safetensors &tensors);

protected:
  // The tensors of one module, by their place in the file.
  struct Module {
    std::map<std::string, const Tensor *> tuned;   // the method's own, by role
    std::map<std::string, const Tensor *> base;    // <module>.base_layer.<parameter>
    std::map<std::string, const Tensor *> saved;   // <module>.modules_to_save.<parameter>
    std::map<std::string, const Tensor *> plain;   // <module>.<parameter>
    std::map<std::string, const Tensor *> buffers; // integers in any of these places but the first
    std::string named; // the path with its wrappers, as the configuration may name it

    const Tensor *role(const std::string &name) const {
      auto it = tuned.find(name);
      return it == tuned.end() ? nullptr : it->second;
    }
  };

  // What the end of a key says of its tensor. An end with a component "*" takes any there, and the role is
  // "<role>.<component>".
  struct Place {
    const char *end, *role;
    bool integers = false; // indices rather than values
    bool shared = false;   // one tensor for all modules, at the top level
  };
  virtual std::vector<Place> places() const = 0;
  // Fields of the method without a bearing on the result, and those that its reader obeys.
  virtual const std::set<std::string> &knownFields() const = 0;
  // Fields that change the result in a way that is not supported, with what to do.
  virtual const std::map<std::string, const char *> &refusedFields() const = 0;
  virtual Status checkMethod() const { return Done{}; }
  // Adds the updates of a module's own tensors, of which there is one at least.
  virtual Status readTuned(const std::string &path, const Module &module) = 0;
  // After all modules.
  virtual Status checkAll() const { return Done{}; }

  Error wrong(const Tensor &tensor, const std::string &problem) const {
    return Error{file + ": tensor '" + tensor.key + "' " + problem};
  }
  Update made(const std::string &path, const std::string &parameter, const std::string &form) const;
  Update &add(const std::string &path, const std::string &parameter, const std::string &form);
  // PeftConfig's, of a module with and without the wrappers around it.
  Result<std::string> whyNotTarget(const std::string &path, const Module &module) const;

  const PeftConfig &config;
  const std::string &file;
  Adapter &adapter;
  std::map<std::string, Module> modules;
  std::map<std::string, const Tensor *> shared; // by role

private:
  Result<bool> placeShared(const Tensor &tensor, const std::string &path);
  Status checkFields() const;
  Status place(const Tensor &tensor);
  Status placeTuned(const Tensor &tensor, const Place &place, const std::string &role,
                    const std::string &path, const std::string &named);
  Status checkType(const Tensor &tensor, const Place &place) const;
  Status placeWhole(const Tensor &tensor, std::string path);
  Status put(const Tensor *&held, const Tensor &tensor) const;
  Status checkName(const std::string &name, const Tensor &tensor);
  Status checkBuffers(const std::string &path, const Module &module) const;
  Status readWhole(const std::string &path, const Module &module);
  Status checkPlain(const std::string &path, const std::string &parameter, const Module &module) const;

  std::string adapterName; // in the keys, if so
  const Tensor *firstNamed = nullptr;
};

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_PEFTREADER_H

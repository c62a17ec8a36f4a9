// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parameters in which updates of few elements are put in place. A copy shares the pages of the parameter file
// until they are written; once nobody reads it any more, what was written is restored, and the copy serves
// again: a switch costs the elements of the old and of the new update.
#ifndef ADAPTER_LIB_RUNTIME_TOUCHED_H
#define ADAPTER_LIB_RUNTIME_TOUCHED_H

#include "lib/Runtime/Sources.h"
#include <mutex>

namespace adapter::runtime {

class TouchedCopies : public std::enable_shared_from_this<TouchedCopies> {
public:
  TouchedCopies(std::shared_ptr<const Artifact> artifact, Resources &resources)
      : artifact(std::move(artifact)), resources(resources) {}

  // A copy of a site's parameter with an update in it. It comes back here when its last reader lets go of it.
  // Not to be called by several threads at once for one parameter.
  Result<std::shared_ptr<void>> apply(const SiteUpdate &update, double scale);
  // Puts an update into a parameter that nobody else reads.
  Status applyInPlace(const SiteUpdate &update, double scale, void *weights);

private:
  struct Copy {
    std::shared_ptr<void> memory;
    SiteUpdate update; // what is in it
    double scale = 1;
  };
  Status run(int function, const SiteUpdate &update, double scale, void *weights);
  Result<Copy> pristineCopy(int parameter, const SiteUpdate &update);

  std::shared_ptr<const Artifact> artifact;
  Resources &resources;
  std::mutex mutex;                      // of `idle`
  std::map<int, std::vector<Copy>> idle; // by parameter
};

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_TOUCHED_H

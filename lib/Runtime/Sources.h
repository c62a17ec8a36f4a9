// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What an artifact holds, and where the tensors of its adapters come from.
#ifndef ADAPTER_LIB_RUNTIME_SOURCES_H
#define ADAPTER_LIB_RUNTIME_SOURCES_H

#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/Safetensors.h"
#include "lib/Runtime/Code.h"
#include "lib/Runtime/Definitions.h"
#include "lib/Runtime/FileCheck.h"
#include "lib/Runtime/Host.h"
#include <map>
#include <optional>

namespace adapter::runtime {

using checkpoint::Tensor;

// An opened artifact; never changes.
struct Artifact {
  std::string folder;
  artifact::Manifest manifest;
  Code code;
  std::vector<Tensor> parameters;                   // mapped, by row of the manifest's table
  std::vector<const void *> pristine;               // their data
  std::vector<checkpoint::Safetensors> tensorFiles; // in the order of the manifest's `files`
  std::shared_ptr<FileCheck> check;                 // numbers the files in the same order
  int banks = 0;
  bool looksAtRows = false; // a form of a site looks at all positions of a row, so that rows stay apart
};

// Opens an artifact and, if so wished, starts comparing its files with their hashes in the background. What is parsed
// or run here is compared first.
Result<std::shared_ptr<const Artifact>> openArtifact(const std::string &folder, bool checks);
// The number of a file of the manifest, which knows it.
size_t fileNumber(const artifact::Manifest &manifest, const std::string &name);

// Whether what acts at a site leaves the weight as it is, and has an entry in a bank.
inline bool isBeside(const artifact::Site &site) { return site.bank() >= 0; }

// One update, at one site of the artifact.
struct SiteUpdate {
  int site, form; // form: its number among the site's
  double scale;
  int64_t rank;                       // of low-rank forms, else 0
  std::vector<Tensor> tensors;        // f32 or int64, in the order of the form's roles; shapes are checked
  std::optional<FormNumbers> numbers; // of forms that are definitions
  int weightSite = -1;                // of what a form makes of a bias: that of the weight beside it
  std::shared_ptr<const checkpoint::Update>
      skills; // what the tensors of tasks are mixed from, where there are several
};

// An adapter in terms of the artifact's sites.
struct Source {
  std::string name;
  std::string origin; // a path, or "artifact"
  artifact::Time time;
  std::vector<SiteUpdate> updates;
  std::vector<std::string> bound; // properties that come with the call
  bool byToken = false;           // of a row-bound one: it may act on some tokens of a row alone
  std::optional<size_t> file;     // the artifact's, where it comes from there
  std::string baseDigest;         // of the base that it was made of, where its folder says so
  std::string slot;               // the one that it arrived in; empty: none
  std::string hash;               // of its contents

  // It acts by itself while it is switched in or loaded: in new weights or, where a site has a bank, beside the weight.
  bool inWeights() const { return time == artifact::SWITCH || time == artifact::LOAD; }
  bool actsBeside(const Artifact &artifact) const; // at some site
  int64_t highestRank() const;
  int64_t tasks() const; // that it tells apart; 0: it does not
};

// An adapter that the artifact was built with. Its file is compared with its hashes first, but for one that waits to be
// switched in.
Result<Source> readBuiltIn(const Artifact &artifact, const artifact::Adapter &adapter);
// A checkpoint, matched to the sites of a slot.
Result<Source> readCheckpoint(const Artifact &artifact, const std::string &name, const std::string &path,
                              const char *slot);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_SOURCES_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The manifest as the runtime uses it: parsed, and checked so that no index in it can lead astray.
#ifndef ADAPTER_LIB_RUNTIME_MANIFEST_H
#define ADAPTER_LIB_RUNTIME_MANIFEST_H

#include "lib/Artifact/manifest.pb.h"
#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Checkpoint/Json.h"
#include "lib/Checkpoint/Result.h"
#include <string>

namespace adapter::runtime {

constexpr const char *parameterFile = "parameters.safetensors";

// Parses manifest.pb. `functions` is the number of functions of the code.
checkpoint::Result<artifact::Manifest> parseManifest(const void *data, size_t size, uint64_t functions,
                                                     const std::string &where);

checkpoint::Json manifestToJson(const artifact::Manifest &manifest);

const char *timeName(artifact::Time time);
// "model.layers.0.q_proj.weight"
std::string siteName(const artifact::Site &site);
// The form of a site that is called so, or is the module: its number, or -1.
int findForm(const artifact::Site &site, const std::string &form);
int findForm(const artifact::Site &site, const checkpoint::Bottleneck &bottleneck);
// What a form's module computes, where it is one; the manifest is checked.
checkpoint::Bottleneck bottleneckOf(const artifact::Bottleneck &from);
// For messages: "lora", "bottleneck+relu".
std::string formText(const artifact::SiteForm &form);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_MANIFEST_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Resolution of target names.
#include "lib/Target/Target.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"

using llvm::StringMap;
using llvm::StringRef;
using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;

// LLVM's names of the features that decide what code is generated, with /proc/cpuinfo's.
static constexpr std::pair<const char *, const char *> x86Features[] = {
    {"avx2", "avx2"},         {"fma", "fma"},           {"bmi2", "bmi2"},
    {"f16c", "f16c"},         {"avx512f", "avx512f"},   {"avx512bw", "avx512bw"},
    {"avx512dq", "avx512dq"}, {"avx512vl", "avx512vl"}, {"avx512cd", "avx512cd"},
};

Result<Target> adapter::resolveTarget(StringRef name) {
  auto [kind, cpu] = name.split(':');
  if (cpu.empty())
    cpu = "native";
  if (kind != "cpu")
    return Error{("--target " + name +
                  ": only cpu targets are compiled as yet; use cpu, cpu:native, cpu:x86-64-v3 "
                  "or cpu:x86-64-v4")
                     .str()};
  Target target;
  target.triple = llvm::sys::getProcessTriple();
  bool wide = false;
  if (cpu == "native") {
    target.cpu = llvm::sys::getHostCPUName().str();
    StringMap<bool> host = llvm::sys::getHostCPUFeatures();
    for (const auto &feature : host) {
      // Sorted by the map's order only: LLVM takes features in any order.
      if (!target.features.empty())
        target.features += ',';
      target.features += (feature.second ? "+" : "-") + feature.first().str();
    }
    for (auto [llvmName, kernelName] : x86Features)
      if (host.lookup(llvmName))
        target.requiredFeatures.push_back(kernelName);
    wide = host.lookup("avx512f") && host.lookup("avx512vl");
  } else if (cpu == "x86-64-v3" || cpu == "x86-64-v4") {
    target.triple = "x86_64-unknown-linux-gnu";
    target.cpu = cpu.str();
    wide = cpu == "x86-64-v4";
    for (auto [llvmName, kernelName] : x86Features)
      if (wide || !StringRef(llvmName).starts_with("avx512"))
        target.requiredFeatures.push_back(kernelName);
  } else {
    return Error{
        ("--target " + name + ": unknown CPU; use cpu:native, cpu:x86-64-v3 or cpu:x86-64-v4").str()};
  }
  if (wide) {
    // LLVM keeps to 256 bits on some AVX-512 processors; the register tile is made for 512.
    target.features += target.features.empty() ? "-prefer-256-bit" : ",-prefer-256-bit";
    target.codegen = {/*lanes=*/16, /*rows=*/8, /*vectors=*/3};
  } else {
    target.codegen = {/*lanes=*/8, /*rows=*/6, /*vectors=*/2};
  }
  return target;
}

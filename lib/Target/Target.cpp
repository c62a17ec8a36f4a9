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
// Those that no level of x86-64 has, and that are used where the processor has them.
static constexpr std::pair<const char *, const char *> moreFeatures[] = {
    {"avx512vnni", "avx512_vnni"}, {"avxvnni", "avx_vnni"}, {"avx512bf16", "avx512_bf16"}};

StringRef adapter::deviceFormat(TargetKind kind) {
  switch (kind) {
  case TargetKind::CPU:
    return "";
  case TargetKind::NVIDIA:
    return "ptx";
  case TargetKind::AMD:
    return "hsaco";
  case TargetKind::Vulkan:
    return "spirv-vulkan";
  case TargetKind::OpenCL:
    return "spirv-opencl";
  }
  llvm_unreachable("a target kind without a format");
}

static Result<Target> resolveDevice(StringRef name, StringRef kind, StringRef chip) {
  // Any x86-64 machine of the last ten years can be the host.
  Result<Target> target = resolveTarget("cpu:x86-64-v3");
  if (!target)
    return target;
  CodegenOptions &codegen = target->codegen;
  codegen.chip = chip.str();
  if (kind == "nvidia" && chip.starts_with("sm_")) {
    codegen.kind = TargetKind::NVIDIA;
  } else if (kind == "amd" && chip.starts_with("gfx")) {
    codegen.kind = TargetKind::AMD;
  } else if (name == "spirv:vulkan") {
    codegen.kind = TargetKind::Vulkan;
    // What every Vulkan device has: 128 threads in a group, 16 KiB of memory for it.
    codegen.device.threads = 128;
    codegen.device.reductionThreads = 32;
    codegen.device.tileRows = codegen.device.tileColumns = 32;
  } else if (name == "spirv:opencl") {
    codegen.kind = TargetKind::OpenCL;
  } else {
    return Error{
        ("--target " + name +
         ": unknown; use cpu[:native|x86-64-v3|x86-64-v4[+bf16]], nvidia:sm_80 and the like, amd:gfx942 and "
         "the like, spirv:vulkan or spirv:opencl")
            .str()};
  }
  if (kind != "spirv")
    if (checkpoint::Status status = checkChip(codegen.kind, chip); !status)
      return Error{("--target " + name + ": " + status.error().message).str()};
  return target;
}

// Whether one vdpbf16ps is quicker than the two FMAs whose work it does. On an Emerald Rapids it takes 2.2 cycles as
// measured, an FMA half of one, and LLVM's tables have the like for Sapphire Rapids, Zen 4 and Zen 5.
static bool isQuickAtPairs(StringRef cpu) { return cpu == "cooperlake"; }

// What a name asks for beyond its CPU: "bf16" in cpu:x86-64-v4+bf16.
static checkpoint::Status addFeature(Target &target, StringRef name, StringRef cpu, StringRef more) {
  if (more != "bf16" || cpu == "x86-64-v3")
    return Error{("--target " + name + ": the one feature that can be asked for is bf16, of AVX-512, as in " +
                  "cpu:x86-64-v4+bf16")
                     .str()};
  target.codegen.bf16 = true;
  if (cpu == "native") {
    if (llvm::is_contained(target.requiredFeatures, "avx512_bf16"))
      return checkpoint::Done{};
    return Error{("--target " + name + ": this machine's processor has no AVX512-BF16").str()};
  }
  target.features = "+avx512bf16";
  target.requiredFeatures.push_back("avx512_bf16");
  return checkpoint::Done{};
}

Result<Target> adapter::resolveTarget(StringRef name) {
  auto [kind, cpu] = name.split(':');
  if (kind != "cpu")
    return resolveDevice(name, kind, cpu);
  StringRef more;
  std::tie(cpu, more) = cpu.split('+');
  if (cpu.empty())
    cpu = "native";
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
    for (auto [llvmName, kernelName] : moreFeatures)
      if (host.lookup(llvmName))
        target.requiredFeatures.push_back(kernelName);
    wide = host.lookup("avx512f") && host.lookup("avx512vl");
    target.codegen.vnni = wide ? host.lookup("avx512vnni") : host.lookup("avxvnni");
    target.codegen.bf16 = wide && host.lookup("avx512bf16") && isQuickAtPairs(target.cpu);
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
  if (name.contains('+'))
    if (checkpoint::Status status = addFeature(target, name, cpu, more); !status)
      return status.error();
  if (wide) {
    // LLVM keeps to 256 bits on some AVX-512 processors; the register tile is made for 512.
    target.features += target.features.empty() ? "-prefer-256-bit" : ",-prefer-256-bit";
    target.codegen.lanes = 16;
    target.codegen.rows = 8;
    target.codegen.vectors = 3;
  } else {
    target.codegen.lanes = 8;
    target.codegen.rows = 6;
    target.codegen.vectors = 2;
  }
  return target;
}

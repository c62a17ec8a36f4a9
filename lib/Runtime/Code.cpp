// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loading of code.so; see Code.h.
#include "lib/Runtime/Code.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Hash.h"
#include <atomic>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <fstream>
#include <set>
#include <sstream>
#include <unistd.h>

namespace adapter::runtime {

using checkpoint::Done;
using checkpoint::Error;
using checkpoint::MappedFile;
using checkpoint::Result;
using checkpoint::Status;

namespace {

#if defined(__x86_64__)
constexpr int machine = EM_X86_64;
constexpr const char *architecture = "x86_64", *featureLine = "flags";
#elif defined(__aarch64__)
constexpr int machine = EM_AARCH64;
constexpr const char *architecture = "aarch64", *featureLine = "Features";
#else
constexpr int machine = EM_NONE;
constexpr const char *architecture = "unknown", *featureLine = "flags";
#endif

std::string strip(std::string_view text) {
  size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

// dlopen trusts what it is given; a program or a library of another machine is told apart here.
Status checkElf(const MappedFile &file, const std::string &path) {
  Elf64_Ehdr header;
  if (file.size < sizeof header)
    return Error{path + ": no shared object"};
  std::memcpy(&header, file.data, sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_DYN)
    return Error{path + ": no shared object"};
  if (header.e_machine != machine)
    return Error{path + ": compiled for another machine (ELF machine " + std::to_string(header.e_machine) +
                 "); this one is " + architecture};
  uint64_t size = static_cast<uint64_t>(header.e_phnum) * sizeof(Elf64_Phdr);
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > file.size ||
      size > file.size - header.e_phoff)
    return Error{path + ": no shared object: its program headers lie outside of it"};
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, file.data + header.e_phoff + i * sizeof segment, sizeof segment);
    if (segment.p_type == PT_INTERP)
      return Error{path + ": a program, not the code of an artifact"};
    if (segment.p_type == PT_LOAD &&
        (segment.p_offset > file.size || segment.p_filesz > file.size - segment.p_offset))
      return Error{path + ": truncated"};
  }
  return Done{};
}

// A path of an open file that no other call has given: the digits of a counter are components that change nothing.
std::string uniquePath(int file) {
  static std::atomic<uint32_t> counter{0};
  std::string path = "/proc/self/fd";
  for (uint32_t digits = counter.fetch_add(1), bit = 0; bit < 32; ++bit)
    path += digits >> bit & 1 ? "/." : "//";
  return path + "/" + std::to_string(file);
}

// dlopen takes two files for one if they had the same path, as those of an artifact that was compiled again while a
// model of the old one is open.
Result<Code> openCode(const std::string &path) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return Error{path + ": cannot be opened"};
  void *handle = dlopen(uniquePath(file).c_str(), RTLD_NOW | RTLD_LOCAL);
  const char *why = handle ? nullptr : dlerror();
  close(file);
  if (!handle)
    return Error{path + ": cannot be loaded: " + (why ? why : "unknown reason")};
  Code code;
  code.handle = std::shared_ptr<void>(handle, [](void *loaded) { dlclose(loaded); });
  return code;
}

} // namespace

Result<Code> loadCode(const std::string &folder) {
  std::string path = folder + "/code.so", hashPath = folder + "/code.hash";
  Result<MappedFile> file = checkpoint::mapFile(path, /*keepDescriptor=*/true);
  if (!file)
    return file.error();
  Result<MappedFile> expected = checkpoint::mapFile(hashPath, /*keepDescriptor=*/true);
  if (!expected)
    return expected.error();
  if (strip(expected->text()) != checkpoint::hashBytes(file->data, file->size))
    return Error{path + ": was changed since it was compiled: its hash is not that of code.hash"};
  if (Status status = checkElf(*file, path); !status)
    return status.error();
  Result<Code> opened = openCode(path);
  if (!opened)
    return opened;
  Code code = std::move(*opened);
  code.file = std::move(*file);
  code.hash = std::move(*expected);
  void *handle = code.handle.get();
  auto query = reinterpret_cast<adapter_artifact_query_v1>(dlsym(handle, ADAPTER_ARTIFACT_QUERY));
  if (!query)
    return Error{path + ": not the code of an artifact: it lacks " ADAPTER_ARTIFACT_QUERY};
  code.table = query(ADAPTER_ABI_VERSION);
  if (!code.table || code.table->abi_version != ADAPTER_ABI_VERSION ||
      code.table->struct_size < sizeof(adapter_artifact_v1))
    return Error{path + ": has another interface version than " + std::to_string(ADAPTER_ABI_VERSION) +
                 "; compile the model again with a matching adapter-opt"};
  return code;
}

Status checkMachine(const artifact::Manifest &manifest, const std::string &where) {
  std::string triple = manifest.target_triple().substr(0, manifest.target_triple().find('-'));
  if (!triple.empty() && triple != architecture)
    return Error{where + ": compiled for " + manifest.target_triple() + "; this machine is " + architecture};
  if (manifest.cpu_features().empty())
    return Done{};
  std::ifstream info("/proc/cpuinfo");
  std::set<std::string> features;
  for (std::string line; features.empty() && std::getline(info, line);)
    if (size_t colon = line.find(':');
        colon != std::string::npos && strip(line.substr(0, colon)) == featureLine) {
      std::istringstream words(line.substr(colon + 1));
      for (std::string word; words >> word;)
        features.insert(word);
    }
  if (features.empty())
    return Done{}; // nothing to compare with
  std::string missing;
  for (const std::string &feature : manifest.cpu_features())
    if (!features.count(feature))
      missing += (missing.empty() ? "" : ", ") + feature;
  if (!missing.empty())
    return Error{where + ": compiled for a processor with " + missing +
                 ", which this one lacks; compile it with another --target"};
  return Done{};
}

} // namespace adapter::runtime

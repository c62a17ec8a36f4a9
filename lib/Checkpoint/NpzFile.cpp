// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// .npz for reading, through libzip; see Npy.h.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Npy.h"
#include "lib/Checkpoint/Text.h"
#include <set>
#include <unistd.h>
#include <zip.h>

namespace adapter::checkpoint {

namespace {

// A block of deflate makes at most 258 bytes of two bits.
constexpr uint64_t mostDeflateExpands = 1032;

struct Member {
  std::string name;
  uint64_t size = 0, packed = 0;
};

uint64_t machineMemory() {
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(size) : UINT64_MAX;
}

// What the directory of the archive says of a member, as far as it can be true.
Result<Member> memberAt(zip_t *archive, uint64_t index, const std::string &path) {
  zip_stat_t stat;
  constexpr uint64_t wanted =
      ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  if (zip_stat_index(archive, index, 0, &stat) || (stat.valid & wanted) != wanted)
    return Error{path + ": damaged .npz file: nothing is known of member " + std::to_string(index)};
  Member member{stat.name, stat.size, stat.comp_size};
  std::string where = path + ": member '" + member.name + "' ";
  if (!endsWith(member.name, ".npy"))
    return Error{where + "is no .npy array"};
  if (stat.encryption_method != ZIP_EM_NONE)
    return Error{where + "is encrypted"};
  bool isStored = stat.comp_method == ZIP_CM_STORE;
  if (!isStored && stat.comp_method != ZIP_CM_DEFLATE)
    return Error{where + "is compressed by method " + std::to_string(stat.comp_method) +
                 "; expected one that numpy.savez or numpy.savez_compressed writes"};
  if (isStored ? stat.size != stat.comp_size : stat.size / mostDeflateExpands > stat.comp_size)
    return Error{where + "cannot hold " + std::to_string(stat.size) + " bytes in " +
                 std::to_string(stat.comp_size)};
  if (stat.size > machineMemory())
    return Error{where + "takes " + std::to_string(stat.size) + " bytes, more than this machine has"};
  return member;
}

} // namespace

Result<NpzFile> NpzFile::open(const std::string &path) {
  Result<MappedFile> file = mapFile(path);
  if (!file)
    return file.error();
  if (file->size < 22) // libzip takes an empty file for an empty archive, whose end has as many bytes
    return Error{path + ": no .npz file, or one cut short"};
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t *source = zip_source_buffer_create(file->data, file->size, /*freep=*/0, &error);
  zip_t *opened = source ? zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error) : nullptr;
  if (!opened) {
    std::string why = zip_error_strerror(&error);
    zip_error_fini(&error);
    if (source)
      zip_source_free(source);
    return Error{path + ": no .npz file, or a damaged one: " + why};
  }
  zip_error_fini(&error);
  std::shared_ptr<void> archive(opened, [owner = file->owner](void *each) {
    zip_discard(static_cast<zip_t *>(each)); // before the bytes go
  });
  NpzFile result(path, std::move(archive));
  if (Status status = result.list(file->size); !status)
    return status.error();
  return result;
}

Status NpzFile::list(size_t fileSize) {
  auto *zip = static_cast<zip_t *>(archive.get());
  std::set<std::string> known;
  uint64_t packed = 0, unpacked = 0;
  for (int64_t i = 0, count = zip_get_num_entries(zip, 0); i < count; ++i) {
    Result<Member> member = memberAt(zip, static_cast<uint64_t>(i), path);
    if (!member)
      return member.error();
    // Members that share their bytes make much of little.
    if (member->packed > fileSize || (packed += member->packed) > fileSize)
      return Error{path + ": damaged .npz file: its members are longer than the file"};
    // No sum of sizes up to the machine's memory overflows.
    if ((unpacked += member->size) > machineMemory())
      return Error{path + ": its arrays take " + std::to_string(unpacked) +
                   " bytes and more, more than this machine has"};
    std::string name = member->name.substr(0, member->name.size() - 4);
    if (!known.insert(name).second)
      return Error{path + ": holds '" + name + "' twice"};
    arrays.push_back(std::move(name));
  }
  return Done{};
}

Result<Tensor> NpzFile::read(size_t number) const {
  auto *zip = static_cast<zip_t *>(archive.get());
  Result<Member> member = memberAt(zip, number, path);
  if (!member)
    return member.error();
  std::string what = path + ": member '" + member->name + "'";
  std::unique_ptr<zip_file_t, int (*)(zip_file_t *)> file(zip_fopen_index(zip, number, 0), zip_fclose);
  if (!file)
    return Error{what + " cannot be read: " + zip_strerror(zip)};
  Tensor bytes = allocateTensor(DType::U8, {static_cast<int64_t>(member->size)});
  auto *data = reinterpret_cast<char *>(mutableData(bytes));
  // One byte more is asked for than there should be: libzip compares checksums at the end only.
  char beyond;
  for (uint64_t done = 0;;) {
    bool isFull = done == member->size;
    zip_int64_t got = zip_fread(file.get(), isFull ? &beyond : data + done, isFull ? 1 : member->size - done);
    if (got < 0)
      return Error{what + " is damaged: " + zip_file_strerror(file.get())};
    if (isFull != (got == 0))
      return Error{what + " is damaged: it is " + (isFull ? "longer" : "shorter") + " than the archive says"};
    if (isFull)
      break;
    done += static_cast<uint64_t>(got);
  }
  Result<Tensor> tensor = parseNpy(what, {data, bytes.bytes}, bytes.owner);
  if (tensor)
    tensor->key = arrays[number];
  return tensor;
}

} // namespace adapter::checkpoint

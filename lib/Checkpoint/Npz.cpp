// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// .npz: a zip archive of .npy files, uncompressed; see Npy.h. The archive is minizip's; its bytes go to an AtomicFile.
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Npy.h"
#include <algorithm>
#include <minizip/zip.h>
#include <set>
#include <utility>

namespace adapter::checkpoint {

namespace {

// Where minizip writes. It is told of no failure, upon which it would not give back all of its memory: what comes behind
// one goes nowhere, and `status` is asked after each call.
struct Target {
  AtomicFile &file;
  Status status = Done{};
  uint64_t end = 0, position = 0;

  void write(const void *data, size_t size) {
    if (status)
      status = file.write(data, size);
    position += size;
    end = std::max(end, position);
  }
  // minizip goes back to a member's header when it knows the checksum, and forth again.
  void seek(uint64_t offset, int origin) {
    position = offset + (origin == ZLIB_FILEFUNC_SEEK_CUR   ? position
                         : origin == ZLIB_FILEFUNC_SEEK_END ? end
                                                            : 0);
    if (status)
      status = file.seek(position);
  }
};

zlib_filefunc64_def functionsOf(Target &target) {
  zlib_filefunc64_def functions{};
  functions.opaque = &target;
  functions.zopen64_file = [](void *opaque, const void *, int) { return opaque; };
  functions.zwrite_file = [](void *opaque, void *, const void *data, uLong size) {
    static_cast<Target *>(opaque)->write(data, size);
    return size;
  };
  functions.zread_file = [](void *, void *, void *, uLong) -> uLong { return 0; };
  functions.ztell64_file = [](void *opaque, void *) -> ZPOS64_T {
    return static_cast<Target *>(opaque)->position;
  };
  functions.zseek64_file = [](void *opaque, void *, ZPOS64_T offset, int origin) -> long {
    static_cast<Target *>(opaque)->seek(offset, origin);
    return 0;
  };
  functions.zclose_file = [](void *, void *) { return 0; };
  functions.zerror_file = [](void *, void *) { return 0; };
  return functions;
}

class Archive {
public:
  Archive(const std::string &path, AtomicFile &file) : path(path), target{file} {
    zlib_filefunc64_def functions = functionsOf(target);
    zip = zipOpen2_64("", APPEND_STATUS_CREATE, nullptr, &functions);
  }
  ~Archive() {
    if (zip)
      zipClose(zip, nullptr);
  }
  Archive(const Archive &) = delete;

  Status add(const Tensor &tensor) {
    Result<std::string> header = npyHeader(tensor);
    if (!header)
      return Error{path + ": " + header.error().message};
    std::string name = tensor.key + ".npy";
    if (name.size() > 0xffff || name.find('\0') != std::string::npos || !names.insert(name).second)
      return Error{path + ": '" + tensor.key + "': the name is there twice, too long, or holds a zero"};
    if (Status status = open(name); !status)
      return status;
    Status status = write(header->data(), header->size());
    if (status)
      status = write(tensor.data, tensor.bytes);
    return status ? check(zipCloseFileInZip(zip)) : status;
  }

  Status finish() { return check(zipClose(std::exchange(zip, nullptr), nullptr)); }

private:
  Status open(const std::string &name) {
    zip_fileinfo info{};
    info.dosDate = 0x210000; // midnight of 1980-01-01: equal tensors give equal files
    constexpr uLong version = 45, utf8 = 1 << 11;
    return check(zipOpenNewFileInZip4_64(zip, name.c_str(), &info, nullptr, 0, nullptr, 0, nullptr,
                                         /*method=*/0, /*level=*/0, /*raw=*/0, -MAX_WBITS, DEF_MEM_LEVEL,
                                         Z_DEFAULT_STRATEGY, /*password=*/nullptr, /*crcForCrypting=*/0,
                                         version, utf8, /*zip64=*/1));
  }
  Status write(const void *data, size_t size) {
    constexpr size_t most = 1 << 26; // so that a failure is heard of soon
    for (const char *bytes = static_cast<const char *>(data); size;) {
      auto piece = static_cast<unsigned>(std::min(size, most));
      if (Status status = check(zipWriteInFileInZip(zip, bytes, piece)); !status)
        return status;
      bytes += piece;
      size -= piece;
    }
    return Done{};
  }
  Status check(int code) {
    if (target.status && code != ZIP_OK)
      return Error{path + ": cannot write: error " + std::to_string(code) + " of minizip"};
    return target.status;
  }

  const std::string &path;
  Target target;
  std::set<std::string> names;
  zipFile zip;
};

} // namespace

Status writeNpz(const std::string &path, const std::vector<Tensor> &tensors) {
  Result<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.error();
  Archive archive(path, **file);
  for (const Tensor &tensor : tensors)
    if (Status status = archive.add(tensor); !status)
      return status;
  Status status = archive.finish();
  return status ? (*file)->commit() : status;
}

} // namespace adapter::checkpoint

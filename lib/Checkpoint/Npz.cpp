// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// .npz for writing, through libzip; see Npy.h.
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Npy.h"
#include <cstdlib>
#include <cstring>
#include <zip.h>

namespace adapter::checkpoint {

namespace {

// Writes the archive into memory that `buffer` then describes.
Status fillArchive(zip_t *archive, const std::vector<Tensor> &tensors) {
  for (const Tensor &tensor : tensors) {
    Result<std::string> header = npyHeader(tensor);
    if (!header)
      return header.error();
    size_t size = header->size() + tensor.bytes;
    char *bytes = static_cast<char *>(std::malloc(size));
    if (!bytes)
      return Error{"out of memory"};
    std::memcpy(bytes, header->data(), header->size());
    if (tensor.bytes)
      std::memcpy(bytes + header->size(), tensor.data, tensor.bytes);
    // The source frees `bytes`, also when it cannot be added.
    zip_source_t *source = zip_source_buffer(archive, bytes, size, /*freep=*/1);
    if (!source) {
      std::free(bytes);
      return Error{zip_strerror(archive)};
    }
    zip_int64_t index = zip_file_add(archive, (tensor.key + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      zip_source_free(source);
      return Error{"'" + tensor.key + "': " + zip_strerror(archive)};
    }
    if (zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0))
      return Error{zip_strerror(archive)};
  }
  return Done{};
}

} // namespace

Status writeNpz(const std::string &path, const std::vector<Tensor> &tensors) {
  Result<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.error();
  // libzip replaces files by itself, but would leave an empty archive out; so it writes to memory here.
  zip_source_t *memory = zip_source_buffer_create(nullptr, 0, 0, nullptr);
  zip_t *archive = memory ? zip_open_from_source(memory, ZIP_TRUNCATE, nullptr) : nullptr;
  if (!archive) {
    if (memory)
      zip_source_free(memory);
    return Error{path + ": cannot start an archive"};
  }
  zip_source_keep(memory);
  Status status = fillArchive(archive, tensors);
  if (!status) {
    status = Error{path + ": " + status.error().message};
    zip_discard(archive);
  } else if (zip_close(archive)) {
    status = Error{path + ": " + zip_strerror(archive)};
    zip_discard(archive);
  }
  if (status && (zip_source_open(memory) || zip_source_seek(memory, 0, SEEK_END)))
    status = Error{path + ": the archive cannot be read back"};
  if (status) {
    zip_int64_t size = zip_source_tell(memory);
    zip_source_seek(memory, 0, SEEK_SET);
    std::vector<char> chunk(1 << 20);
    for (zip_int64_t done = 0; status && done < size;) {
      zip_int64_t got = zip_source_read(memory, chunk.data(), chunk.size());
      status = got > 0 ? (*file)->write(chunk.data(), static_cast<size_t>(got))
                       : Error{path + ": the archive is cut short"};
      done += got;
    }
    zip_source_close(memory);
  }
  zip_source_free(memory);
  if (!status)
    return status;
  return (*file)->commit();
}

} // namespace adapter::checkpoint

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// .npz: a zip archive of .npy files, uncompressed; see Npy.h. Sizes and offsets beyond 4 GiB are in records of 64 bits,
// as APPNOTE.TXT of PKWARE has it, sections 4.3 and 4.5.3.
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Npy.h"
#include <algorithm>
#include <array>
#include <cstring>
#include <set>

namespace adapter::checkpoint {

namespace {

constexpr uint32_t mask = 0xffffffff;

// Eight bytes at a time; table[i] is of a byte with i bytes behind it.
class Crc32 {
public:
  void add(const void *data, size_t size) {
    const auto *bytes = static_cast<const unsigned char *>(data);
    for (; size >= 8; size -= 8, bytes += 8) {
      uint64_t word;
      std::memcpy(&word, bytes, 8);
      word ^= value;
      value = 0;
      for (int i = 0; i < 8; ++i)
        value ^= tables()[7 - i][word >> (8 * i) & 255];
    }
    for (; size; --size, ++bytes)
      value = value >> 8 ^ tables()[0][(value ^ *bytes) & 255];
  }
  uint32_t get() const { return ~value; }

private:
  using Tables = std::array<std::array<uint32_t, 256>, 8>;
  static const Tables &tables() {
    static const Tables all = [] {
      Tables made;
      for (uint32_t byte = 0; byte < 256; ++byte) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit)
          crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        made[0][byte] = crc;
      }
      for (uint32_t byte = 0; byte < 256; ++byte)
        for (int i = 1; i < 8; ++i)
          made[i][byte] = made[i - 1][byte] >> 8 ^ made[0][made[i - 1][byte] & 255];
      return made;
    }();
    return all;
  }
  uint32_t value = mask;
};

// A record in little endian.
struct Record {
  std::string bytes;
  Record &put(uint64_t value, int size) {
    for (int i = 0; i < size; ++i)
      bytes += static_cast<char>(value >> (8 * i));
    return *this;
  }
};

struct Member {
  std::string name;
  uint32_t crc;
  uint64_t size, offset;

  // The fields that the local and the central header share, and what does not fit into 32 bits.
  Record header(uint32_t signature, bool central) const {
    Record wide;
    if (size >= mask)
      wide.put(size, 8).put(size, 8);
    if (central && offset >= mask)
      wide.put(offset, 8);
    uint64_t extra = wide.bytes.empty() ? 0 : wide.bytes.size() + 4;
    Record record;
    record.put(signature, 4);
    if (central)
      record.put(45, 2);
    // Version that reads it, names in UTF-8, stored, midnight of 1980-01-01.
    record.put(45, 2).put(0x800, 2).put(0, 2).put(0, 2).put(0x21, 2);
    record.put(crc, 4).put(std::min<uint64_t>(size, mask), 4).put(std::min<uint64_t>(size, mask), 4);
    record.put(name.size(), 2).put(extra, 2);
    if (central)
      record.put(0, 8).put(0, 2).put(std::min<uint64_t>(offset, mask),
                                     4); // no comment, disk 0, no attributes
    record.bytes += name;
    if (extra)
      record.put(1, 2).put(wide.bytes.size(), 2).bytes += wide.bytes;
    return record;
  }
};

class Archive {
public:
  explicit Archive(AtomicFile &file) : file(file) {}

  Status add(const Tensor &tensor) {
    Result<std::string> header = npyHeader(tensor);
    if (!header)
      return header.error();
    Member member{tensor.key + ".npy", 0, header->size() + tensor.bytes, end};
    if (member.name.size() > 0xffff || !names.insert(member.name).second)
      return Error{"'" + tensor.key + "': the name is there twice, or too long"};
    Crc32 crc;
    crc.add(header->data(), header->size());
    crc.add(tensor.data, tensor.bytes);
    member.crc = crc.get();
    Status status = write(member.header(0x04034b50, false).bytes);
    if (status)
      status = write(*header);
    if (status)
      status = file.write(tensor.data, tensor.bytes);
    end += tensor.bytes;
    members.push_back(std::move(member));
    return status;
  }

  Status finish() {
    uint64_t begin = end;
    for (const Member &member : members)
      if (Status status = write(member.header(0x02014b50, true).bytes); !status)
        return status;
    uint64_t size = end - begin, count = members.size();
    Record tail;
    if (count >= 0xffff || size >= mask || begin >= mask) {
      tail.put(0x06064b50, 4).put(44, 8).put(45, 2).put(45, 2).put(0, 8).put(count, 8).put(count, 8);
      tail.put(size, 8).put(begin, 8);
      tail.put(0x07064b50, 4).put(0, 4).put(end, 8).put(1, 4);
    }
    uint64_t few = std::min<uint64_t>(count, 0xffff);
    tail.put(0x06054b50, 4).put(0, 4).put(few, 2).put(few, 2);
    tail.put(std::min<uint64_t>(size, mask), 4).put(std::min<uint64_t>(begin, mask), 4).put(0, 2);
    return write(tail.bytes);
  }

private:
  Status write(const std::string &bytes) {
    end += bytes.size();
    return file.write(bytes.data(), bytes.size());
  }
  AtomicFile &file;
  std::vector<Member> members;
  std::set<std::string> names;
  uint64_t end = 0; // bytes written
};

} // namespace

Status writeNpz(const std::string &path, const std::vector<Tensor> &tensors) {
  Result<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.error();
  Archive archive(**file);
  for (const Tensor &tensor : tensors)
    if (Status status = archive.add(tensor); !status)
      return Error{path + ": " + status.error().message};
  Status status = archive.finish();
  return status ? (*file)->commit() : status;
}

} // namespace adapter::checkpoint

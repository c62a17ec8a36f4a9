// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See ZipArchive.h. minizip reads the archive; it takes much on trust, which is checked here.
#include "lib/Checkpoint/ZipArchive.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Work.h"
#include <algorithm>
#include <cstring>
#include <minizip/unzip.h>
#include <set>

namespace adapter::checkpoint {

namespace {

// What a field of 32 bits holds where another of 64 bits has the number. minizip before 1.2.6, which Debian 12 has, passes
// over that one on 64-bit machines: it finds no member of 4 GiB and more, and none behind so many bytes.
constexpr uint64_t isElsewhere = 0xffffffff;
constexpr const char *tooFar =
    "is of 4 GiB and more, or behind so much, where it cannot be read; divide the archive";

// A mapped file and where in it minizip reads.
struct Source {
  MappedFile file;
  uint64_t position = 0;

  uLong read(void *to, uLong size) {
    size = std::min<uLong>(size, file.size - position);
    if (size)
      std::memcpy(to, file.data + position, size);
    position += size;
    return size;
  }
  bool seek(uint64_t offset, int origin) {
    uint64_t from = origin == ZLIB_FILEFUNC_SEEK_CUR   ? position
                    : origin == ZLIB_FILEFUNC_SEEK_END ? file.size
                                                       : 0;
    uint64_t wanted = from + offset;
    if (wanted > file.size)
      return false;
    position = wanted;
    return true;
  }
};

zlib_filefunc64_def functionsOf(Source &source) {
  zlib_filefunc64_def functions{};
  functions.opaque = &source;
  functions.zopen64_file = [](void *opaque, const void *, int) { return opaque; };
  functions.zread_file = [](void *opaque, void *, void *to, uLong size) {
    return static_cast<Source *>(opaque)->read(to, size);
  };
  functions.zwrite_file = [](void *, void *, const void *, uLong) -> uLong { return 0; };
  functions.ztell64_file = [](void *opaque, void *) -> ZPOS64_T {
    return static_cast<Source *>(opaque)->position;
  };
  functions.zseek64_file = [](void *opaque, void *, ZPOS64_T offset, int origin) -> long {
    return static_cast<Source *>(opaque)->seek(offset, origin) ? 0 : -1;
  };
  functions.zclose_file = [](void *, void *) { return 0; };
  functions.zerror_file = [](void *, void *) { return 0; };
  return functions;
}

// A directory that begins and ends elsewhere than it says belongs to a file that was cut or put together.
bool isWhole(const Source &source, unzFile zip, const unz_global_info64 &info) {
  constexpr size_t endSize = 22;
  std::string_view text = source.file.text();
  auto has = [&](uint64_t offset, const char *signature) {
    return offset <= text.size() && text.substr(offset, 4) == std::string_view(signature, 4);
  };
  if (text.size() < endSize + info.size_comment || !has(text.size() - endSize - info.size_comment, "PK\5\6"))
    return false;
  unz64_file_pos first{};
  return info.number_entry > 0 && unzGetFilePos64(zip, &first) == UNZ_OK &&
         has(first.pos_in_zip_directory, "PK\1\2") && has(0, "PK\3\4");
}

} // namespace

struct ZipArchive::Contents {
  std::string path;
  Source source;
  unzFile zip = nullptr;
  std::vector<Member> members;
  std::vector<unz64_file_pos> places;
  uint64_t packed = 0; // of all members so far

  ~Contents() {
    if (zip)
      unzClose(zip);
  }
  Error damaged(const std::string &what) const { return Error{path + ": damaged zip archive: " + what}; }
  // Where a member begins, in the words of its directory entry.
  uint64_t offsetOf(const unz64_file_pos &place) const {
    uint32_t offset = 0;
    std::memcpy(&offset, source.file.data + place.pos_in_zip_directory + 42, sizeof offset);
    return offset;
  }
  Status list();
  Status add(std::set<std::string> &names);
  Status check(const Member &member, const unz_file_info64 &info);
};

ZipArchive::ZipArchive(std::unique_ptr<Contents> contents) : contents(std::move(contents)) {}
ZipArchive::ZipArchive(ZipArchive &&) noexcept = default;
ZipArchive &ZipArchive::operator=(ZipArchive &&) noexcept = default;
ZipArchive::~ZipArchive() = default;

const std::vector<ZipArchive::Member> &ZipArchive::members() const { return contents->members; }

Result<ZipArchive> ZipArchive::open(const std::string &path) {
  Result<MappedFile> file = mapFile(path);
  if (!file)
    return file.error();
  auto contents = std::make_unique<Contents>();
  contents->path = path;
  contents->source.file = std::move(*file);
  std::string_view none("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);
  if (contents->source.file.text() == none) // in which minizip sees no archive
    return ZipArchive(std::move(contents));
  zlib_filefunc64_def functions = functionsOf(contents->source);
  contents->zip = unzOpen2_64("", &functions);
  if (!contents->zip)
    return Error{path + ": no zip archive, or one cut short"};
  if (Status status = contents->list(); !status)
    return status.error();
  return ZipArchive(std::move(contents));
}

Status ZipArchive::Contents::list() {
  unz_global_info64 info{};
  if (unzGetGlobalInfo64(zip, &info) != UNZ_OK || !isWhole(source, zip, info))
    return damaged("its directory is not where it says");
  std::set<std::string> names;
  for (uint64_t i = 0; i < info.number_entry; ++i) {
    if (i && unzGoToNextFile(zip) != UNZ_OK)
      return damaged("its directory ends after " + std::to_string(i) + " of " +
                     std::to_string(info.number_entry) + " members");
    if (Status status = add(names); !status)
      return status;
  }
  return Done{};
}

Status ZipArchive::Contents::add(std::set<std::string> &names) {
  unz_file_info64 info{};
  unz64_file_pos place{};
  if (unzGetFilePos64(zip, &place) != UNZ_OK ||
      unzGetCurrentFileInfo64(zip, &info, nullptr, 0, nullptr, 0, nullptr, 0) != UNZ_OK)
    return damaged("nothing is known of member " + std::to_string(members.size()));
  Member member{std::string(info.size_filename, '\0'), info.uncompressed_size};
  if (unzGetCurrentFileInfo64(zip, &info, member.name.data(), info.size_filename, nullptr, 0, nullptr, 0) !=
          UNZ_OK ||
      member.name.empty() || member.name.find('\0') != std::string::npos)
    return damaged("member " + std::to_string(members.size()) + " has no name");
  if (Status status = check(member, info); !status)
    return status;
  if (!names.insert(member.name).second)
    return Error{path + ": holds '" + member.name + "' twice"};
  members.push_back(std::move(member));
  places.push_back(place);
  return Done{};
}

Status ZipArchive::Contents::check(const Member &member, const unz_file_info64 &info) {
  constexpr uint64_t mostDeflateExpands = 1032; // at most 258 bytes from two bits
  std::string where = path + ": member '" + member.name + "' ";
  if (info.flag & 0x2041) // of itself, strongly, and of its place in the directory
    return Error{where + "is encrypted"};
  bool isStored = info.compression_method == 0;
  if (!isStored && info.compression_method != Z_DEFLATED)
    return Error{where + "is compressed by method " + std::to_string(info.compression_method) +
                 "; expected deflate or none"};
  if (info.compressed_size == isElsewhere || member.size == isElsewhere)
    return Error{where + tooFar};
  // Members that share their bytes would make much of little.
  if (info.compressed_size > source.file.size || (packed += info.compressed_size) > source.file.size)
    return damaged("its members are longer than the file");
  if (isStored ? member.size != info.compressed_size
               : member.size / mostDeflateExpands > info.compressed_size)
    return Error{where + "cannot hold " + std::to_string(member.size) + " bytes in " +
                 std::to_string(info.compressed_size)};
  return Done{};
}

Status ZipArchive::read(size_t number, std::byte *to) const {
  unzFile zip = contents->zip;
  const Member &member = contents->members.at(number);
  const unz64_file_pos &place = contents->places[number];
  auto damaged = [&] { return contents->damaged("member '" + member.name + "' is not what it was"); };
  if (unzGoToFilePos64(zip, &place) != UNZ_OK || unzOpenCurrentFile(zip) != UNZ_OK)
    return contents->offsetOf(place) == isElsewhere
               ? Error{contents->path + ": member '" + member.name + "' " + tooFar}
               : damaged();
  uint64_t done = 0;
  for (int got = 1; got > 0 && done < member.size && !isCancelled(); done += static_cast<uint64_t>(got)) {
    constexpr uint64_t most = 1 << 26; // what the function takes is 32 bits
    got = unzReadCurrentFile(zip, to + done, static_cast<unsigned>(std::min(member.size - done, most)));
    if (got < 0)
      break;
  }
  // Compares the checksum, if all was read.
  bool isClosed = unzCloseCurrentFile(zip) == UNZ_OK;
  if (isCancelled())
    return cancelledError();
  return isClosed && done == member.size ? Status(Done{}) : damaged();
}

Result<std::string> ZipArchive::read(size_t number, uint64_t limit) const {
  const Member &member = contents->members.at(number);
  if (member.size > limit)
    return Error{contents->path + ": member '" + member.name + "' takes " + std::to_string(member.size) +
                 " bytes; expected at most " + std::to_string(limit)};
  std::string text(member.size, '\0');
  Status status = read(number, reinterpret_cast<std::byte *>(text.data()));
  if (!status)
    return status.error();
  return text;
}

} // namespace adapter::checkpoint

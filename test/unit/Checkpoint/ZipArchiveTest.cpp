// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Zip archives: what is read, what is refused, what damage does.
#include "lib/Checkpoint/ZipArchive.h"
#include "test/unit/TempFolder.h"
#include <gtest/gtest.h>
#include <minizip/zip.h>

using namespace adapter::checkpoint;
using namespace adapter::test;

namespace {

struct Part {
  std::string name, bytes;
  int method = 0;
};

const std::string large(3000, 'x');

std::string archive(const TempFolder &folder, const std::vector<Part> &parts, const char *comment = nullptr) {
  zipFile zip = zipOpen64((folder / "made.zip").c_str(), APPEND_STATUS_CREATE);
  for (const Part &part : parts) {
    zip_fileinfo info{};
    zipOpenNewFileInZip64(zip, part.name.c_str(), &info, nullptr, 0, nullptr, 0, nullptr, part.method, 6,
                          /*zip64=*/0);
    zipWriteInFileInZip(zip, part.bytes.data(), static_cast<unsigned>(part.bytes.size()));
    zipCloseFileInZip(zip);
  }
  zipClose(zip, comment);
  return folder.read("made.zip");
}

// With the field of the first directory entry, which lies `offset` behind its signature, overwritten.
std::string patched(std::string bytes, size_t offset, const std::string &value) {
  return bytes.replace(bytes.find("PK\1\2") + offset, value.size(), value);
}

class Zip : public testing::Test {
protected:
  // Every member, or the message of the first error.
  Result<std::vector<Part>> readAll(const std::string &bytes) {
    Result<ZipArchive> zip = ZipArchive::open(folder.write("read.zip", bytes));
    if (!zip)
      return zip.error();
    std::vector<Part> parts;
    for (size_t i = 0; i < zip->members().size(); ++i) {
      Result<std::string> read = zip->read(i, 1 << 20);
      if (!read)
        return read.error();
      EXPECT_EQ(read->size(), zip->members()[i].size);
      parts.push_back({zip->members()[i].name, *read});
    }
    return parts;
  }
  void refused(const std::string &bytes, const std::string &mention) {
    Result<std::vector<Part>> parts = readAll(bytes);
    ASSERT_FALSE(parts) << mention;
    EXPECT_NE(parts.error().message.find(mention), std::string::npos) << parts.error().message;
  }
  TempFolder folder;
};

} // namespace

TEST_F(Zip, ReadsStoredAndDeflatedMembers) {
  std::vector<Part> parts = {{"a", "stored"}, {"b/c", large, Z_DEFLATED}, {"d", ""}, {"e", "", Z_DEFLATED}};
  for (const char *comment : {"", "a comment"}) {
    Result<std::vector<Part>> read = readAll(archive(folder, parts, comment));
    ASSERT_TRUE(read) << read.error().message;
    ASSERT_EQ(read->size(), parts.size());
    for (size_t i = 0; i < parts.size(); ++i) {
      EXPECT_EQ((*read)[i].name, parts[i].name);
      EXPECT_EQ((*read)[i].bytes, parts[i].bytes);
    }
  }
  Result<std::vector<Part>> none = readAll(archive(folder, {}));
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_TRUE(none->empty());
}

TEST_F(Zip, ReadsInAnyOrderAndWithinLimits) {
  archive(folder, {{"a", "first"}, {"b", large, Z_DEFLATED}});
  Result<ZipArchive> zip = ZipArchive::open(folder / "made.zip");
  ASSERT_TRUE(zip) << zip.error().message;
  for (size_t i : {1, 0, 1, 1}) {
    Result<std::string> read = zip->read(i, 3000);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, i ? large : "first");
  }
  Result<std::string> read = zip->read(1, 2999);
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().message.find("'b' takes 3000 bytes; expected at most 2999"), std::string::npos);
}

TEST_F(Zip, RefusesWhatItDoesNotUnderstand) {
  std::string stored = archive(folder, {{"a", "stored"}}),
              deflated = archive(folder, {{"a", large, Z_DEFLATED}});
  refused(archive(folder, {{"a", "1"}, {"b", "2"}, {"a", "3"}}), "holds 'a' twice");
  refused(patched(stored, 8, std::string("\1\0", 2)), "'a' is encrypted");
  refused(patched(stored, 8, std::string("\x40\0", 2)), "'a' is encrypted");
  refused(patched(stored, 10, std::string("\x0c\0", 2)), "compressed by method 12");
  refused(patched(stored, 24, "\7"), "cannot hold 7 bytes in 6");
  refused(patched(deflated, 24, "\xf0\xff\xff\xff"), "cannot hold 4294967280 bytes");
  refused(patched(deflated, 20, "\xf0\xff\xff\xff"), "longer than the file");
  refused(patched(stored, 46, std::string(1, '\0')), "has no name");
  refused(patched(stored, 20, std::string(8, '\xff')), "'a' is of 4 GiB and more");
  refused(patched(stored, 42, std::string(4, '\xff')), "'a' is of 4 GiB and more");
  refused("", "no zip archive");
  refused("PK", "no zip archive");
  refused(std::string(70000, 'x'), "no zip archive");
  EXPECT_FALSE(ZipArchive::open(folder / "none"));
  EXPECT_FALSE(ZipArchive::open(folder.text()));
}

TEST_F(Zip, RefusesBytesAroundAnArchive) {
  std::string inner = archive(folder, {{"a", "stored"}});
  refused("x" + inner, "directory");
  refused(inner + "x", "directory");
  // An archive within a member that was cut behind it.
  std::string outer = archive(folder, {{"b", inner + "more"}});
  refused(outer.substr(0, outer.find("more")), "directory");
  EXPECT_TRUE(readAll(outer));
}

TEST_F(Zip, RefusesDamage) {
  const std::vector<Part> parts = {{"a", "stored"}, {"b", large + "end", Z_DEFLATED}};
  const std::string good = archive(folder, parts);
  ASSERT_TRUE(readAll(good));
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(readAll(good.substr(0, size))) << size;
  size_t unseen = 0;
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
    Result<std::vector<Part>> read = readAll(bad);
    if (!read) {
      EXPECT_EQ(read.error().message.find('\n'), std::string::npos);
      continue;
    }
    // In times, versions and attributes, which nobody reads, and in names.
    ++unseen;
    ASSERT_EQ(read->size(), parts.size()) << bit / 8;
    for (size_t i = 0; i < parts.size(); ++i)
      EXPECT_EQ((*read)[i].bytes, parts[i].bytes) << bit / 8;
  }
  EXPECT_LT(unseen, 8 * good.size() / 2);
}

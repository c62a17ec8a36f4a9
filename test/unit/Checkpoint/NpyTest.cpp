// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// .npy and .npz.
#include "lib/Checkpoint/Npy.h"
#include "lib/Checkpoint/Work.h"
#include "lib/Checkpoint/ZipArchive.h"
#include "test/unit/TempFolder.h"
#include "test/unit/Tensors.h"
#include <gtest/gtest.h>

using namespace adapter::checkpoint;
using namespace adapter::test;

static std::string npy(char version, const std::string &header, const std::string &data) {
  std::string text = std::string("\x93NUMPY") + version + '\0';
  uint32_t length = header.size();
  text.append(reinterpret_cast<const char *>(&length), version == 1 ? 2 : 4);
  return text + header + data;
}

static std::string bytesOf(const Tensor &tensor) {
  return std::string(reinterpret_cast<const char *>(tensor.data), tensor.bytes);
}

TEST(Npy, RoundTrip) {
  TempFolder folder;
  for (const Tensor &each :
       {counting("a", {2, 3}), counting("b", {4}), counting("c", {}), counting("d", {0, 3})}) {
    Result<std::string> header = npyHeader(each);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->size() % 64, 0u);
    Result<Tensor> read = readNpy(folder.write("x.npy", *header + bytesOf(each)));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->shape, each.shape);
    EXPECT_EQ(values<float>(*read), values<float>(each));
  }
}

TEST(Npy, ReadsVersionsOrdersAndTypes) {
  TempFolder folder;
  std::string data = bytesOf(tensor<int16_t>(DType::I16, "", {2, 3}, {0, 1, 2, 3, 4, 5}));
  for (char version : {1, 2, 3}) {
    Result<Tensor> read = readNpy(folder.write(
        "x", npy(version, "{'shape': (2, 3), 'fortran_order': False, 'descr': '<i2', }\n", data)));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(values<int16_t>(*read), (std::vector<int16_t>{0, 1, 2, 3, 4, 5}));
  }
  Result<Tensor> fortran =
      readNpy(folder.write("x", npy(1, "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3)}", data)));
  ASSERT_TRUE(fortran) << fortran.error().message;
  EXPECT_EQ(values<int16_t>(*fortran), (std::vector<int16_t>{0, 2, 4, 1, 3, 5}));
  Result<Tensor> big =
      readNpy(folder.write("x", npy(1, "{'descr': '>i2', 'fortran_order': False, 'shape': (6L,)}", data)));
  ASSERT_TRUE(big) << big.error().message;
  EXPECT_EQ(values<int16_t>(*big)[1], 256);
}

TEST(Npy, RefusesBadFiles) {
  TempFolder folder;
  std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  EXPECT_TRUE(readNpy(folder.write("x", npy(1, good, std::string(8, '\0')))));
  EXPECT_FALSE(readNpy(folder.write("x", npy(1, good, std::string(7, '\0')))));
  EXPECT_FALSE(readNpy(folder.write("x", npy(1, good, std::string(9, '\0')))));
  EXPECT_FALSE(readNpy(folder.write("x", npy(4, good, std::string(8, '\0')))));
  EXPECT_FALSE(readNpy(folder.write("x", "no")));
  EXPECT_FALSE(readNpy(folder / "none"));
  for (const char *header : {"", "{", "{}", "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
                             "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (2}",
                             "{'descr': '', 'fortran_order': False, 'shape': (2,)}",
                             "{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}",
                             "{'descr': '<U4', 'fortran_order': False, 'shape': ()}"})
    EXPECT_FALSE(readNpy(folder.write("x", npy(1, header, std::string(8, '\0'))))) << header;
  std::string truncated = npy(2, good, "");
  for (size_t size = 0; size < truncated.size(); ++size)
    EXPECT_FALSE(readNpy(folder.write("x", truncated.substr(0, size))));
}

TEST(Npz, IsAnUncompressedArchive) {
  TempFolder folder;
  std::vector<Tensor> tensors = {counting("logits", {2, 2}), counting("a/b", {1}), counting("c", {0, 3})};
  ASSERT_TRUE(writeNpz(folder / "x.npz", tensors));
  std::string bytes = folder.read("x.npz");
  Result<ZipArchive> zip = ZipArchive::open(folder / "x.npz");
  ASSERT_TRUE(zip) << zip.error().message;
  ASSERT_EQ(zip->members().size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    std::string file = *npyHeader(tensors[i]) + bytesOf(tensors[i]);
    EXPECT_EQ(zip->members()[i].name, tensors[i].key + ".npy");
    EXPECT_EQ(*zip->read(i, 1000), file);
    EXPECT_NE(bytes.find(file), std::string::npos);
  }
  ASSERT_TRUE(writeNpz(folder / "y.npz", tensors));
  EXPECT_EQ(folder.read("y.npz"), bytes);
}

TEST(Npz, LeavesNothingWhereItFails) {
  TempFolder folder;
  EXPECT_FALSE(writeNpz(folder / "none/x.npz", {counting("a", {1})}));
  for (const std::string &name : {std::string(70000, 'x'), std::string("a\0b", 3), std::string("a")})
    EXPECT_FALSE(writeNpz(folder / "x.npz", {counting("a", {1}), counting(name, {1})}));
  Work work;
  WorkScope scope(&work);
  work.cancel();
  EXPECT_FALSE(writeNpz(folder / "x.npz", {counting("a", {100000})}));
  EXPECT_TRUE(std::filesystem::is_empty(folder.text()));
}

TEST(Npz, RoundTrip) {
  TempFolder folder;
  ASSERT_TRUE(
      writeNpz(folder / "x.npz", {counting("b", {2, 2}), counting("a/b", {}), counting("c", {0, 3})}));
  Result<NpzFile> file = NpzFile::open(folder / "x.npz");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->names(), (std::vector<std::string>{"b", "a/b", "c"}));
  Result<Tensor> last = file->read(2), first = file->read(0);
  ASSERT_TRUE(first && last);
  EXPECT_EQ(first->key, "b");
  EXPECT_EQ(values<float>(*first), values<float>(counting("", {2, 2})));
  EXPECT_EQ(last->shape, (std::vector<int64_t>{0, 3}));
  file = NpzFile::open(folder.write("none.npz", "PK\5\6" + std::string(18, '\0')));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_TRUE(file->names().empty());
}

// Cut short anywhere, or with any byte changed, an archive is refused or read as it was, never otherwise.
TEST(Npz, RefusesDamagedFiles) {
  TempFolder folder;
  ASSERT_TRUE(writeNpz(folder / "x.npz", {counting("a", {3}), counting("b", {2})}));
  const std::string good = folder.read("x.npz");
  auto readAll = [&](const std::string &bytes) {
    Result<NpzFile> file = NpzFile::open(folder.write("y.npz", bytes));
    size_t read = 0;
    for (size_t i = 0; file && i < file->names().size(); ++i)
      read += bool(file->read(i));
    return read;
  };
  EXPECT_EQ(readAll(good), 2u);
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_EQ(readAll(good.substr(0, size)), 0u) << size;
  for (size_t at = 0; at < good.size(); ++at)
    for (int change : {0x01, 0x80, 0xff}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ change);
      readAll(bad);
    }
  EXPECT_FALSE(NpzFile::open(folder / "missing.npz"));
}

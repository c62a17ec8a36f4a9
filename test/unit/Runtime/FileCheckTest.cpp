// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files of many chunks under a check: what is found, when, and what goes on beside it.
#include "lib/Runtime/FileCheck.h"
#include "lib/Checkpoint/File.h"
#include "test/unit/TempFolder.h"
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <thread>

using namespace adapter;
using namespace adapter::test;
using runtime::CheckedFile;
using runtime::FileCheck;

class FileChecks : public ::testing::Test {
protected:
  static constexpr uint64_t length = 70000; // of a chunk
  TempFolder folder;

  // A file of chunks, hashed as it is and then changed at `damage`.
  CheckedFile file(const std::string &name, size_t chunks, std::optional<size_t> damage = {}) {
    std::string bytes(chunks * length, '\0');
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<char>(i * 2654435761u >> 13);
    CheckedFile result;
    checkpoint::Hasher hasher;
    for (size_t i = 0; i < chunks; ++i) {
      hasher.reset();
      hasher.add(bytes.data() + i * length, length);
      result.lengths.push_back(length);
      result.hashes += hasher.digest();
      if (i)
        result.tensors.emplace_back(i * length, "t" + std::to_string(i));
    }
    if (damage)
      bytes[*damage] ^= 16;
    folder.write(name, bytes);
    result.path = folder / name;
    result.descriptor = checkpoint::mapFile(result.path, true)->descriptor;
    return result;
  }
  static bool waitFor(const FileCheck &check) {
    for (int i = 0; i < 10000 && !check.isComplete(); ++i)
      usleep(1000);
    return check.isComplete();
  }
  static std::string message(const checkpoint::Status &status) {
    return status ? "" : status.error().message;
  }
};

TEST_F(FileChecks, WholeFilesPass) {
  auto held = std::make_shared<FileCheck>();
  FileCheck &check = *held;
  check.add(file("a", 40));
  check.add(file("b", 3));
  check.add(file("empty", 0));
  EXPECT_FALSE(check.isComplete());
  EXPECT_TRUE(check.status());
  check.start();
  EXPECT_TRUE(waitFor(check));
  EXPECT_TRUE(check.status());
  EXPECT_TRUE(check.repeat());
}

TEST_F(FileChecks, AnyByteIsSeenAndItsTensorNamed) {
  for (size_t at :
       {size_t(0), size_t(length - 1), size_t(length), size_t(20 * length + 77), size_t(40 * length - 1)}) {
    auto held = std::make_shared<FileCheck>();
    FileCheck &check = *held;
    check.add(file("a", 2));
    check.add(file("b", 40, at));
    check.start();
    for (int i = 0; i < 10000 && check.status(); ++i)
      usleep(1000);
    std::string said = message(check.status());
    std::string part = at < length ? "its header" : "tensor 't" + std::to_string(at / length) + "'";
    EXPECT_NE(said.find(folder / "b: " + part + " was changed since it was compiled"), std::string::npos)
        << said;
    EXPECT_EQ(message(check.finish()), said);
    EXPECT_EQ(message(check.finish(0)), said);
  }
}

TEST_F(FileChecks, OneFileBeforeTheOthers) {
  auto held = std::make_shared<FileCheck>();
  FileCheck &check = *held;
  size_t good = check.add(file("a", 4)), bad = check.add(file("b", 4, 3 * length));
  EXPECT_TRUE(check.finish(good));
  EXPECT_TRUE(check.finish(bad, 2 * length));
  EXPECT_TRUE(check.status());
  EXPECT_FALSE(check.isComplete());
  EXPECT_FALSE(check.finish(bad));
  EXPECT_FALSE(check.status());
}

// The name may come to mean another file, and the file may be removed: the model has the one that it opened.
TEST_F(FileChecks, ReplacedFiles) {
  auto held = std::make_shared<FileCheck>();
  FileCheck &check = *held;
  check.add(file("a", 8));
  std::filesystem::remove(folder / "a");
  folder.write("a", "another");
  EXPECT_TRUE(check.finish());
}

TEST_F(FileChecks, FilesThatBecomeShorter) {
  auto held = std::make_shared<FileCheck>();
  FileCheck &check = *held;
  check.add(file("a", 8));
  std::filesystem::resize_file(folder / "a", 5 * length + 1);
  EXPECT_NE(message(check.finish()).find("tensor 't5' cannot be read: the file became shorter"),
            std::string::npos);
}

TEST_F(FileChecks, FilesThatCannotBeRead) {
  CheckedFile unreadable = file("a", 2);
  unreadable.descriptor = std::make_shared<const int>(-1);
  auto held = std::make_shared<FileCheck>();
  FileCheck &check = *held;
  check.add(std::move(unreadable));
  EXPECT_NE(message(check.finish()).find("Bad file descriptor"), std::string::npos);
}

TEST_F(FileChecks, DamageThatComesLater) {
  auto held = std::make_shared<FileCheck>();
  FileCheck &check = *held;
  check.add(file("a", 8));
  ASSERT_TRUE(check.finish());
  int descriptor = ::open((folder / "a").c_str(), O_WRONLY);
  ASSERT_EQ(pwrite(descriptor, "?", 1, 3 * length), 1);
  close(descriptor);
  EXPECT_TRUE(check.finish());
  EXPECT_FALSE(check.repeat());
  EXPECT_FALSE(check.status());
}

TEST_F(FileChecks, ManyWaitersAndTheThread) {
  for (std::optional<size_t> damage : {std::optional<size_t>(), std::optional<size_t>(150 * length)}) {
    auto held = std::make_shared<FileCheck>();
    FileCheck &check = *held;
    check.add(file("a", 200, damage));
    check.start();
    std::atomic<int> passed{0};
    std::vector<std::thread> waiters;
    for (int i = 0; i < 6; ++i)
      waiters.emplace_back([&] { passed += check.finish() ? 1 : 0; });
    for (std::thread &each : waiters)
      each.join();
    EXPECT_EQ(passed, damage ? 0 : 6);
    EXPECT_TRUE(damage || check.isComplete());
  }
}

TEST_F(FileChecks, EndsWithItsModel) {
  for (int i = 0; i < 20; ++i) {
    auto one = std::make_shared<FileCheck>(), other = std::make_shared<FileCheck>();
    one->add(file("a", 50));
    other->add(file("b", 50));
    one->start();
    other->start();
  }
}

#if !defined(__SANITIZE_THREAD__) && !(defined(__has_feature) && __has_feature(thread_sanitizer))
// A child has none of its parent's threads, and what those were at nobody ends.
TEST_F(FileChecks, GoesOnInAForkedChild) {
  for (bool asks : {false, true}) {
    auto held = std::make_shared<FileCheck>();
    FileCheck &check = *held;
    check.add(file("a", 300, 299 * length));
    check.start();
    pid_t child = fork();
    if (child == 0) {
      if (asks)
        _exit(check.finish() ? 1 : 0);
      for (int i = 0; i < 10000 && check.status(); ++i)
        usleep(1000);
      _exit(check.status() ? 1 : 0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_FALSE(check.finish());
  }
}
#endif

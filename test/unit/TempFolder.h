// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A folder of its own for each test, removed at its end.
#ifndef ADAPTER_TEST_UNIT_TEMPFOLDER_H
#define ADAPTER_TEST_UNIT_TEMPFOLDER_H

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace adapter::test {

class TempFolder {
public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "adapter-test-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TempFolder(const TempFolder &) = delete;

  std::string operator/(const std::string &name) const { return (path / name).string(); }
  std::string text() const { return path.string(); }
  std::string write(const std::string &name, const std::string &bytes) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << bytes;
    return (path / name).string();
  }
  std::string read(const std::string &name) const {
    std::ostringstream bytes;
    bytes << std::ifstream(path / name, std::ios::binary).rdbuf();
    return bytes.str();
  }

private:
  std::filesystem::path path;
};

} // namespace adapter::test

#endif // ADAPTER_TEST_UNIT_TEMPFOLDER_H

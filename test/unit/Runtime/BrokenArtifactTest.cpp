// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Artifacts that are damaged, or none.
#include "adapter-rt/artifact.h"
#include "adapter-rt/runtime.h"
#include "lib/Artifact/manifest.pb.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Runtime/Code.h"
#include "lib/Runtime/Manifest.h"
#include "test/unit/TempFolder.h"
#include <gtest/gtest.h>

using namespace adapter;
using namespace adapter::test;

class BrokenArtifact : public ::testing::Test {
protected:
  TempFolder folder;
  void SetUp() override {
    std::filesystem::copy(TINY_ARTIFACT, folder / "x", std::filesystem::copy_options::recursive);
  }

  // What opening says, "" when it succeeds; then also what the check says.
  std::string problem() {
    adapter_rt_model *model = nullptr;
    std::string message;
    if (adapter_rt_open((folder / "x").c_str(), nullptr, &model) != ADAPTER_RT_OK)
      message = std::string("open: ") + adapter_rt_last_error();
    else if (adapter_rt_finish_check(model) != ADAPTER_RT_OK)
      message = std::string("check: ") + adapter_rt_last_error();
    else
      EXPECT_EQ(adapter_rt_verify(model), ADAPTER_RT_OK) << adapter_rt_last_error();
    adapter_rt_close(model);
    return message;
  }
  void flip(const std::string &name, size_t at) {
    std::string bytes = folder.read(name);
    bytes[at < bytes.size() ? at : bytes.size() - 1] ^= 1;
    // As a new file: the old one may still be loaded.
    std::filesystem::remove(folder / name);
    folder.write(name, bytes);
  }
  void replaceCode(const std::string &bytes) {
    std::filesystem::remove(folder / "x/code.so");
    folder.write("x/code.so", bytes);
    folder.write("x/code.hash", checkpoint::hashBytes(bytes.data(), bytes.size()));
  }
};

#define EXPECT_PROBLEM(part)                                                                                 \
  do {                                                                                                       \
    std::string message = problem();                                                                         \
    EXPECT_NE(message.find(part), std::string::npos) << "got: " << message;                                  \
  } while (false)

TEST_F(BrokenArtifact, WholeOneOpens) { EXPECT_EQ(problem(), ""); }

TEST_F(BrokenArtifact, MissingFiles) {
  for (const char *name :
       {"manifest.pb", "code.so", "code.hash", "parameters.safetensors", "adapters/r1.safetensors"}) {
    std::filesystem::rename(folder / ("x/" + std::string(name)), folder / "away");
    EXPECT_PROBLEM("open: ");
    std::filesystem::rename(folder / "away", folder / ("x/" + std::string(name)));
  }
  std::filesystem::remove_all(folder / "x");
  EXPECT_PROBLEM("does not exist");
  folder.write("x", "a file");
  EXPECT_PROBLEM("not a folder");
}

TEST_F(BrokenArtifact, FlippedBits) {
  const std::pair<const char *, const char *> cases[] = {{"x/code.so", "open: "},
                                                         {"x/code.hash", "open: "},
                                                         {"x/manifest.pb", "open: "},
                                                         {"x/adapters/r1.safetensors", "open: "},
                                                         {"x/adapters/s1.safetensors", ": "},
                                                         {"x/parameters.safetensors", ": "}};
  for (const auto &[name, part] : cases)
    for (size_t at : {size_t(0), size_t(20), size_t(200), std::string::npos - 1}) {
      flip(name, at);
      EXPECT_PROBLEM(part);
      flip(name, at);
    }
  EXPECT_EQ(problem(), "");
}

TEST_F(BrokenArtifact, AnyFlippedByteOfTheManifest) {
  size_t size = folder.read("x/manifest.pb").size();
  for (size_t at = 0; at < size; at += 3) {
    flip("x/manifest.pb", at);
    EXPECT_PROBLEM("open: ");
    flip("x/manifest.pb", at);
  }
}

// Every byte of the files of tensors, the headers and the padding too.
TEST_F(BrokenArtifact, AnyFlippedByteOfTensors) {
  for (const char *name :
       {"x/parameters.safetensors", "x/adapters/r1.safetensors", "x/adapters/s1.safetensors"})
    for (size_t at = 0, size = folder.read(name).size(); at < size; at += 5) {
      flip(name, at);
      EXPECT_PROBLEM(folder / name);
      flip(name, at);
    }
  EXPECT_EQ(problem(), "");
}

TEST_F(BrokenArtifact, TruncatedFiles) {
  for (const char *name : {"x/parameters.safetensors", "x/adapters/s1.safetensors", "x/manifest.pb"}) {
    std::string bytes = folder.read(name);
    folder.write(name, bytes.substr(0, bytes.size() - 1));
    EXPECT_PROBLEM("open: ");
    folder.write(name, bytes);
  }
}

TEST_F(BrokenArtifact, OtherCodeUnderAFittingHash) {
  std::string code = folder.read("x/code.so"), program;
  {
    std::ostringstream bytes;
    bytes << std::ifstream(TEST_PROGRAM, std::ios::binary).rdbuf();
    program = bytes.str();
  }
  replaceCode("not a library");
  EXPECT_PROBLEM("no shared object");
  replaceCode(program);
  EXPECT_PROBLEM("a program, not the code of an artifact");
  std::string foreign = code;
  foreign[18] ^= 0x55;
  replaceCode(foreign);
  EXPECT_PROBLEM("another machine");
  replaceCode(code.substr(0, code.size() / 2));
  EXPECT_PROBLEM("open: ");
  replaceCode(code.substr(0, 70));
  EXPECT_PROBLEM("program headers lie outside");
}

TEST_F(BrokenArtifact, ManifestOfAnotherModel) {
  artifact::Manifest manifest;
  ASSERT_TRUE(manifest.ParseFromString(folder.read("x/manifest.pb")));
  manifest.set_producer("b test");
  folder.write("x/manifest.pb", manifest.SerializeAsString());
  EXPECT_PROBLEM("differs from the manifest in code.so");
  manifest.set_abi_version(ADAPTER_ABI_VERSION + 1);
  folder.write("x/manifest.pb", manifest.SerializeAsString());
  EXPECT_PROBLEM("interface version " + std::to_string(ADAPTER_ABI_VERSION + 1));
  manifest.set_abi_version(ADAPTER_ABI_VERSION);
  manifest.add_cpu_features("warp_drive");
  folder.write("x/manifest.pb", manifest.SerializeAsString());
  EXPECT_PROBLEM("a processor with warp_drive");
  manifest.set_target_triple("sparc-unknown-linux");
  folder.write("x/manifest.pb", manifest.SerializeAsString());
  EXPECT_PROBLEM("compiled for sparc-unknown-linux");
}

TEST_F(BrokenArtifact, ContradictionsInTheManifest) {
  artifact::Manifest good;
  ASSERT_TRUE(good.ParseFromString(folder.read("x/manifest.pb")));
  auto refuses = [&](auto change) {
    artifact::Manifest manifest = good;
    change(manifest);
    std::string bytes = manifest.SerializeAsString();
    auto parsed = runtime::parseManifest(bytes.data(), bytes.size(), 4, "m");
    return !parsed && parsed.error().message.find("contradicts itself") != std::string::npos;
  };
  EXPECT_FALSE(refuses([](artifact::Manifest &) {}));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_entries(0)->set_function(4); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_entries(0)->set_row_axis(2); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_entries(0)->set_row_input("z"); }));
  EXPECT_TRUE(
      refuses([](artifact::Manifest &m) { m.mutable_entries(0)->mutable_inputs(0)->set_dims(1, -2); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_entries(0)->mutable_inputs(0)->add_dims(3); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_parameters(0)->set_dims(0, -1); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_sites(0)->set_parameter(2); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_sites(0)->set_bank(1000000); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_sites(0)->mutable_forms(0)->set_prepare(4); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) {
    m.mutable_sites(0)->mutable_forms(0)->set_entry_tensors(0, ADAPTER_ENTRY_TENSORS);
  }));
  EXPECT_TRUE(
      refuses([](artifact::Manifest &m) { m.mutable_sites(0)->mutable_forms(0)->set_steps_before(1); }));
  EXPECT_TRUE(refuses(
      [](artifact::Manifest &m) { m.mutable_sites(0)->mutable_forms(0)->add_steps()->set_kernel(5); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_sites(0)->add_tied(3); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_adapters(0)->set_file("../../x"); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_adapters(0)->mutable_updates(0)->set_site(3); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_adapters(0)->mutable_updates(0)->set_form(2); }));
  EXPECT_TRUE(
      refuses([](artifact::Manifest &m) { m.mutable_adapters(0)->mutable_updates(0)->set_form(-1); }));
  // A linear has no bottlenecks; what has them says what they compute.
  EXPECT_TRUE(refuses([](artifact::Manifest &m) {
    m.mutable_sites(0)->mutable_forms(0)->mutable_bottleneck()->set_activation("relu");
  }));
  auto asBottleneck = [&](const char *activation) {
    return refuses([&](artifact::Manifest &m) {
      m.mutable_sites(0)->set_kind(artifact::BOTTLENECK);
      for (artifact::SiteForm &form : *m.mutable_sites(0)->mutable_forms())
        form.mutable_bottleneck()->set_activation(activation);
    });
  };
  EXPECT_FALSE(asBottleneck("relu"));
  EXPECT_TRUE(asBottleneck("swash"));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_adapters(1)->set_name("r1"); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_slots(0)->set_sites(0, -1); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_files(0)->set_file("/etc/passwd"); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.clear_entries(); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_files(0)->set_size(1); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_files(0)->set_lengths(0, uint64_t(-1)); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_files(0)->add_lengths(0); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_files(0)->mutable_hashes()->pop_back(); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_files(1)->clear_hashes(); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { *m.add_files() = m.files(0); }));
  EXPECT_TRUE(refuses([](artifact::Manifest &m) { m.mutable_files()->RemoveLast(); }));
}

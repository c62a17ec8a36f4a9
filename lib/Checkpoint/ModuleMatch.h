// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which modules of a graph are which modules of a checkpoint, decided for all of a checkpoint's modules together.
//
// Paths differ in front: wrappers put names before them ("model.layers.0.q" for "layers.0.q"), and a part of a model
// leaves some out ("layers.0.q" for "decoder.layers.0.q"). All modules of one checkpoint have one root in a graph: the
// same names are added, or left out, for all of them. A root that only some of them support, or that is one of several
// which all of them support, is no evidence: such modules get no place, and an explanation.
#ifndef ADAPTER_LIB_CHECKPOINT_MODULEMATCH_H
#define ADAPTER_LIB_CHECKPOINT_MODULEMATCH_H

#include <map>
#include <set>
#include <string>
#include <vector>

namespace adapter::checkpoint {

/// A path of the graph that a module of the checkpoint could be.
struct Candidate {
  std::string path;         ///< as the checkpoint would write it
  bool fits = true;         ///< its shape, and its contents where those are known
  std::string place = path; ///< the graph's own path: two of them may be written alike
};

/// A parameter of a checkpoint's module, with every path of the graph that ends as its module's does, or the other
/// way round, and has the parameter.
struct MatchItem {
  std::string module, parameter;
  std::vector<Candidate> candidates;
};

struct MatchResult {
  /// By item: the path, or "" where there is none.
  std::vector<std::string> paths;
  /// By item: why a path that could be meant was not taken, and what to do; "" otherwise.
  std::vector<std::string> problems;
  /// By item: the graph's own path; "" where there is none.
  std::vector<std::string> places;
  /// By item: whether its problem is only that the graph is another part of the model, so that another graph may have it.
  std::vector<bool> isElsewhere;
  /// What is left out in front of the checkpoint's paths ("decoder"); "" where nothing is.
  std::string root;
  /// Where several such roots could be meant and nothing tells which: all of them, none of them taken.
  std::vector<std::string> rivals;
};

/// Matches all items of one checkpoint with one graph. `graphName` is what the graph's file is called, which decides
/// between an encoder and a decoder where nothing else does. Items of the roots in `elsewhere` are known to have their
/// place in another graph. `byContents`: `fits` says that the contents are those of the base.
MatchResult matchModules(const std::vector<MatchItem> &items, const std::string &graphName,
                         const std::set<std::string> &elsewhere = {}, bool byContents = false);

/// Whether a graph's file, by its name, can hold a part of a pipeline ("unet", "text_encoder_2"). A name that says
/// nothing, and no part, rule nothing out.
bool canHoldPart(const std::string &graphName, const std::string &part);

/// Applies renamings "OLD=NEW" to a path: OLD is a path, or the first names of one, and may have '*' for any text,
/// which stands for '*' in NEW.
struct Renaming {
  std::string from, to;
};
bool rename(const Renaming &renaming, std::string &path);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_MODULEMATCH_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Profiles as JSON.
#include "lib/Placement/Profile.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Json.h"
#include <limits>
#include <set>

namespace adapter::placement {

using checkpoint::Error;
using checkpoint::Json;
using checkpoint::Result;
using checkpoint::Status;

namespace {

constexpr const char *formatName = "adapter-profile 1";
constexpr int64_t maxExperts = 1 << 16, maxTop = 1 << 10;
constexpr int64_t maxCount = int64_t(1) << 52; // sums of as many experts stay exact

struct Malformed {
  std::string message;
};

const Json &field(const Json &object, const char *name) {
  if (!object.is_object() || !object.contains(name))
    throw Malformed{std::string("lacks '") + name + "'"};
  return object[name];
}

std::string text(const Json &object, const char *name) {
  const Json &value = field(object, name);
  if (!value.is_string())
    throw Malformed{std::string("'") + name + "' is no text"};
  return value.get<std::string>();
}

int64_t integer(const Json &value, int64_t lowest, int64_t highest, const std::string &what) {
  bool fits = value.is_number_integer() &&
              (!value.is_number_unsigned() ||
               value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
  if (!fits || value.get<int64_t>() < lowest || value.get<int64_t>() > highest)
    throw Malformed{what + " is no integer from " + std::to_string(lowest) + " to " +
                    std::to_string(highest)};
  return value.get<int64_t>();
}

const Json &list(const Json &value, const std::string &what) {
  if (!value.is_array())
    throw Malformed{what + " is no list"};
  return value;
}

void readPairs(LayerProfile &layer, const Json &pairs) {
  for (const Json &row : list(pairs, "'pairs'")) {
    if (!row.is_array() || row.size() != 3)
      throw Malformed{"'pairs' has a row that is not [expert, expert, tokens]"};
    int64_t first = integer(row[0], 0, layer.experts - 1, "an expert of a pair");
    int64_t second = integer(row[1], first, layer.experts - 1, "the second expert of a pair");
    int64_t count = integer(row[2], 1, layer.tokens, "the tokens of a pair");
    if (!layer.pairs.emplace(std::pair(static_cast<int32_t>(first), static_cast<int32_t>(second)), count)
             .second)
      throw Malformed{"'pairs' names " + std::to_string(first) + " and " + std::to_string(second) + " twice"};
  }
}

void readSample(LayerProfile &layer, const Json &sample) {
  for (const Json &row : list(sample, "'sample'")) {
    if (!row.is_array() || static_cast<int64_t>(row.size()) != layer.top)
      throw Malformed{"'sample' has a token that did not choose " + std::to_string(layer.top) + " experts"};
    std::vector<int32_t> &chosen = layer.sample.emplace_back();
    for (const Json &expert : row)
      chosen.push_back(
          static_cast<int32_t>(integer(expert, 0, layer.experts - 1, "an expert of the sample")));
  }
  if (layer.sample.empty() != (layer.tokens == 0) || static_cast<int64_t>(layer.sample.size()) > layer.tokens)
    throw Malformed{"'sample' has " + std::to_string(layer.sample.size()) + " of " +
                    std::to_string(layer.tokens) + " tokens"};
}

LayerProfile readLayer(const Json &json) {
  LayerProfile layer;
  layer.name = text(json, "name");
  layer.identity = text(json, "identity");
  layer.experts = integer(field(json, "experts"), 1, maxExperts, "'experts'");
  layer.top = integer(field(json, "top"), 0, maxTop, "'top'");
  layer.tokens = integer(field(json, "tokens"), 0, maxCount / maxTop, "'tokens'");
  if ((layer.top == 0) != (layer.tokens == 0))
    throw Malformed{"'top' and 'tokens' contradict each other"};
  int64_t sum = 0;
  for (const Json &count : list(field(json, "counts"), "'counts'")) {
    layer.counts.push_back(integer(count, 0, maxCount, "a count"));
    sum = std::min(maxCount, sum + layer.counts.back());
  }
  if (static_cast<int64_t>(layer.counts.size()) != layer.experts || sum != layer.tokens * layer.top)
    throw Malformed{"'counts' are not those of " + std::to_string(layer.tokens) + " tokens that chose " +
                    std::to_string(layer.top) + " of " + std::to_string(layer.experts) + " experts"};
  readPairs(layer, field(json, "pairs"));
  readSample(layer, field(json, "sample"));
  return layer;
}

Json layerJson(const LayerProfile &layer) {
  Json pairs = Json::array();
  for (const auto &[pair, count] : layer.pairs)
    pairs.push_back({pair.first, pair.second, count});
  std::vector<int64_t> counts = layer.counts;
  counts.resize(layer.experts);
  return {{"name", layer.name}, {"identity", layer.identity}, {"experts", layer.experts},
          {"top", layer.top},   {"tokens", layer.tokens},     {"counts", counts},
          {"pairs", pairs},     {"sample", layer.sample}};
}

} // namespace

Result<Profile> readProfile(const std::string &path) {
  Result<checkpoint::MappedFile> file = checkpoint::mapFile(path);
  if (!file)
    return file.error();
  Result<Json> json = checkpoint::parseJson(file->text(), path);
  if (!json)
    return json.error();
  Profile profile;
  std::string where = path + ": no profile";
  try {
    if (text(*json, "format") != formatName)
      throw Malformed{std::string("its format is not '") + formatName + "'"};
    std::set<std::string> names;
    for (const Json &layer : list(field(*json, "layers"), "'layers'")) {
      where = path + ": layer " + std::to_string(profile.layers.size());
      profile.layers.push_back(readLayer(layer));
      if (!names.insert(profile.layers.back().name + ' ' + profile.layers.back().identity).second)
        throw Malformed{"'" + profile.layers.back().name + "' is there twice"};
    }
  } catch (const Malformed &malformed) {
    return Error{where + ": " + malformed.message};
  } catch (const std::exception &exception) {
    return Error{where + ": " + exception.what()};
  }
  return profile;
}

Status writeProfile(const std::string &path, const Profile &profile) {
  Json layers = Json::array();
  for (const LayerProfile &layer : profile.layers)
    layers.push_back(layerJson(layer));
  // One layer a line.
  std::string out = std::string("{\"format\": \"") + formatName + "\", \"layers\": [";
  for (size_t i = 0; i < layers.size(); ++i)
    out += (i ? ",\n" : "\n") + layers[i].dump(-1, ' ', false, Json::error_handler_t::replace);
  out += "\n]}\n";
  return checkpoint::writeFile(path, out);
}

} // namespace adapter::placement

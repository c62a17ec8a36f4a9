// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Placement is a local search rather than an integer program: its objective, which counts distinct ranks of tokens,
// takes a variable per token and rank when linearised, thousands for a layer, while a swap of two experts changes
// few of them. As many experts stay on each rank by construction.
#include "lib/Placement/Placement.h"
#include <algorithm>
#include <numeric>
#include <random>

namespace adapter::placement {

namespace {

// Tokens that chose alike.
struct Choice {
  std::vector<int32_t> experts;
  double weight;
};

std::vector<Choice> choicesOf(const LayerProfile &layer) {
  std::vector<Choice> choices;
  if (layer.top == 1)
    for (int32_t expert = 0; expert < static_cast<int32_t>(layer.counts.size()); ++expert)
      choices.push_back({{expert}, static_cast<double>(layer.counts[expert])});
  else if (layer.top == 2)
    for (const auto &[pair, count] : layer.pairs)
      choices.push_back({{pair.first, pair.second}, static_cast<double>(count)});
  else
    for (const std::vector<int32_t> &experts : layer.sample)
      choices.push_back(
          {experts, static_cast<double>(layer.tokens) / static_cast<double>(layer.sample.size())});
  return choices;
}

// A placement with what swaps change.
class Search {
public:
  Search(const LayerProfile &layer, int64_t ranks, const std::vector<Choice> &choices)
      : layer(layer), ranks(ranks), choices(choices), uses(layer.experts) {
    for (size_t i = 0; i < choices.size(); ++i)
      for (int32_t expert : choices[i].experts)
        if (uses[expert].empty() || uses[expert].back() != i)
          uses[expert].push_back(i);
    for (const Choice &choice : choices)
      weight += choice.weight;
    total = static_cast<double>(std::accumulate(layer.counts.begin(), layer.counts.end(), int64_t(0)));
  }

  void start(Placement from) {
    placement = std::move(from);
    loads.assign(ranks, 0);
    held.assign(choices.size() * ranks, 0);
    copies = 0;
    for (int64_t expert = 0; expert < layer.experts; ++expert)
      loads[placement[expert]] += static_cast<double>(layer.counts[expert]);
    for (size_t i = 0; i < choices.size(); ++i) {
      for (int32_t expert : choices[i].experts)
        copies += held[i * ranks + placement[expert]]++ ? 0 : choices[i].weight;
    }
  }

  Quality quality() const { return {balance(loads), weight > 0 ? copies / weight : 1}; }
  double cost() const { return quality().cost(layer.top); }

  // Swaps while that helps.
  void descend() {
    for (bool improves = true; improves;) {
      improves = false;
      for (int64_t a = 0; a < layer.experts; ++a)
        for (int64_t b = a + 1; b < layer.experts; ++b)
          improves |= placement[a] != placement[b] && trySwap(a, b);
    }
  }

  const Placement &get() const { return placement; }

private:
  double balance(const std::vector<double> &of) const {
    return total > 0 ? *std::max_element(of.begin(), of.end()) * static_cast<double>(ranks) / total : 1;
  }

  int32_t times(size_t choice, int64_t expert) const {
    const std::vector<int32_t> &experts = choices[choice].experts;
    return static_cast<int32_t>(std::count(experts.begin(), experts.end(), static_cast<int32_t>(expert)));
  }

  // What the swap adds to copies; done to `held` if asked.
  double change(int64_t a, int64_t b, bool isDone) {
    double sum = 0;
    auto visit = [&](size_t i) {
      int32_t &from = held[i * ranks + placement[a]], &to = held[i * ranks + placement[b]];
      int32_t moved = times(i, a) - times(i, b);
      sum += choices[i].weight * ((from - moved > 0) + (to + moved > 0) - (from > 0) - (to > 0));
      if (isDone) {
        from -= moved;
        to += moved;
      }
    };
    for (size_t i : uses[a])
      visit(i);
    for (size_t i : uses[b])
      if (!times(i, a))
        visit(i);
    return sum;
  }

  bool trySwap(int64_t a, int64_t b) {
    std::vector<double> next = loads;
    double moved = static_cast<double>(layer.counts[a] - layer.counts[b]);
    next[placement[a]] -= moved;
    next[placement[b]] += moved;
    double added = change(a, b, false);
    Quality after{balance(next), weight > 0 ? (copies + added) / weight : 1};
    // More than rounding, so that the search ends.
    if (after.cost(layer.top) > cost() - 1e-9)
      return false;
    change(a, b, true);
    copies += added;
    loads = std::move(next);
    std::swap(placement[a], placement[b]);
    return true;
  }

  const LayerProfile &layer;
  int64_t ranks;
  const std::vector<Choice> &choices;
  std::vector<std::vector<size_t>> uses; // choices, by expert
  double weight = 0, total = 0, copies = 0;
  Placement placement;
  std::vector<double> loads;
  std::vector<int32_t> held; // experts of each choice on each rank
};

} // namespace

double bytesPerToken(const Quality &quality, int64_t ranks, int64_t top, int64_t inputWidth,
                     int64_t outputWidth) {
  double elsewhere = static_cast<double>(ranks - 1) / static_cast<double>(ranks);
  double rows = quality.copies * static_cast<double>(inputWidth) * 4;
  double products = static_cast<double>(top) * (static_cast<double>(outputWidth) * 4 + 8);
  return elsewhere * (rows + products);
}

Quality qualityOf(const LayerProfile &layer, int64_t ranks, const Placement &placement) {
  std::vector<Choice> choices = choicesOf(layer);
  Search search(layer, ranks, choices);
  search.start(placement);
  return search.quality();
}

Quality expectedQuality(int64_t experts, int64_t top, int64_t ranks) {
  // A rank is spared if all of a token's experts, no two alike, are among the others'.
  double spared = 1;
  for (int64_t i = 0; i < top; ++i)
    spared *= std::max(0.0, static_cast<double>(experts - experts / ranks - i) /
                                static_cast<double>(std::max<int64_t>(experts - i, 1)));
  return {1, static_cast<double>(ranks) * (1 - spared)};
}

Placement contiguous(int64_t experts, int64_t ranks) {
  Placement placement(experts);
  for (int64_t expert = 0; expert < experts; ++expert)
    placement[expert] = expert * ranks / experts;
  return placement;
}

Placement roundRobin(int64_t experts, int64_t ranks) {
  Placement placement(experts);
  for (int64_t expert = 0; expert < experts; ++expert)
    placement[expert] = expert % ranks;
  return placement;
}

Placement balancedPacking(const std::vector<int64_t> &loads, int64_t ranks) {
  std::vector<size_t> order(loads.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](size_t x, size_t y) { return std::pair(-loads[x], x) < std::pair(-loads[y], y); });
  Placement placement(loads.size());
  std::vector<int64_t> carried(ranks), room(ranks, static_cast<int64_t>(loads.size()) / ranks);
  for (size_t expert : order) {
    int64_t best = -1;
    for (int64_t rank = 0; rank < ranks; ++rank)
      if (room[rank] > 0 && (best < 0 || carried[rank] < carried[best]))
        best = rank;
    placement[expert] = best;
    carried[best] += loads[expert];
    --room[best];
  }
  return placement;
}

Placement optimise(const LayerProfile &layer, int64_t ranks) {
  std::vector<Placement> starts{contiguous(layer.experts, ranks), roundRobin(layer.experts, ranks),
                                balancedPacking(layer.counts, ranks)};
  // Others where a descent takes no time.
  std::mt19937_64 random(layer.experts);
  for (int i = 0; layer.experts <= 32 && i < 13; ++i) {
    Placement next = starts.front();
    for (size_t left = next.size(); left > 1; --left) // std::shuffle differs between libraries
      std::swap(next[left - 1], next[random() % left]);
    starts.push_back(std::move(next));
  }
  std::vector<Choice> choices = choicesOf(layer);
  Search search(layer, ranks, choices);
  Placement best;
  double lowest = 0;
  for (const Placement &start : starts) {
    search.start(start);
    search.descend();
    if (best.empty() || search.cost() < lowest - 1e-9) {
      best = search.get();
      lowest = search.cost();
    }
  }
  return best;
}

} // namespace adapter::placement

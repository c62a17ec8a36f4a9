// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What --check prints.
#include "lib/Attach/Attach.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <array>

using namespace adapter;

static std::string numberText(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", value);
  return text;
}

static std::string orientationOf(const Placement &row) {
  if (row.kind == SiteKind::Vector || row.kind == SiteKind::Convolution || row.kind == SiteKind::Bottleneck)
    return "-";
  if (row.kind == SiteKind::Embedding)
    return row.transposed ? "[width, rows]" : "[rows, width]";
  return row.transposed ? "[in, out]" : "[out, in]";
}

std::string adapter::reportTable(const AttachReport &report) {
  using Line = std::array<std::string, 10>;
  std::vector<Line> lines = {
      {"adapter", "module", "parameter", "kind", "form", "rank", "scale", "orientation", "node", "note"}};
  for (const Placement &row : report.placements)
    lines.push_back({row.adapter, row.module, row.parameter, stringifySiteKind(row.kind).str(), row.form,
                     row.rank ? std::to_string(row.rank) : "-", numberText(row.scale), orientationOf(row),
                     row.node, row.note});
  std::array<size_t, 10> widths{};
  for (const Line &line : lines)
    for (size_t i = 0; i < line.size(); ++i)
      widths[i] = std::max(widths[i], line[i].size());
  std::string text;
  for (const Line &line : lines) {
    std::string row;
    for (size_t i = 0; i < line.size(); ++i)
      row += line[i] + std::string(widths[i] - line[i].size() + 2, ' ');
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + "\n";
  }
  for (const SlotPlacement &slot : report.slots) {
    std::string forms;
    for (const std::string &form : slot.forms)
      forms += (forms.empty() ? "" : ", ") + form;
    text += "slot " + slot.slot + " at " + stringifyBindingTime(slot.time).str() + ": " +
            std::to_string(slot.sites) + " sites for " + forms +
            (slot.rank ? ", ranks up to " + std::to_string(slot.rank) : ", any rank") + "\n";
  }
  for (const std::string &module : report.ignored)
    text += "ignored: " + module + "\n";
  for (const std::string &message : report.leftOver)
    text += "left over: " + message + "\n";
  return text;
}

std::string adapter::reportJson(const AttachReport &report) {
  llvm::json::Array updates;
  for (const Placement &row : report.placements) {
    llvm::json::Object entry{{"adapter", row.adapter},
                             {"module", row.module},
                             {"parameter", row.parameter},
                             {"model", row.model},
                             {"graph_module", row.graphModule},
                             {"node", row.node},
                             {"kind", stringifySiteKind(row.kind)},
                             {"form", row.form},
                             {"scale", row.scale},
                             {"transposed", row.transposed}};
    if (row.rank)
      entry["rank"] = row.rank;
    if (!row.note.empty())
      entry["note"] = row.note;
    updates.push_back(std::move(entry));
  }
  llvm::json::Array slots;
  for (const SlotPlacement &slot : report.slots)
    slots.push_back(llvm::json::Object{{"slot", slot.slot},
                                       {"time", stringifyBindingTime(slot.time)},
                                       {"forms", llvm::json::Array(slot.forms)},
                                       {"rank", slot.rank},
                                       {"sites", slot.sites}});
  llvm::json::Object all{{"updates", std::move(updates)},
                         {"slots", std::move(slots)},
                         {"ignored", llvm::json::Array(report.ignored)},
                         {"left_over", llvm::json::Array(report.leftOver)}};
  std::string text;
  llvm::raw_string_ostream(text) << llvm::formatv("{0:2}", llvm::json::Value(std::move(all))) << "\n";
  return text;
}

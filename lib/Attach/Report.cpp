// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What --check prints.
#include "lib/Attach/Report.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>

using namespace adapter;

static std::string numberText(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", value);
  return text;
}

const char *adapter::evidenceName(Evidence evidence) {
  return evidence == Evidence::Contents ? "contents" : evidence == Evidence::Metadata ? "metadata" : "names";
}

// How many parameters the base proves, of those that the graph has.
static std::pair<size_t, size_t> provedOf(const AttachReport &report) {
  size_t proved = 0, all = 0;
  for (const Placement &row : report.placements) {
    if (row.note == "new bias" || row.kind == SiteKind::Bottleneck)
      continue;
    ++all;
    proved += row.evidence == Evidence::Contents;
  }
  return {proved, all};
}

static std::string placedText(const AttachReport &report) {
  size_t modules = 0, placed = 0;
  std::string strangers;
  for (const AdapterVerdict &verdict : report.verdicts) {
    modules += verdict.modules;
    placed += verdict.placed;
    if (!verdict.stranger.empty())
      strangers += (strangers.empty() ? ": " : "; ") + verdict.stranger;
  }
  if (!modules)
    return "";
  return std::to_string(placed) + " of " + std::to_string(modules) + " modules " +
         (placed ? "placed" : "found") + strangers;
}

static std::string proofText(const AttachReport &report) {
  auto [proved, all] = provedOf(report);
  if (!all)
    return "";
  std::string text = std::to_string(proved) + " of " + std::to_string(all) + " parameters proved by contents";
  if (report.bases.empty())
    return text + " (no base checkpoint to compare with; --base names one)";
  std::string paths;
  for (const ComparedBase &base : report.bases)
    if (paths.find(base.path) == std::string::npos)
      paths += (paths.empty() ? "" : ", ") + base.path;
  return text + " (" + paths + ")";
}

// The last line of --check.
std::string adapter::verdictText(const AttachReport &report) {
  std::string placed = placedText(report), proof = proofText(report);
  return placed + (placed.empty() || proof.empty() ? "" : ", ") + proof;
}

static std::string orientationOf(const Placement &row) {
  if (row.kind == SiteKind::Vector || row.kind == SiteKind::Convolution || row.kind == SiteKind::Bottleneck)
    return "-";
  if (row.kind == SiteKind::Embedding)
    return row.transposed ? "[width, rows]" : "[rows, width]";
  return row.transposed ? "[in, out]" : "[out, in]";
}

// What the graph holds, where that is not the parameter itself, stands with the note.
static std::string noteOf(const Placement &row) {
  std::string derived = row.derivation.empty() ? "" : "the graph holds " + row.derivation;
  return row.note.empty() || derived.empty() ? row.note + derived : row.note + "; " + derived;
}

std::vector<ReportLine> adapter::linesOf(const AttachReport &report) {
  std::vector<ReportLine> lines = {{"adapter", "module", "parameter", "kind", "form", "rank", "scale",
                                    "orientation", "node", "evidence", "note"}};
  for (const Placement &row : report.placements)
    lines.push_back({row.adapter, row.module, row.parameter, stringifySiteKind(row.kind).str(), row.form,
                     row.rank ? std::to_string(row.rank) : "-", numberText(row.scale), orientationOf(row),
                     row.node, evidenceName(row.evidence), noteOf(row)});
  return lines;
}

std::string adapter::slotText(const SlotPlacement &slot) {
  std::string forms;
  for (const std::string &form : slot.forms)
    forms += (forms.empty() ? "" : ", ") + form;
  return "slot " + slot.slot + " at " + stringifyBindingTime(slot.time).str() + ": " +
         std::to_string(slot.sites) + " sites for " + forms +
         (slot.rank ? ", ranks up to " + std::to_string(slot.rank) : ", any rank");
}

std::string adapter::reportTable(const AttachReport &report) {
  std::vector<ReportLine> lines = linesOf(report);
  std::array<size_t, 11> widths{};
  for (const ReportLine &line : lines)
    for (size_t i = 0; i < line.size(); ++i)
      widths[i] = std::max(widths[i], line[i].size());
  std::string text;
  if (report.placements.empty())
    lines.clear();
  for (const ReportLine &line : lines) {
    std::string row;
    for (size_t i = 0; i < line.size(); ++i)
      row += line[i] + std::string(widths[i] - line[i].size() + 2, ' ');
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + "\n";
  }
  for (const SlotPlacement &slot : report.slots)
    text += slotText(slot) + "\n";
  for (const std::string &module : report.ignored)
    text += "ignored: " + module + "\n";
  for (const std::string &message : leftOverLines(report))
    text += "left over: " + message + "\n";
  if (std::string verdict = verdictText(report); !verdict.empty())
    text += verdict + "\n";
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
                             {"transposed", row.transposed},
                             {"evidence", evidenceName(row.evidence)}};
    if (!row.derivation.empty())
      entry["derivation"] = row.derivation;
    if (row.rank)
      entry["rank"] = row.rank;
    if (!row.note.empty())
      entry["note"] = row.note;
    if (row.weightNorm)
      entry["weight_norm"] = *row.weightNorm;
    if (row.updateNorm)
      entry["update_norm"] = *row.updateNorm;
    updates.push_back(std::move(entry));
  }
  llvm::json::Array slots;
  for (const SlotPlacement &slot : report.slots)
    slots.push_back(llvm::json::Object{{"slot", slot.slot},
                                       {"time", stringifyBindingTime(slot.time)},
                                       {"forms", llvm::json::Array(slot.forms)},
                                       {"rank", slot.rank},
                                       {"sites", slot.sites}});
  llvm::json::Array bases;
  for (const ComparedBase &base : report.bases)
    bases.push_back(
        llvm::json::Object{{"adapter", base.adapter}, {"path", base.path}, {"digest", base.digest}});
  auto [proved, touched] = provedOf(report);
  llvm::json::Array leftOver, verdicts;
  for (const LeftOver &each : report.leftOver)
    leftOver.push_back(each.text());
  for (const AdapterVerdict &each : report.verdicts)
    verdicts.push_back(llvm::json::Object{{"adapter", each.adapter},
                                          {"path", each.path},
                                          {"modules", static_cast<int64_t>(each.modules)},
                                          {"placed", static_cast<int64_t>(each.placed)},
                                          {"why_none", each.stranger}});
  llvm::json::Object all{{"updates", std::move(updates)},
                         {"bases", std::move(bases)},
                         {"proved", static_cast<int64_t>(proved)},
                         {"parameters", static_cast<int64_t>(touched)},
                         {"slots", std::move(slots)},
                         {"ignored", llvm::json::Array(report.ignored)},
                         {"verdicts", std::move(verdicts)},
                         {"left_over", std::move(leftOver)}};
  std::string text;
  llvm::raw_string_ostream(text) << llvm::formatv("{0:2}", llvm::json::Value(std::move(all))) << "\n";
  return text;
}

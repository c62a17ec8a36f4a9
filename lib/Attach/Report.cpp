// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What --check prints.
#include "lib/Attach/Attach.h"
#include "llvm/ADT/StringExtras.h"
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

using Line = std::array<std::string, 11>;

static std::vector<Line> linesOf(const AttachReport &report) {
  std::vector<Line> lines = {{"adapter", "module", "parameter", "kind", "form", "rank", "scale",
                              "orientation", "node", "evidence", "note"}};
  for (const Placement &row : report.placements)
    lines.push_back({row.adapter, row.module, row.parameter, stringifySiteKind(row.kind).str(), row.form,
                     row.rank ? std::to_string(row.rank) : "-", numberText(row.scale), orientationOf(row),
                     row.node, evidenceName(row.evidence), noteOf(row)});
  return lines;
}

static std::string slotText(const SlotPlacement &slot) {
  std::string forms;
  for (const std::string &form : slot.forms)
    forms += (forms.empty() ? "" : ", ") + form;
  return "slot " + slot.slot + " at " + stringifyBindingTime(slot.time).str() + ": " +
         std::to_string(slot.sites) + " sites for " + forms +
         (slot.rank ? ", ranks up to " + std::to_string(slot.rank) : ", any rank");
}

std::string adapter::reportTable(const AttachReport &report) {
  std::vector<Line> lines = linesOf(report);
  std::array<size_t, 11> widths{};
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
  for (const SlotPlacement &slot : report.slots)
    text += slotText(slot) + "\n";
  for (const std::string &module : report.ignored)
    text += "ignored: " + module + "\n";
  for (const std::string &message : report.leftOver)
    text += "left over: " + message + "\n";
  if (std::string proof = proofText(report); !proof.empty())
    text += proof + "\n";
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
  llvm::json::Object all{{"updates", std::move(updates)},
                         {"bases", std::move(bases)},
                         {"proved", static_cast<int64_t>(proved)},
                         {"parameters", static_cast<int64_t>(touched)},
                         {"slots", std::move(slots)},
                         {"ignored", llvm::json::Array(report.ignored)},
                         {"left_over", llvm::json::Array(report.leftOver)}};
  std::string text;
  llvm::raw_string_ostream(text) << llvm::formatv("{0:2}", llvm::json::Value(std::move(all))) << "\n";
  return text;
}

//===----------------------------------------------------------------------===//
// HTML: one file that needs no other. Adapters and graphs name what they like, so every text is escaped.
//===----------------------------------------------------------------------===//

static constexpr const char *pageStart = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Where the adapters go</title>
<style>
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 90em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; font-size: 13px; }
th, td { text-align: left; padding: .25em .8em; border-bottom: 1px solid #ddd; overflow-wrap: anywhere; }
th { position: sticky; top: 0; background: #fff; border-bottom: 2px solid #888; }
td:nth-child(6), td:nth-child(7) { text-align: right; }
.wrong { color: #a00; }
.right { color: #060; }
</style>
</head>
<body>
<h1>Where the adapters go</h1>
)";

static std::string escaped(llvm::StringRef text) {
  std::string result;
  llvm::raw_string_ostream stream(result);
  llvm::printHTMLEscaped(text, stream);
  return result;
}

static std::string htmlList(llvm::StringRef title, llvm::StringRef style,
                            const std::vector<std::string> &items) {
  if (items.empty())
    return "";
  std::string text = "<h2>" + title.str() + "</h2>\n<ul class=\"" + style.str() + "\">\n";
  for (const std::string &item : items)
    text += "<li>" + escaped(item) + "</li>\n";
  return text + "</ul>\n";
}

std::string adapter::reportHtml(const AttachReport &report) {
  std::string text = pageStart;
  size_t placed = report.placements.size(), left = report.leftOver.size();
  text += "<p class=\"" + std::string(left ? "wrong" : "right") + "\">" + std::to_string(placed) +
          " updates have a place, " + std::to_string(left) + " are left over.</p>\n";
  if (std::string proof = proofText(report); !proof.empty())
    text += "<p>" + escaped(proof) + "</p>\n";
  text += htmlList("Left over", "wrong", report.leftOver);
  if (placed) {
    text += "<h2>Updates</h2>\n<table>\n";
    bool isHead = true;
    for (const Line &line : linesOf(report)) {
      const char *cell = isHead ? "th" : "td";
      isHead = false;
      text += "<tr>";
      for (const std::string &field : line)
        text += "<" + std::string(cell) + ">" + escaped(field) + "</" + cell + ">";
      text += "</tr>\n";
    }
    text += "</table>\n";
  }
  std::vector<std::string> slots;
  for (const SlotPlacement &slot : report.slots)
    slots.push_back(slotText(slot));
  text += htmlList("Room for adapters that arrive later", "slots", slots);
  text += htmlList("Ignored, as was asked for", "ignored", report.ignored);
  return text + "</body>\n</html>\n";
}

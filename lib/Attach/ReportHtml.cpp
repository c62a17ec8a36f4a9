// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// --check as a page: one file that needs no other. Adapters and graphs name what they like, so every text is escaped.
#include "lib/Attach/Report.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace adapter;

static constexpr const char *pageStart = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Adapters</title>
<style>
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 90em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; font-size: 13px; }
th, td { text-align: left; padding: .25em .8em; border-bottom: 1px solid #ddd; overflow-wrap: anywhere; }
th { position: sticky; top: 0; background: #fff; border-bottom: 2px solid #888; }
td:nth-child(6), td:nth-child(7) { text-align: right; }
.wrong { color: #a00; }
.right { color: #060; }
svg { display: block; margin-bottom: 1em; }
rect { fill: #47a; } rect:hover { fill: #d70; }
</style>
</head>
<body>
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

// "adapters a, b in bert.onnx"
static std::string heading(const AttachReport &report) {
  std::vector<std::string> adapters, models;
  for (const AdapterVerdict &verdict : report.verdicts)
    adapters.push_back(verdict.adapter);
  for (const Placement &row : report.placements)
    if (!llvm::is_contained(models, row.model))
      models.push_back(row.model);
  std::string text = adapters.empty() ? "Room" : llvm::join(adapters, ", ");
  return models.empty() ? text : text + " in " + llvm::join(models, ", ");
}

static std::string number(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.3g", value);
  return text;
}

namespace {
// A bar of a chart.
struct Bar {
  std::string label;
  double value;
};
} // namespace

// Bars side by side, each with its label where the pointer rests.
static std::string chart(llvm::StringRef title, llvm::ArrayRef<Bar> bars) {
  static constexpr double height = 90, width = 1000;
  double largest = 0;
  for (const Bar &bar : bars)
    largest = std::max(largest, bar.value);
  if (largest <= 0)
    return "";
  double step = std::min(width / static_cast<double>(bars.size()), 24.0);
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << "<h3>" << escaped(title) << " (up to " << number(largest) << ")</h3>\n"
         << llvm::formatv("<svg width=\"{0}\" height=\"{1}\" role=\"img\">\n", step * bars.size() + 1,
                          height);
  for (size_t i = 0; i < bars.size(); ++i) {
    double tall = bars[i].value / largest * (height - 2);
    stream << llvm::formatv(
        "<rect x=\"{0:F2}\" y=\"{1:F2}\" width=\"{2:F2}\" height=\"{3:F2}\"><title>{4}: {5}</title></rect>\n",
        step * i, height - tall, step * 0.85, tall, escaped(bars[i].label), number(bars[i].value));
  }
  stream << "</svg>\n";
  return text;
}

// Who an adapter is, and how its ranks and changes are spread over the model.
static std::string htmlAdapter(const AdapterVerdict &adapter, const AttachReport &report) {
  std::vector<Bar> ranks, changes;
  for (const Placement &row : report.placements) {
    if (row.adapter != adapter.adapter)
      continue;
    std::string label = row.module + "." + row.parameter;
    if (row.rank)
      ranks.push_back({label, static_cast<double>(row.rank)});
    if (row.updateNorm && row.weightNorm && *row.weightNorm > 0)
      changes.push_back({label, *row.updateNorm / *row.weightNorm});
  }
  std::string text = "<h2>" + escaped(adapter.adapter) + "</h2>\n<p>" + escaped(adapter.path) + ", " +
                     escaped(adapter.method);
  if (!adapter.base.empty())
    text += ", made of " + escaped(adapter.base);
  text += ": " + std::to_string(adapter.placed) + " of " + std::to_string(adapter.modules) +
          " modules placed</p>\n";
  return text + chart("Ranks", ranks) + chart("Changes, norm of the update over that of the weight", changes);
}

std::string adapter::reportHtml(const AttachReport &report) {
  std::string text = pageStart;
  text += "<h1>" + escaped(heading(report)) + "</h1>\n";
  size_t placed = report.placements.size(), left = report.leftOver.size();
  text +=
      "<p class=\"" + std::string(left ? "wrong" : "right") + "\">" + escaped(verdictText(report)) + "</p>\n";
  text += htmlList("Left over", "wrong", leftOverLines(report));
  for (const AdapterVerdict &adapter : report.verdicts)
    text += htmlAdapter(adapter, report);
  if (placed) {
    text += "<h2>Updates</h2>\n<table>\n";
    bool isHead = true;
    for (const ReportLine &line : linesOf(report)) {
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

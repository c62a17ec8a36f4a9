// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// --check as a page: one file that needs no other. Adapters and graphs name what they like, so every text is escaped.
#include "lib/Attach/Report.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace adapter;

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
  text +=
      "<p class=\"" + std::string(left ? "wrong" : "right") + "\">" + escaped(verdictText(report)) + "</p>\n";
  text += htmlList("Left over", "wrong", leftOverLines(report));
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

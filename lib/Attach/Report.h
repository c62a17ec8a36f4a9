// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parts that the reports of --check, as text and as a page, have in common.
#ifndef ADAPTER_LIB_ATTACH_REPORT_H
#define ADAPTER_LIB_ATTACH_REPORT_H

#include "lib/Attach/Attach.h"
#include <array>

namespace adapter {

using ReportLine = std::array<std::string, 11>;

/// The table: a head, and a line for each update.
std::vector<ReportLine> linesOf(const AttachReport &report);
std::string slotText(const SlotPlacement &slot);
/// How many modules have a place, and how many parameters are proved.
std::string verdictText(const AttachReport &report);
/// What has no place; modules that are missing alike in one line.
std::vector<std::string> leftOverLines(const AttachReport &report);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_REPORT_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What adapter-opt --help shows, and how a wrong command line is put in words.
#ifndef ADAPTER_LIB_PIPELINES_HELP_H
#define ADAPTER_LIB_PIPELINES_HELP_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace adapter {

/// Takes the options that are registered so far, all of them LLVM's, out of help and suggestions. They still
/// work. To be called before any other option is registered.
void hideOptionsOfLLVM();

/// What --help prints, which fits a screen.
std::string helpText();

/// The text above the options in --help-all.
extern const char *const helpOverview;

/// An option on the command line that is designed but not there yet, in words; "" where there is none.
std::string optionNotYet(llvm::ArrayRef<char *> arguments);

/// LLVM's complaint about a command line in one sentence.
std::string complaintOf(llvm::StringRef errors);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_HELP_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The texts in Library/, as the build embeds them.
#ifndef ADAPTER_LIB_FORMS_EMBEDDEDFORMS_H
#define ADAPTER_LIB_FORMS_EMBEDDEDFORMS_H

namespace adapter {

struct EmbeddedForm {
  const char *name, *text;
};
extern const EmbeddedForm embeddedForms[];
extern const int embeddedFormCount;

} // namespace adapter

#endif // ADAPTER_LIB_FORMS_EMBEDDEDFORMS_H

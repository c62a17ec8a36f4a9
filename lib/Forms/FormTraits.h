// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is known of a form beside its signature, read off the body of its definition. A body of another kind, or with more
// tensors or numbers in it, has none of it, and where one of these is needed its updates are refused by name.
#ifndef ADAPTER_LIB_FORMS_FORMTRAITS_H
#define ADAPTER_LIB_FORMS_FORMTRAITS_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include <set>

namespace adapter {

struct FormTraits {
  bool scales = false;   ///< it has a scale of its own
  bool adds = false;     ///< what it does to the weight is a sum, whatever that holds
  bool replaces = false; ///< all of the parameter is put in its place
  bool puts = false;     ///< some elements or rows are
  /// A tensor is shaped like the parameter in the checkpoint, or names elements of it.
  bool hasPlaces = false;

  /// W + scale outer inner, with each row of the result scaled to the norm `length` where that is given.
  std::string outer, inner, length;
  /// Elements of the parameter: all, or those that `places` names; of rows `rows` says which.
  std::string elements, places, rows;

  bool isFactors() const { return !outer.empty(); }
  bool isWhole() const { return !elements.empty() && places.empty() && rows.empty(); }
};

/// Of a form with those of its tensors that are given; of null none.
FormTraits traitsWith(FormOp form, const std::set<std::string> &roles);
/// Of a form with the tensors that must be given, and those of some variants.
FormTraits traitsOf(FormOp form, const std::set<std::string> &variants = {});

} // namespace adapter

#endif // ADAPTER_LIB_FORMS_FORMTRAITS_H

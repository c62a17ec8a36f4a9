// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Definitions of forms in the manifest: what they ask of an adapter.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Forms/FormLibrary.h"
#include "lib/Forms/FormTraits.h"
#include "lib/Pipelines/Manifest.h"

using namespace mlir;
using namespace adapter;

static void fillRole(RoleAttr attr, const forms::Role &known, artifact::FormRole &role) {
  auto text = [](StringAttr text) { return text ? text.str() : std::string(); };
  role.set_name(attr.getName().str());
  role.set_dims(attr.getDims().str());
  role.set_index(attr.getIndex());
  role.set_index_of(text(attr.getIndexOf()));
  role.set_optional(attr.getOptional());
  role.set_variant(text(attr.getVariant()));
  role.set_shared(attr.getShared());
  role.set_permutation(known.isPermutation);
}

static void fill(FormOp form, artifact::FormDefinition &row) {
  auto addAll = [](ArrayAttr texts, auto *into) {
    for (auto text : texts.getAsRange<StringAttr>())
      into->Add(text.str());
  };
  row.set_name(form.getSymName().str());
  for (auto kind : form.getKinds().getAsRange<SiteKindAttr>())
    row.add_kinds(stringifySiteKind(kind.getValue()).str());
  forms::Signature signature = form.getSignature();
  for (auto [attr, known] : llvm::zip(form.getRoles().getAsRange<RoleAttr>(), signature.roles))
    fillRole(attr, known, *row.add_roles());
  for (auto attr : form.getScalars().getAsRange<ScalarAttr>()) {
    artifact::FormScalar &scalar = *row.add_scalars();
    scalar.set_name(attr.getName().str());
    if (attr.getByDefault())
      scalar.set_by_default(attr.getByDefault().getValueAsDouble());
  }
  for (auto attr : form.getIntegers().getAsRange<FormIntegerAttr>()) {
    artifact::FormInteger &integer = *row.add_integers();
    integer.set_name(attr.getName().str());
    if (attr.getByDefault())
      integer.set_by_default(attr.getByDefault().getInt());
  }
  addAll(form.getChoices(), row.mutable_choices());
  addAll(form.getDefinitions(), row.mutable_definitions());
  addAll(form.getRequirements(), row.mutable_requirements());
  addAll(form.getSliceable(), row.mutable_sliceable());
  row.set_hash(FormLibrary::get(form.getContext()).hashOf(form));
  row.set_makes_bias(form.makesBias());
  row.set_keeps_no_bias(form.keepsNoBias());
  if (FormTraits traits = traitsOf(form); traits.replaces)
    row.set_replaces(traits.elements);
}

int ManifestBuilder::definitionRow(FormOp form) {
  for (int i = 0; i < manifest.forms_size(); ++i)
    if (manifest.forms(i).name() == form.getSymName().str())
      return i;
  fill(form, *manifest.add_forms());
  return manifest.forms_size() - 1;
}

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// TableGen entry point of the adapter dialect.
include "dialects/Adapter/IR/AdapterDialect.td"
include "dialects/Adapter/IR/AdapterTypes.td"
include "dialects/Adapter/IR/AdapterInterfaces.td"
include "dialects/Adapter/IR/ParameterOps.td"
include "dialects/Adapter/IR/UpdateOps.td"
include "dialects/Adapter/IR/SiteOps.td"
include "dialects/Adapter/IR/ExpertOps.td"
include "dialects/Adapter/IR/AttentionOps.td"
include "dialects/Adapter/IR/ModuleOps.td"
include "dialects/Adapter/IR/ResidentOps.td"
include "dialects/Adapter/IR/AttachmentOps.td"
include "dialects/Adapter/IR/MapOps.td"
include "dialects/Adapter/IR/FormOps.td"

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How adapter.form is written.
#include "dialects/Adapter/IR/AdapterOps.h"

using namespace mlir;
using namespace adapter;

//===----------------------------------------------------------------------===//
// Parsing
//===----------------------------------------------------------------------===//

namespace {
class FormParser {
public:
  FormParser(OpAsmParser &parser, OperationState &result)
      : parser(parser), result(result), b(parser.getBuilder()) {}
  ParseResult parse();

private:
  using List = function_ref<ParseResult()>;
  // word ( element , .. ), where it stands.
  ParseResult optionalList(StringRef word, List element) {
    if (failed(parser.parseOptionalKeyword(word)))
      return success();
    return parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, element);
  }
  ParseResult argument(Type type) {
    OpAsmParser::Argument argument;
    if (parser.parseArgument(argument))
      return failure();
    argument.type = type;
    arguments.push_back(argument);
    return success();
  }
  ParseResult string(std::string &text) { return parser.parseString(&text); }
  ParseResult kind();
  ParseResult role();
  ParseResult modifiers(bool &index, StringAttr &indexOf, bool &optional, StringAttr &variant, bool &shared);
  ParseResult scalar();
  ParseResult integer();
  ParseResult strings(StringRef word, StringAttr name);

  OpAsmParser &parser;
  OperationState &result;
  Builder &b;
  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<Attribute> kinds, roles, scalars, integers;
};
} // namespace

ParseResult FormParser::kind() {
  StringRef word;
  SMLoc at = parser.getCurrentLocation();
  if (parser.parseKeyword(&word))
    return failure();
  std::optional<SiteKind> known = symbolizeSiteKind(word);
  if (!known || *known == SiteKind::Bottleneck)
    return parser.emitError(at, "expected linear, embedding, convolution or vector");
  kinds.push_back(SiteKindAttr::get(b.getContext(), *known));
  return success();
}

// index [of "size"], optional ["variant"], shared
ParseResult FormParser::modifiers(bool &index, StringAttr &indexOf, bool &optional, StringAttr &variant,
                                  bool &shared) {
  std::string text;
  for (;;) {
    if (succeeded(parser.parseOptionalKeyword("index"))) {
      index = true;
      if (succeeded(parser.parseOptionalKeyword("of"))) {
        if (string(text))
          return failure();
        indexOf = b.getStringAttr(text);
      }
    } else if (succeeded(parser.parseOptionalKeyword("optional"))) {
      optional = true;
      if (succeeded(parser.parseOptionalString(&text)))
        variant = b.getStringAttr(text);
    } else if (succeeded(parser.parseOptionalKeyword("shared"))) {
      shared = true;
    } else {
      return success();
    }
  }
}

// How many dimensions a form's body gets; none where the text has no meaning.
static std::optional<int64_t> rankOf(StringRef dims) {
  if (dims == "weight" || dims == "coordinates")
    return 2;
  checkpoint::Result<forms::Dims> parsed = forms::Dims::parse(std::string_view(dims));
  return parsed ? std::optional<int64_t>(parsed->rank()) : std::nullopt;
}

// %A "name" : "dims" modifiers
ParseResult FormParser::role() {
  OpAsmParser::Argument argument;
  std::string name, dims;
  if (parser.parseArgument(argument) || string(name) || parser.parseColon())
    return failure();
  SMLoc at = parser.getCurrentLocation();
  if (string(dims))
    return failure();
  std::optional<int64_t> rank = rankOf(dims);
  if (!rank)
    return parser.emitError(at, forms::Dims::parse(dims).error().message);
  bool index = dims == "coordinates", optional = false, shared = false;
  StringAttr indexOf, variant;
  if (modifiers(index, indexOf, optional, variant, shared))
    return failure();
  Type element = index ? Type(b.getI64Type()) : Type(b.getF64Type());
  argument.type = RankedTensorType::get(SmallVector<int64_t>(*rank, ShapedType::kDynamic), element);
  arguments.push_back(argument);
  roles.push_back(RoleAttr::get(b.getContext(), b.getStringAttr(name), b.getStringAttr(dims), index, indexOf,
                                optional, variant, shared));
  return success();
}

// %s "scale" [= 1.0]
ParseResult FormParser::scalar() {
  std::string name;
  if (argument(b.getF64Type()) || string(name))
    return failure();
  FloatAttr byDefault;
  if (succeeded(parser.parseOptionalEqual())) {
    double value;
    if (parser.parseFloat(value))
      return failure();
    byDefault = b.getF64FloatAttr(value);
  }
  scalars.push_back(ScalarAttr::get(b.getContext(), b.getStringAttr(name), byDefault));
  return success();
}

// %n "terms" [= 5]
ParseResult FormParser::integer() {
  std::string name;
  if (argument(b.getIndexType()) || string(name))
    return failure();
  IntegerAttr byDefault;
  if (succeeded(parser.parseOptionalEqual())) {
    int64_t value;
    if (parser.parseInteger(value))
      return failure();
    byDefault = b.getI64IntegerAttr(value);
  }
  integers.push_back(FormIntegerAttr::get(b.getContext(), b.getStringAttr(name), byDefault));
  return success();
}

ParseResult FormParser::strings(StringRef word, StringAttr name) {
  SmallVector<Attribute> texts;
  std::string text;
  if (optionalList(word, [&] {
        if (string(text))
          return ParseResult(failure());
        texts.push_back(b.getStringAttr(text));
        return ParseResult(success());
      }))
    return failure();
  result.addAttribute(name, b.getArrayAttr(texts));
  return success();
}

ParseResult FormParser::parse() {
  StringAttr symbol;
  OperationName op = result.name;
  if (parser.parseSymbolName(symbol, FormOp::getSymNameAttrName(op), result.attributes) ||
      parser.parseKeyword("for") ||
      parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Square, [&] { return kind(); }) ||
      optionalList("roles", [&] { return role(); }) || optionalList("scalars", [&] { return scalar(); }) ||
      optionalList("attributes", [&] { return integer(); }))
    return failure();
  result.addAttribute(FormOp::getKindsAttrName(op), b.getArrayAttr(kinds));
  result.addAttribute(FormOp::getRolesAttrName(op), b.getArrayAttr(roles));
  result.addAttribute(FormOp::getScalarsAttrName(op), b.getArrayAttr(scalars));
  result.addAttribute(FormOp::getIntegersAttrName(op), b.getArrayAttr(integers));
  if (strings("choice", FormOp::getChoicesAttrName(op)) ||
      strings("where", FormOp::getDefinitionsAttrName(op)) ||
      strings("requires", FormOp::getRequirementsAttrName(op)) ||
      strings("sliceable", FormOp::getSliceableAttrName(op)) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return parser.parseRegion(*result.addRegion(), arguments);
}

ParseResult FormOp::parse(OpAsmParser &parser, OperationState &result) {
  return FormParser(parser, result).parse();
}

//===----------------------------------------------------------------------===//
// Printing
//===----------------------------------------------------------------------===//

static void printRole(OpAsmPrinter &p, RoleAttr role) {
  p << role.getName() << " : " << role.getDims();
  if (role.getIndex() && role.getDims() != "coordinates")
    p << " index";
  if (role.getIndexOf())
    p << " of " << role.getIndexOf();
  if (role.getOptional())
    p << " optional";
  if (role.getVariant())
    p << " " << role.getVariant();
  if (role.getShared())
    p << " shared";
}

void FormOp::print(OpAsmPrinter &p) {
  p << ' ';
  p.printSymbolName(getSymName());
  p << " for [";
  llvm::interleaveComma(getKinds(), p,
                        [&](Attribute kind) { p << stringifySiteKind(cast<SiteKindAttr>(kind).getValue()); });
  p << ']';
  unsigned at = 0;
  auto list = [&](StringRef word, ArrayAttr elements, function_ref<void(Attribute)> element) {
    if (elements.empty())
      return;
    p.increaseIndent();
    p.printNewline();
    p << word << '(';
    llvm::interleaveComma(elements, p, [&](Attribute each) {
      p.printRegionArgument(getBody().getArgument(at++), {}, /*omitType=*/true);
      p << ' ';
      element(each);
    });
    p << ')';
    p.decreaseIndent();
  };
  list("roles", getRoles(), [&](Attribute each) { printRole(p, cast<RoleAttr>(each)); });
  list("scalars", getScalars(), [&](Attribute each) {
    auto scalar = cast<ScalarAttr>(each);
    p << scalar.getName();
    if (scalar.getByDefault()) {
      p << " = ";
      p.printFloat(scalar.getByDefault().getValue());
    }
  });
  list("attributes", getIntegers(), [&](Attribute each) {
    auto integer = cast<FormIntegerAttr>(each);
    p << integer.getName();
    if (integer.getByDefault())
      p << " = " << integer.getByDefault().getInt();
  });
  auto strings = [&](StringRef word, ArrayAttr texts) {
    if (texts.empty())
      return;
    p << ' ' << word << '(';
    llvm::interleaveComma(texts, p);
    p << ')';
  };
  strings("choice", getChoices());
  strings("where", getDefinitions());
  strings("requires", getRequirements());
  strings("sliceable", getSliceable());
  p.printOptionalAttrDictWithKeyword((*this)->getAttrs(),
                                     {"sym_name", "kinds", "roles", "scalars", "integers", "choices",
                                      "definitions", "requirements", "sliceable"});
  p << ' ';
  p.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

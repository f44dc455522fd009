#pragma once

#define TOML_HEADER_ONLY 0
#define TOML_EXCEPTIONS 0
// toml++ asserts of a section's name what it reports as a mistake of the file right afterwards.
#define TOML_ASSERT(expr) static_assert(true)
// toml++ 3.3's tables of white space hold it for impossible that a character is in the range of one
// and none itself, as U+3001 is: found by tests/fuzz/pool_config.
#include <toml++/impl/preprocessor.h>
// after it
#include <toml++/impl/forward_declarations.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE return false
#include <toml++/impl/unicode.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE __builtin_unreachable()
#include <toml++/toml.h>

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "libspecrep/pool/config.h"

// Not installed: what reading.cc and edit.cc share.
namespace specrep::pool {

struct TomlDocument {
  toml::table root;
  std::vector<Mistake> mistakes;
  // Names of keys and sections in lines that were left out: that they are missing is no mistake.
  std::set<std::string> broken_names;
};

// Parses what can be parsed: toml++ stops at the first mistake, so that line is left out, and so
// on. Lines keep their numbers.
TomlDocument parse_toml(const std::string& text);

std::vector<std::string> split_lines(const std::string& text);
std::string join_lines(const std::vector<std::string>& lines);

inline std::size_t line_of(const toml::node& node) { return node.source().begin.line; }
inline std::size_t line_of(const toml::key& key) { return key.source().begin.line; }

}  // namespace specrep::pool

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libspecrep/pool/toml_document.h"

// Not installed: how reading.cc takes a section apart.
namespace specrep::pool {

// Of `known`, the word that was most likely meant; empty when none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& known);

// "a, b or c".
std::string alternatives(const std::vector<std::string>& words);

std::string quoted(const std::string& text);  // as TOML writes it

// The keys of a section. Reads a key only once; what nobody has read is unknown. Every mistake is
// noted, and then the key counts as not given.
class Section {
 public:
  // `name` as messages call it: "[ha]", "host xen1".
  Section(const toml::table& table, std::string name, TomlDocument& document)
      : table_(table), name_(std::move(name)), document_(document) {}

  enum Need { kOptional, kRequired };

  std::optional<std::string> text(const std::string& key, Need need = kOptional);
  std::optional<std::int64_t> whole_number(const std::string& key, std::int64_t min,
                                           std::int64_t max, Need need = kOptional);
  std::optional<double> number(const std::string& key, double min, double max);
  std::optional<bool> boolean(const std::string& key);
  std::optional<std::vector<std::string>> texts(const std::string& key);
  // One of some words; gives its value.
  template <class Value>
  std::optional<Value> choice(const std::string& key,
                              const std::vector<std::pair<std::string, Value>>& values,
                              Need need = kOptional) {
    std::vector<std::string> words;
    for (const auto& [word, value] : values) words.push_back(word);
    const auto chosen = word_of(key, words, need);
    if (!chosen) return std::nullopt;
    for (const auto& [word, value] : values)
      if (word == *chosen) return value;
    return std::nullopt;
  }
  // A number, or else one word, for which nothing is given.
  std::optional<std::optional<std::int64_t>> whole_number_or(const std::string& key,
                                                             std::int64_t min, std::int64_t max,
                                                             const std::string& word);

  bool has(const std::string& key) const { return table_.contains(key); }
  // Of the key, or of the section if it is not given.
  std::size_t line(const std::string& key) const;
  std::size_t line() const { return line_of(table_); }
  const std::string& name() const { return name_; }

  void mistake(const std::string& key, const std::string& what, const std::string& cure);
  // To be called when all keys were read.
  void refuse_unknown_keys();

 private:
  // Null when it is not given, which is a mistake if it is required.
  const toml::node* find(const std::string& key, Need need);
  std::optional<std::string> word_of(const std::string& key, const std::vector<std::string>& words,
                                     Need need);
  void wrong_type(const std::string& key, const toml::node& node, const std::string& wanted,
                  const std::string& example);

  const toml::table& table_;
  const std::string name_;
  TomlDocument& document_;
  std::vector<std::string> known_;
};

}  // namespace specrep::pool

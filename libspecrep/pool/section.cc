#include "libspecrep/pool/section.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>

namespace specrep::pool {

namespace {

// Levenshtein's: letters to be changed, put in or taken out.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string kind(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
      return "a whole number";
    case toml::node_type::floating_point:
      return "a number with a point";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::table:
      return "a section";
    default:
      return "a date or time";
  }
}

// 0.5, 90: without zeros at the end.
std::string digits(double number) {
  std::ostringstream text;
  text << number;
  return text.str();
}

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 2);
  for (const std::string& candidate : known) {
    const std::size_t d = distance(word, candidate);
    if (d < best_distance || (d == best_distance && best.empty())) {
      best = candidate;
      best_distance = d;
    }
  }
  return best;
}

std::string alternatives(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
  return text;
}

std::string quoted(const std::string& text) {
  // JSON's escapes are TOML's, too.
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::size_t Section::line(const std::string& key) const {
  const auto at = table_.find(key);
  return at == table_.end() ? line() : line_of(at->first);
}

void Section::mistake(const std::string& key, const std::string& what, const std::string& cure) {
  document_.mistakes.push_back({line(key), name_ + ": " + what, cure});
}

const toml::node* Section::find(const std::string& key, Need need) {
  known_.push_back(key);
  const toml::node* node = table_.get(key);
  if (!node && need == kRequired && !document_.broken_names.contains(key))
    mistake(key, key + " is missing", "add it; pool.conf(5) tells what it is");
  return node;
}

void Section::wrong_type(const std::string& key, const toml::node& node, const std::string& wanted,
                         const std::string& example) {
  mistake(key, key + " is " + kind(node) + " where " + wanted + " belongs",
          "write " + key + " = " + example);
}

std::optional<std::string> Section::text(const std::string& key, Need need) {
  const toml::node* node = find(key, need);
  if (!node) return std::nullopt;
  const auto value = node->value_exact<std::string>();
  if (!value) {
    std::ostringstream written;
    written << std::boolalpha;
    if (node->is_integer() || node->is_floating_point() || node->is_boolean())
      node->visit([&](const auto& it) {
        if constexpr (toml::is_value<decltype(it)>) written << it.get();
      });
    wrong_type(key, *node, "a text", "\"" + written.str() + "\"");
    return std::nullopt;
  }
  if (value->empty()) {
    mistake(key, key + " is empty", "give it a value, or remove the line");
    return std::nullopt;
  }
  return value;
}

std::optional<std::int64_t> Section::whole_number(const std::string& key, std::int64_t min,
                                                  std::int64_t max, Need need) {
  const toml::node* node = find(key, need);
  if (!node) return std::nullopt;
  const auto value = node->value_exact<std::int64_t>();
  if (!value) {
    // "1000" may have been meant as a number.
    std::string example = std::to_string(min);
    if (const auto written = node->value_exact<std::string>()) {
      std::int64_t parsed = 0;
      const char* end = written->data() + written->size();
      if (std::from_chars(written->data(), end, parsed).ptr == end && !written->empty())
        example = *written + ", without quotes";
    }
    wrong_type(key, *node, "a whole number", example);
    return std::nullopt;
  }
  if (*value < min || *value > max) {
    mistake(key, key + " = " + std::to_string(*value) + " is out of range",
            "write a number from " + std::to_string(min) + " to " + std::to_string(max));
    return std::nullopt;
  }
  return value;
}

std::optional<std::optional<std::int64_t>> Section::whole_number_or(const std::string& key,
                                                                    std::int64_t min,
                                                                    std::int64_t max,
                                                                    const std::string& word) {
  const toml::node* node = table_.get(key);
  if (!node || !node->is_string()) {
    const auto value = whole_number(key, min, max);
    if (!value) return std::nullopt;
    return std::optional<std::int64_t>(value);
  }
  known_.push_back(key);
  if (node->value_exact<std::string>() == word)
    return std::optional<std::optional<std::int64_t>>(std::in_place);
  mistake(key, key + " = " + quoted(*node->value_exact<std::string>()) + " is not known",
          "write a number from " + std::to_string(min) + " to " + std::to_string(max) + ", or " +
              quoted(word));
  return std::nullopt;
}

std::optional<double> Section::number(const std::string& key, double min, double max) {
  const toml::node* node = find(key, kOptional);
  if (!node) return std::nullopt;
  if (!node->is_number()) {
    wrong_type(key, *node, "a number", digits(min));
    return std::nullopt;
  }
  const double value = node->is_integer() ? static_cast<double>(*node->value<std::int64_t>())
                                          : *node->value<double>();
  if (!(value >= min && value <= max)) {
    mistake(key, key + " = " + digits(value) + " is out of range",
            "write a number from " + digits(min) + " to " + digits(max));
    return std::nullopt;
  }
  return value;
}

std::optional<bool> Section::boolean(const std::string& key) {
  const toml::node* node = find(key, kOptional);
  if (!node) return std::nullopt;
  const auto value = node->value_exact<bool>();
  if (!value) wrong_type(key, *node, "true or false", "true");
  return value;
}

std::optional<std::vector<std::string>> Section::texts(const std::string& key) {
  const toml::node* node = find(key, kOptional);
  if (!node) return std::nullopt;
  const toml::array* list = node->as_array();
  if (!list) {
    const auto one = node->value_exact<std::string>();
    wrong_type(key, *node, "a list", one ? "[" + quoted(*one) + "]" : "[\"NAME\"]");
    return std::nullopt;
  }
  std::vector<std::string> values;
  for (const toml::node& item : *list) {
    const auto value = item.value_exact<std::string>();
    if (!value) {
      mistake(key, key + " has " + kind(item) + " where a text belongs",
              "write each name in quotes: [\"xen1\", \"xen2\"]");
      return std::nullopt;
    }
    values.push_back(*value);
  }
  return values;
}

std::optional<std::string> Section::word_of(const std::string& key,
                                            const std::vector<std::string>& words, Need need) {
  const auto value = text(key, need);
  if (!value || std::find(words.begin(), words.end(), *value) != words.end()) return value;
  std::vector<std::string> choices;
  for (const std::string& word : words) choices.push_back(quoted(word));
  mistake(key, key + " = " + quoted(*value) + " is not known", "write " + alternatives(choices));
  return std::nullopt;
}

void Section::refuse_unknown_keys() {
  for (const auto& [key, node] : table_) {
    const std::string word(key.str());
    if (std::find(known_.begin(), known_.end(), word) != known_.end()) continue;
    const std::string near = nearest(word, known_);
    mistake(word, "there is no key " + word,
            near.empty() ? "remove it; known are " + alternatives(known_)
                         : "did you mean " + near + "?");
  }
}

}  // namespace specrep::pool

#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

// What an object of JSON has, whoever wrote it: a value that is missing, or of another kind, is
// less to show, and no error.
namespace specrep::tools {

inline std::string text_of(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

inline std::optional<double> number_of(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number() ? std::optional(it->get<double>()) : std::nullopt;
}

}  // namespace specrep::tools

#include "libspecrep/pool/edit.h"

#include <algorithm>
#include <array>

#include "libspecrep/pool/section.h"
#include "libspecrep/pool/toml_document.h"

namespace specrep::pool {

namespace {

toml::table parse(const std::string& text) {
  TomlDocument document = parse_toml(text);
  if (!document.mistakes.empty()) parse_config(text);  // throws, with all of them
  return std::move(document.root);
}

// Null when there is none.
const toml::table* find(const toml::table& root, const SectionId& section) {
  const toml::node* node = root.get(section.kind);
  if (!node) return nullptr;
  if (section.name.empty()) return node->as_table();
  const toml::array* list = node->as_array();
  if (!list) return nullptr;
  for (const toml::node& item : *list)
    if (const toml::table* table = item.as_table();
        table && (*table)["name"].value_exact<std::string>() == section.name)
      return table;
  return nullptr;
}

Error no_section(const SectionId& section) {
  return Error("pool.conf has no " + (section.name.empty() ? "section [" + section.kind + "]"
                                                           : section.kind + " " + section.name),
               "`specrep-pool status` lists hosts and guests");
}

// The byte at a column of toml++'s, which counts characters from 1.
std::size_t byte_of(const std::string& line, std::size_t column) {
  std::size_t at = 0;
  for (std::size_t i = 1; i < column && at < line.size(); ++i) do
      ++at;
    while (at < line.size() && (static_cast<unsigned char>(line[at]) & 0xc0) == 0x80);
  return at;
}

// Of the section's last value, or its header.
std::size_t last_line(const toml::table& table) {
  std::size_t line = line_of(table);
  for (const auto& [key, node] : table) line = std::max<std::size_t>(line, node.source().end.line);
  return line;
}

bool is_blank(const std::string& line) {
  return line.find_first_not_of(" \t\r") == std::string::npos;
}

}  // namespace

Edit::Edit(std::string text) : text_(std::move(text)) { parse(text_); }

void Edit::set(const SectionId& section, const std::string& key, const std::string& value) {
  const toml::table root = parse(text_);
  const toml::table* table = find(root, section);
  if (!table) throw no_section(section);
  std::vector<std::string> lines = split_lines(text_);
  const toml::node* node = table->get(key);
  if (!node) {
    lines.insert(lines.begin() + static_cast<long>(last_line(*table)), key + " = " + value);
  } else {
    const toml::source_region& at = node->source();
    std::string& first = lines[at.begin.line - 1];
    const std::string& last = lines[at.end.line - 1];
    first = std::string(first, 0, byte_of(first, at.begin.column)) + value +
            last.substr(byte_of(last, at.end.column));
    lines.erase(lines.begin() + at.begin.line, lines.begin() + at.end.line);
  }
  text_ = join_lines(lines);
}

void Edit::unset(const SectionId& section, const std::string& key) {
  const toml::table root = parse(text_);
  const toml::table* table = find(root, section);
  if (!table) throw no_section(section);
  const toml::node* node = table->get(key);
  if (!node) return;
  std::vector<std::string> lines = split_lines(text_);
  lines.erase(lines.begin() + node->source().begin.line - 1,
              lines.begin() + node->source().end.line);
  text_ = join_lines(lines);
}

bool Edit::has(const SectionId& section) const { return find(parse(text_), section) != nullptr; }

void Edit::add_section(const std::string& kind,
                       const std::vector<std::pair<std::string, std::string>>& keys) {
  std::vector<std::string> added = {kind == "host" || kind == "vm" ? "[[" + kind + "]]"
                                                                   : "[" + kind + "]"};
  for (const auto& [key, value] : keys) added.push_back(key + " = " + value);
  std::vector<std::string> lines = split_lines(text_);
  const toml::table root = parse(text_);
  // Behind the last of its kind, or at the end.
  std::size_t at = lines.size();
  if (const toml::array* list = root[kind].as_array(); list && !list->empty())
    if (const toml::table* last = list->back().as_table()) at = last_line(*last);
  if (at > 0 && !is_blank(lines[at - 1])) added.insert(added.begin(), "");
  if (at < lines.size() && !is_blank(lines[at])) added.emplace_back("");
  lines.insert(lines.begin() + static_cast<long>(at), added.begin(), added.end());
  text_ = join_lines(lines);
}

void Edit::remove_section(const SectionId& section) {
  const toml::table root = parse(text_);
  const toml::table* table = find(root, section);
  if (!table) throw no_section(section);
  std::vector<std::string> lines = split_lines(text_);
  const std::size_t begin = line_of(*table) - 1;
  std::size_t end = last_line(*table);
  while (end < lines.size() && is_blank(lines[end])) ++end;
  lines.erase(lines.begin() + static_cast<long>(begin), lines.begin() + static_cast<long>(end));
  while (!lines.empty() && is_blank(lines.back())) lines.pop_back();
  text_ = join_lines(lines);
}

std::string toml_text(const std::string& text) { return quoted(text); }

std::string toml_list(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + quoted(text);
  return "[" + list + "]";
}

std::string toml_value(const std::string& key, const std::string& value) {
  if (key == "backup-hosts") {
    std::vector<std::string> names;
    for (std::size_t begin = 0; begin <= value.size();) {
      const std::size_t end = std::min(value.find(',', begin), value.size());
      names.push_back(value.substr(begin, end - begin));
      begin = end + 1;
    }
    return toml_list(names);
  }
  static const std::array kTexts = {"name", "uuid", "config", "preferred-host"};
  if (std::find(kTexts.begin(), kTexts.end(), key) != kTexts.end()) return quoted(value);
  const toml::parse_result parsed = toml::parse("value = " + value);
  if (parsed && parsed.table().size() == 1)
    if (const toml::node* node = parsed.table().get("value");
        node->is_number() || node->is_boolean())
      return value;
  return quoted(value);
}

}  // namespace specrep::pool

// Here, and nowhere else, toml++ is compiled.
#define TOML_IMPLEMENTATION
#include "libspecrep/pool/toml_document.h"

#include <algorithm>

namespace specrep::pool {

namespace {

// A file with more is no pool.conf at all.
constexpr int kSyntaxMistakesMax = 100;

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// What stands before '=', or between the brackets of a section's header.
std::string name_in(const std::string& line) {
  const auto begin = line.find_first_not_of(" \t[\"'");
  if (begin == std::string::npos) return {};
  return line.substr(begin, line.find_first_of(" \t=:]\"'#", begin) - begin);
}

bool is_header(const std::string& line) { return trimmed(line).starts_with('['); }
bool is_repeated_section(const std::string& name) { return name == "host" || name == "vm"; }
bool is_section(const std::string& name) {
  return name == "pool" || name == "ha" || is_repeated_section(name);
}
std::string header_of(const std::string& name) {
  return is_repeated_section(name) ? "[[" + name + "]]" : "[" + name + "]";
}

Mistake header_mistake(const std::string& line, const std::string& why) {
  const std::string name = name_in(line);
  if (why.find("cannot redefine") != std::string::npos) {
    if (is_repeated_section(name))
      return {0, trimmed(line) + " stands here with other brackets than elsewhere",
              "write " + header_of(name)};
    return {0, "a second section [" + name + "]", "move its keys into the first one"};
  }
  return {0, trimmed(line) + " is no section",
          "write " + (is_section(name) ? header_of(name) : "[pool], [ha], [[host]] or [[vm]]")};
}

// Why toml++ did not take a line, in the words of who wrote it.
Mistake line_mistake(const std::string& line, const std::string& why) {
  const auto has = [&](const char* words) { return why.find(words) != std::string::npos; };
  const auto equals = line.find('=');
  const std::string name = name_in(line);
  const std::string value = equals == std::string::npos ? "" : trimmed(line.substr(equals + 1));
  if (has("utf-8")) return {0, "bytes that are no UTF-8", "save the file as UTF-8"};
  if (equals == std::string::npos || equals == line.find_first_not_of(" \t"))
    return {0, trimmed(line) + " is no key with a value",
            "write KEY = VALUE, or put # before a comment"};
  if (has("cannot redefine")) return {0, "a second " + name, "remove one of the two lines"};
  if (has("array"))
    return {0, name + " is a list that does not end", "write it as [\"xen1\", \"xen2\"]"};
  if (value.empty() || value[0] == '#')
    return {0, name + " has no value", "write one behind the ="};
  if (has("escape sequence"))
    return {0, "a \\ in " + name + " that TOML does not know",
            "write \\\\ for a \\, or the text in single quotes"};
  if (value[0] == '"' || value[0] == '\'') {
    if (has("string"))
      return {0, "the text of " + name + " does not end",
              std::string("add the closing ") + value[0]};
    return {0, "something stands behind the value of " + name,
            "remove it, or put # before a comment"};
  }
  std::string small = value.substr(0, value.find_first_of(" \t#"));
  std::transform(small.begin(), small.end(), small.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (small == "true" || small == "yes" || small == "on")
    return {0, name + " = " + value + " is no TOML", "write true"};
  if (small == "false" || small == "no" || small == "off")
    return {0, name + " = " + value + " is no TOML", "write false"};
  const bool address =
      std::count(value.begin(), value.end(), '.') > 1 || value.find(':') != std::string::npos;
  if (value[0] >= '0' && value[0] <= '9' && !address && !has("determine"))
    return {0, name + " = " + value + " is no number",
            "write digits alone; the unit is in the key's name"};
  return {0, "the text of " + name + " has no quotes",
          "write " + name + " = \"" + trimmed(value.substr(0, value.find('#'))) + "\""};
}

// The line that begins the list in which `at` is.
std::size_t list_begin(const std::vector<std::string>& lines, std::size_t at) {
  for (std::size_t i = at + 1; i-- > 0;) {
    const auto equals = lines[i].find('=');
    if (equals != std::string::npos && lines[i].find('[', equals) != std::string::npos) return i;
  }
  return at;
}

// Takes what is wrong out of the lines and says what that was; `at` is where toml++ gave up.
Mistake repair(std::vector<std::string>& lines, std::size_t at, const std::string& why,
               std::set<std::string>& broken_names) {
  // It may have given up where the next line begins, or at the end of the file.
  while (at > 0 && trimmed(lines[at]).empty()) --at;
  if (why.find("parsing array") != std::string::npos) at = list_begin(lines, at);
  std::string& line = lines[at];
  Mistake mistake;
  const std::string name = name_in(line);
  if (is_header(line)) {
    mistake = header_mistake(line, why);
    const bool again = why.find("cannot redefine") != std::string::npos;
    if (is_section(name) && line != header_of(name) && (is_repeated_section(name) || !again)) {
      line = header_of(name);
    } else {
      // Its keys must not count as those of the section before.
      broken_names.insert(name);
      line.clear();
      for (std::size_t i = at + 1; i < lines.size() && !is_header(lines[i]); ++i) lines[i].clear();
    }
  } else {
    mistake = line_mistake(line, why);
    if (why.find("cannot redefine") == std::string::npos) broken_names.insert(name);
    line.clear();
  }
  mistake.line = at + 1;
  return mistake;
}

}  // namespace

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
    lines.push_back(text.substr(begin, end - begin));
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string join_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

TomlDocument parse_toml(const std::string& text) {
  TomlDocument document;
  std::vector<std::string> lines = split_lines(text);
  for (int i = 0; i < kSyntaxMistakesMax; ++i) {
    toml::parse_result result = toml::parse(join_lines(lines));
    if (result) {
      document.root = std::move(result).table();
      return document;
    }
    const toml::parse_error& error = result.error();
    const std::size_t line = std::clamp<std::size_t>(error.source().begin.line, 1, lines.size());
    document.mistakes.push_back(
        repair(lines, line - 1, std::string(error.description()), document.broken_names));
  }
  document.root = {};
  document.broken_names = {"pool", "ha", "host", "vm"};
  return document;
}

}  // namespace specrep::pool

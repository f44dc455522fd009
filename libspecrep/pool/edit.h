#pragma once

#include <string>
#include <utility>
#include <vector>

#include "libspecrep/error.h"

namespace specrep::pool {

// A section of pool.conf: {"pool", ""}, {"ha", ""}, {"host", its name} or {"vm", its name}.
struct SectionId {
  std::string kind;
  std::string name;
};

// Changes the text of a pool.conf as a person would: all other lines stay as they are, comments
// too. Values are given as TOML writes them. What comes out is for read_config() to check.
class Edit {
 public:
  // Throws Error when the text is not TOML.
  explicit Edit(std::string text);

  // Throws Error when there is no such section.
  void set(const SectionId& section, const std::string& key, const std::string& value);
  // Does nothing if the key is not there.
  void unset(const SectionId& section, const std::string& key);
  bool has(const SectionId& section) const;
  // At the end, as the last of its kind.
  void add_section(const std::string& kind,
                   const std::vector<std::pair<std::string, std::string>>& keys);
  // Comments in front of it and behind its last key stay. Throws Error when there is none.
  void remove_section(const SectionId& section);

  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string toml_text(const std::string& text);
std::string toml_list(const std::vector<std::string>& texts);
// The value of a key as it is given on a command line, where texts have no quotes and lists have
// commas: "xen2,xen3" for backup-hosts.
std::string toml_value(const std::string& key, const std::string& value);

}  // namespace specrep::pool

#include <boost/test/unit_test.hpp>

#include "libspecrep/pool/config.h"
#include "libspecrep/pool/edit.h"

namespace {

using namespace specrep::pool;

constexpr const char* kText = R"(# Ask Ada before you change this.
[pool]
uuid = "11111111-1111-4111-8111-111111111111"   # made by init
name = "web"
generation = 7

# Two hosts, one rack.
[[host]]
name = "xen1"     # left, "größer"
role = "coordinator"

[[host]]
name = "xen2"
# role = "coordinator"
role = "supporter"

# The shop.
[[vm]]
name = "web1"
memory-mib = 512  # see ticket 7
backup-hosts = [ "xen1",  # first
  "xen2" ]
protection = "none"
)";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  BOOST_REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pool_edit)

BOOST_AUTO_TEST_CASE(a_value_changes_and_nothing_else) {
  Edit edit(kText);
  edit.set({"pool", ""}, "generation", "8");
  std::string expected = replaced(kText, "generation = 7", "generation = 8");
  BOOST_TEST(edit.text() == expected);
  edit.set({"vm", "web1"}, "memory-mib", "1024");
  expected = replaced(expected, "512  #", "1024  #");
  BOOST_TEST(edit.text() == expected);
  edit.set({"host", "xen1"}, "name", toml_text("größte \"eins\""));
  BOOST_TEST(edit.text() ==
             replaced(expected, "\"xen1\"     # left", "\"größte \\\"eins\\\"\"     # left"));
}

BOOST_AUTO_TEST_CASE(a_value_of_several_lines_is_replaced_by_one) {
  Edit edit(kText);
  edit.set({"vm", "web1"}, "backup-hosts", toml_list({"xen2"}));
  BOOST_TEST(edit.text() == replaced(kText, "[ \"xen1\",  # first\n  \"xen2\" ]", "[\"xen2\"]"));
}

BOOST_AUTO_TEST_CASE(a_new_key_goes_to_the_end_of_its_section) {
  Edit edit(kText);
  edit.set({"host", "xen1"}, "memory-mib", "4096");
  edit.set({"vm", "web1"}, "epoch-ms", "100");
  BOOST_TEST(edit.text() == replaced(std::string(kText) + "epoch-ms = 100\n",
                                     "role = \"coordinator\"\n\n[[host]]",
                                     "role = \"coordinator\"\nmemory-mib = 4096\n\n[[host]]"));
}

BOOST_AUTO_TEST_CASE(a_key_is_taken_out_with_its_lines) {
  Edit edit(kText);
  edit.unset({"vm", "web1"}, "backup-hosts");
  edit.unset({"vm", "web1"}, "epoch-ms");
  BOOST_TEST(edit.text() ==
             replaced(kText, "backup-hosts = [ \"xen1\",  # first\n  \"xen2\" ]\n", ""));
}

BOOST_AUTO_TEST_CASE(a_section_is_added_behind_the_last_of_its_kind) {
  Edit edit(kText);
  BOOST_TEST(!edit.has({"host", "xen3"}));
  edit.add_section("host", {{"name", toml_text("xen3")}});
  BOOST_TEST(edit.has({"host", "xen3"}));
  edit.add_section("vm", {{"name", toml_text("web2")}});
  BOOST_TEST(edit.text() == replaced(std::string(kText) + "\n[[vm]]\nname = \"web2\"\n",
                                     "role = \"supporter\"\n",
                                     "role = \"supporter\"\n\n[[host]]\nname = \"xen3\"\n"));
}

BOOST_AUTO_TEST_CASE(a_section_is_removed_and_comments_live) {
  Edit edit(kText);
  edit.remove_section({"host", "xen1"});
  edit.remove_section({"vm", "web1"});
  const std::string text = edit.text();
  BOOST_TEST(text.find("xen1") == std::string::npos);
  BOOST_TEST(text.find("# Two hosts, one rack.\n[[host]]\nname = \"xen2\"") != std::string::npos);
  BOOST_TEST(text.ends_with("# The shop.\n"));
  BOOST_CHECK_THROW(edit.set({"vm", "web1"}, "epoch-ms", "100"), specrep::Error);
  BOOST_CHECK_THROW(edit.remove_section({"host", "xen1"}), specrep::Error);
  BOOST_CHECK_THROW(edit.set({"ha", ""}, "enabled", "true"), specrep::Error);
}

BOOST_AUTO_TEST_CASE(a_text_without_a_last_newline_can_be_changed) {
  Edit edit("[pool]\nname = \"web\"");
  edit.set({"pool", ""}, "name", "\"mail\"");
  edit.set({"pool", ""}, "generation", "2");
  BOOST_TEST(edit.text() == "[pool]\nname = \"mail\"\ngeneration = 2\n");
}

BOOST_AUTO_TEST_CASE(what_is_no_toml_is_not_changed) {
  BOOST_CHECK_THROW(Edit("[pool\n"), specrep::Error);
}

BOOST_AUTO_TEST_CASE(values_of_a_command_line_become_toml) {
  BOOST_TEST(toml_value("epoch-ms", "100") == "100");
  BOOST_TEST(toml_value("max-overhead-percent", "2.5") == "2.5");
  BOOST_TEST(toml_value("ha-always-run", "true") == "true");
  BOOST_TEST(toml_value("ha-restart-priority", "best-effort") == "\"best-effort\"");
  BOOST_TEST(toml_value("backup-hosts", "xen2,xen3") == "[\"xen2\", \"xen3\"]");
  BOOST_TEST(toml_value("preferred-host", "7") == "\"7\"");
  BOOST_TEST(toml_value("epoch-ms", "1\nname = 3") == "\"1\\nname = 3\"");
  BOOST_TEST(toml_value("epoch-ms", "ten") == "\"ten\"");
}

BOOST_AUTO_TEST_SUITE_END()

#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace specrep::xl {

// What `xl remus-spec-top` shows, as text; where it is shown is Screen's business.
struct TopSpan {
  enum class Look { kPlain, kStrong, kFaint, kGood, kBusy, kBad };
  std::string text;
  Look look = Look::kPlain;
};
using TopLine = std::vector<TopSpan>;

// By the guest's uuid, its output delays of the last seconds in ms, oldest first.
using Trends = std::map<std::string, std::deque<double>>;
inline constexpr std::size_t kTrendMax = 24;

struct TopOptions {
  std::string host;
  double now_unix_s = 0;
  // No line is longer, but for 80 columns' worth that are always taken. More than kTopColumnsMax
  // are not used.
  std::size_t columns = 80;
  std::size_t rows = 0;  // 0: as many as it takes
  bool unicode = false;  // whether trends can be drawn
};
inline constexpr std::size_t kTopColumnsMin = 80, kTopColumnsMax = 200;

// `entries`: an array as `xl remus-spec-list --json` prints it.
std::vector<TopLine> top_view(const nlohmann::json& entries, const Trends& trends,
                              const TopOptions& options);

// Without looks.
std::string plain_text(const std::vector<TopLine>& lines);

// Adds the entries' delays of now.
void follow(Trends& trends, const nlohmann::json& entries);

}  // namespace specrep::xl

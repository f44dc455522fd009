#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <optional>
#include <string>

namespace specrep::xl {

// Exit statuses of every command, besides 128 + N for an end by signal N.
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

// The command line breaks a rule that is not the option parser's.
struct UsageError {
  std::string what;
  std::string advice;
};

// Parses and reports as the commands of this program do. Returns the exit status when that is all,
// after -h or an error; nothing when the command is to be carried out.
std::optional<int> parse(CLI::App& app, int argc, char** argv);

// The commands. argv[0] is the command's name. They throw Error, UsageError or Interrupted.
int protect(int argc, char** argv);
int receive(int argc, char** argv);
int list(int argc, char** argv);
int top(int argc, char** argv);
int stop(int argc, char** argv);
int check(int argc, char** argv);
int failover(int argc, char** argv);
int resync(int argc, char** argv);

}  // namespace specrep::xl

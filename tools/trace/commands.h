#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

// The subcommands of specrep-trace. Each adds itself with its options; its callback does the work
// and throws Error.
namespace specrep::tools {

void add_record(CLI::App& app);  // only built with Xen
void add_info(CLI::App& app);
void add_eval(CLI::App& app);
void add_plot(CLI::App& app);
void add_pack(CLI::App& app);

}  // namespace specrep::tools

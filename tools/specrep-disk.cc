// specrep-disk: shows the replicated disks of this host to its administrator, and changes what only
// an administrator can decide.

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "libspecrep/disk/administration.h"
#include "libspecrep/disk/intent_bitmap.h"
#include "libspecrep/error.h"
#include "libspecrep/hex.h"
#include "tools/hotplug.h"
#include "tools/table.h"

namespace {

using namespace specrep;
using nlohmann::json;

constexpr std::uint64_t kChunk = disk::IntentBitmap::kChunkBytes;
constexpr std::size_t kShortGeneration = 6;

struct Command {
  std::string path;
  bool force = false;
  std::string host, ssh, address;
  int rate_mib = 0;
};

// At most five letters: 512B, 9.5G, 128M.
std::string size_text(std::uint64_t bytes) {
  double value = static_cast<double>(bytes);
  const char* unit = "BKMGTP";
  for (; value >= 1000 && unit[1] != 0; ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, value < 9.95 && *unit != 'B' ? "%.1f%c" : "%.0f%c", value,
                *unit);
  return text;
}

// As in /sys/block.
std::string short_name(const std::string& device) { return device.substr(device.rfind('/') + 1); }

bool is_known(const disk::Generation& generation) { return generation != disk::Generation{}; }

json to_json(const disk::Status& status) {
  json text = {{"path", status.path}, {"served", status.server.has_value()}};
  if (status.record) {
    text["role"] = disk::to_string(status.record->role);
    text["open"] = status.record->open;
    if (is_known(status.record->generation)) text["generation"] = to_hex(status.record->generation);
    if (status.record->base) text["base_generation"] = to_hex(*status.record->base);
  }
  if (status.size_bytes) text["size_bytes"] = *status.size_bytes;
  if (status.device) text["device"] = *status.device;
  if (status.marked_chunks) text["marked_bytes"] = *status.marked_chunks * kChunk;
  if (status.server) {
    text["followed"] = status.server->followed();
    if (status.server->followed()) {
      text["in_sync"] = status.server->in_sync();
      text["bytes_to_send"] = status.server->chunks_to_send() * kChunk;
    }
    if (!status.server->lost().empty()) text["lost"] = status.server->lost();
  }
  if (!status.troubles.empty()) text["troubles"] = status.troubles;
  return text;
}

void show(const std::vector<std::string>& paths, bool as_json) {
  json all = json::array();
  tools::Table table({{"DISK", false, 22},
                      {"ROLE"},
                      {"SIZE", true},
                      {"DEVICE"},
                      {"BACKUP"},
                      {"TO SEND", true},
                      {"MARKED", true},
                      {"DATA"}});
  for (const std::string& path : paths.empty() ? disk::known_disks() : paths) {
    const disk::Status status = disk::look_at(path);
    all.push_back(to_json(status));
    const auto& server = status.server;
    const bool followed = server && server->followed();
    const auto text_of = [](const auto& bytes, std::uint64_t unit) {
      return bytes ? size_text(*bytes * unit) : "-";
    };
    const std::string backup = !server             ? "-"
                               : !followed         ? "none"
                               : server->in_sync() ? "follows"
                                                   : "syncs";
    const bool has_name = status.record && is_known(status.record->generation);
    table.add({path, status.record ? disk::to_string(status.record->role) : "-",
               text_of(status.size_bytes, 1), status.device ? short_name(*status.device) : "-",
               backup, followed ? size_text(server->chunks_to_send() * kChunk) : "-",
               text_of(status.marked_chunks, kChunk),
               has_name ? to_hex(status.record->generation).substr(0, kShortGeneration) : "-"});
    for (const std::string& trouble : status.troubles) std::cerr << path << ": " << trouble << "\n";
  }
  std::cout << (as_json ? all.dump(2) + "\n" : table.text());
}

// What uses it now, or has been promised it by Xen's tools. Held for as long as something is
// changed.
class Exclusive {
 public:
  explicit Exclusive(const std::string& path) : lock_(path) {
    for (const tools::DiskUser& user : tools::disk_users(tools::Store(), path))
      throw Error(
          path + " is in use by domain " + user.domid,
          "`xl list` shows its name; it has to end, or to be detached from its disk, first");
  }

 private:
  const tools::DiskLock lock_;
};

void create(const Command& command) {
  const Exclusive exclusive(command.path);
  disk::create(command.path, command.force);
  std::cout << "All of it is copied at the first protection. In the guest's configuration:\n"
               "disk = ['vdev=xvda,access=rw,script=block-specrep,target="
            << command.path << "']\n";
}

void attach(const Command& command) {
  const Exclusive exclusive(command.path);
  std::cout << tools::run_diskd(nullptr, command.path) << "\n";
}

// Throws Error when dom0 has mounted a device, or made something of it, which holds it exclusively.
void check_unused_by_dom0(const std::string& device) {
  const int file = open(device.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC);
  if (file < 0 && errno == EBUSY)
    throw Error(device + " is in use in dom0", "`lsblk " + device + "` tells as what");
  if (file >= 0) close(file);
}

void detach(const Command& command) {
  const Exclusive exclusive(command.path);
  if (const auto device = disk::look_at(command.path).device) check_unused_by_dom0(*device);
  tools::run_diskd("--stop", command.path);
}

void promote(const Command& command) {
  const Exclusive exclusive(command.path);
  disk::promote(command.path);
  std::cout << command.path
            << " is this host's own: a guest can be started with it.\n"
               "If the other host comes back, `specrep-disk discard --force "
            << command.path << "` there makes it a copy again.\n";
}

void discard(const Command& command) {
  const Exclusive exclusive(command.path);
  disk::discard(command.path, command.force);
  std::cout << "The next protection overwrites all of " << command.path << " here.\n";
}

// The other host is reached by the program behind `xl remus-spec`.
void resync(const Command& command) {
  std::vector<std::string> words = {SPECREP_EXEC_FOLDER "/xl-specrep", "remus-spec-resync",
                                    command.path, command.host};
  if (!command.ssh.empty()) words.insert(words.end(), {"--ssh", command.ssh});
  if (!command.address.empty()) words.insert(words.end(), {"--address", command.address});
  if (command.rate_mib > 0) words.insert(words.end(), {"--rate", std::to_string(command.rate_mib)});
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  throw Error(errno_text("cannot run " + words[0]), "is specrep installed?");
}

CLI::App& add(CLI::App& app, const char* name, const char* what, Command& command,
              void (*work)(const Command&)) {
  CLI::App& sub = *app.add_subcommand(name, what);
  sub.add_option("PATH", command.path, "the disk, as the guest's configuration names it")
      ->required();
  sub.callback([&command, work] { work(command); });
  return sub;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Shows and manages the replicated disks of this host.", "specrep-disk");
  app.require_subcommand(1);
  Command command;
  std::vector<std::string> paths;
  bool as_json = false;
  CLI::App& status = *app.add_subcommand("status", "lists the disks that specrep knows");
  status.footer(
      "ROLE: own, a guest of this host may use it; copy, it follows another host's; syncing, it "
      "is\n"
      "a copy that is not complete. TO SEND: what the backup that follows it lacks. MARKED: what "
      "may\n"
      "differ from the backup's copy. DATA: copies with the same name differ in nothing else.");
  status.add_option("PATH", paths, "the disk, as the guest's configuration names it");
  status.add_flag("--json", as_json, "an array with everything that is known");
  status.callback([&] { show(paths, as_json); });
  add(app, "create", "makes a disk known as this host's own, before its first guest", command,
      create)
      .add_flag("--force", command.force,
                "anew, with what this host's copy holds, if it is known already");
  add(app, "attach", "serves a disk to dom0, and prints the device", command, attach);
  add(app, "detach", "stops serving it", command, detach);
  add(app, "promote", "makes a complete copy this host's own: the other host is gone for good",
      command, promote);
  add(app, "discard", "lets the next protection overwrite this host's copy", command, discard)
      .add_flag("--force", command.force, "even if it is this host's own, or cannot be told");

  CLI::App& sync =
      add(app, "resync", "brings another host's copy up to date, without protecting a guest",
          command, resync);
  sync.add_option("HOST", command.host, "where the copy is")->required();
  sync.add_option("-s,--ssh", command.ssh, "the command that reaches the other host [ssh]");
  sync.add_option("--address", command.address, "the other host's address for the disk's link");
  sync.add_option("--rate", command.rate_mib, "how much is copied at most, in MiB/s [no limit]")
      ->check(CLI::Range(1, 1'000'000));

  GOOGLE_PROTOBUF_VERIFY_VERSION;
  std::signal(SIGPIPE, SIG_IGN);  // a server may end while it is asked
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const Error& error) {
    std::cerr << "specrep-disk: " << error.what() << "\n";
    if (!error.advice().empty()) std::cerr << "  " << error.advice() << "\n";
  } catch (const std::exception& error) {
    std::cerr << "specrep-disk: " << error.what() << "\n";
  }
  return 1;
}

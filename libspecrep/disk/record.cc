#include "libspecrep/disk/record.h"

#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "libspecrep/error.h"
#include "libspecrep/hex.h"

namespace specrep::disk {

namespace {

using nlohmann::json;

constexpr int kVersion = 1;

// The variables are for tests.
std::string folder(const char* variable, const char* usual) {
  const char* other = std::getenv(variable);
  return std::string(other ? other : usual) + "/";
}
std::string state_folder() { return folder("SPECREP_DISK_STATE", "/var/lib/specrep/disk"); }
std::string run_folder() { return folder("SPECREP_DISK_RUN", "/run/specrep/disk"); }

Generation generation_from(const std::string& hex) {
  Generation generation{};
  if (!from_hex(hex, generation)) throw std::invalid_argument("a generation that is none");
  return generation;
}

Record::Role role_from(const std::string& name) {
  for (const auto role : {Record::Role::kOwn, Record::Role::kSyncing, Record::Role::kCopy})
    if (name == to_string(role)) return role;
  throw std::invalid_argument("a role that is none");
}

void sync_path(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = file >= 0 && fsync(file) == 0;
  const int error = errno;
  if (file >= 0) close(file);
  if (!done) throw Error(errno_text("cannot put " + path + " on stable storage", error));
}

}  // namespace

const char* to_string(Record::Role role) {
  switch (role) {
    case Record::Role::kOwn:
      return "own";
    case Record::Role::kSyncing:
      return "syncing";
    case Record::Role::kCopy:
      return "copy";
  }
  return "";
}

Generation make_generation() {
  Generation generation;
  if (RAND_bytes(generation.data(), static_cast<int>(generation.size())) != 1)
    throw Error("no random numbers");
  return generation;
}

Places::Places(const std::string& path) {
  if (path.size() < 2 || path[0] != '/' || path.find('!') != std::string::npos)
    throw Error("a disk that is replicated needs an absolute path without '!', not '" + path + "'");
  this->path = path;
  id = path.substr(1);
  for (char& c : id)
    if (c == '/') c = '!';
  record = state_folder() + id + ".json";
  bitmap = state_folder() + id + ".bitmap";
  journal = state_folder() + id + ".journal";
  nbd_socket = run_folder() + id + ".nbd";
  control_socket = run_folder() + id + ".control";
  lock = run_folder() + id + ".lock";
  if (control_socket.size() >= sizeof(sockaddr_un::sun_path))
    throw Error("the path of the disk is too long: " + path, "give it a shorter one, by a link");
}

std::optional<Record> load_record(const Places& places) {
  std::ifstream file(places.record);
  if (!file) {
    if (errno == ENOENT) return {};
    throw Error(errno_text("cannot read " + places.record));
  }
  try {
    const json text = json::parse(file);
    if (text.at("version") != kVersion) throw std::invalid_argument("another version");
    Record record;
    record.role = role_from(text.at("role"));
    record.generation = generation_from(text.at("generation"));
    if (text.contains("base")) record.base = generation_from(text.at("base"));
    record.open = text.value("open", false);
    record.followed = text.value("followed", false);
    record.size_bytes = text.at("size_bytes");
    return record;
  } catch (const std::exception& error) {
    throw Error(places.record + " is damaged: " + error.what(),
                "`specrep-disk create --force " + places.path +
                    "` where its newest data is, `specrep-disk discard --force " + places.path +
                    "` where it is not; all of the disk is copied then");
  }
}

void save_record(const Places& places, const Record& record) {
  json text = {{"version", kVersion},
               {"role", to_string(record.role)},
               {"generation", to_hex(record.generation)},
               {"open", record.open},
               {"followed", record.followed},
               {"size_bytes", record.size_bytes}};
  if (record.base) text["base"] = to_hex(*record.base);
  std::error_code error;
  std::filesystem::create_directories(state_folder(), error);
  const std::string written = places.record + ".new";
  std::ofstream file(written, std::ios::trunc);
  file << text.dump(2) << '\n';
  file.close();
  if (!file) throw Error("cannot write " + written, "is there room, and may it be written?");
  sync_path(written);
  std::filesystem::rename(written, places.record, error);
  if (error) throw Error("cannot write " + places.record + ": " + error.message());
  sync_path(state_folder());
}

void check_own(const Places& places, const std::optional<Record>& record) {
  if (record && record->role == Record::Role::kCopy)
    throw Error(places.path + " is the copy of a disk whose guest runs on another host",
                "only if that host is gone for good: `specrep-disk promote " + places.path + "`");
  if (record && record->role == Record::Role::kSyncing)
    throw Error(places.path + " is a copy that is not complete, or was discarded",
                "start the guest where its disk is complete; if there is no such host any more: "
                "`specrep-disk create --force " +
                    places.path + "` takes this copy as it is");
}

void part(Record& record) {
  record.base = record.generation;
  record.generation = make_generation();
  record.followed = false;
}

void make_own(const Places& places, Record record) {
  part(record);
  record.role = Record::Role::kOwn;
  record.open = false;
  save_record(places, record);
}

}  // namespace specrep::disk

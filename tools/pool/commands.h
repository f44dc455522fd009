#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/pool/changes.h"

// What the subcommands of specrep-pool do. All throw Error.
namespace specrep::tools {

struct HostOptions {
  std::string name;                 // empty: the host's own
  std::string address;              // empty: the one that routes say
  std::string replication_address;  // empty: the same
  std::optional<std::uint64_t> memory_mib;
};

void init_pool(const PoolPlaces& places, const std::string& pool_name, const HostOptions& options);
// `coordinator`: as ssh knows it.
void join_pool(const PoolPlaces& places, const std::string& coordinator,
               const HostOptions& options);
// The coordinator's part of join_pool and renew(): a line of JSON from stdin, one to stdout.
void admit(const PoolPlaces& places);
void eject(const PoolPlaces& places, const std::string& host_name);
// `force`: although the certificate is good for long.
// Through the coordinator's specrep-listener, or by ssh.
void renew(const PoolPlaces& places, bool force, bool by_ssh);

// `words`: KEY=VALUE.
void protect(const PoolPlaces& places, const std::string& vm_name,
             const std::vector<std::string>& words);
void unprotect(const PoolPlaces& places, const std::string& vm_name, bool forget);
void set_parameters(const PoolPlaces& places, const std::string& vm_name,
                    const std::vector<std::string>& words);
void enable_ha(const PoolPlaces& places, const std::vector<std::string>& words);
void disable_ha(const PoolPlaces& places);

// Each returns the exit status.
int show_status(const PoolPlaces& places, bool as_json);
int show_plan(const PoolPlaces& places, bool as_json);
int validate(const std::string& path);

}  // namespace specrep::tools

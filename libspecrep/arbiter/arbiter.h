#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "libspecrep/clock.h"

namespace specrep {

// Says which of two hosts may let a guest run after they lost each other. Neither can tell a dead
// peer from a cut link, so both ask a third party, and at most one of them is told yes.
//
// What the third party keeps for a guest is its newest fencing generation and who holds it.
// Whenever protection starts the primary opens a new generation and tells the backup its number.
// From then on each side that wants to go on alone (the primary without a backup, the backup
// without having heard that the primary died) claims that generation first. A grant is for ever:
// it ends only when its holder opens the next generation. A generation's number starts from the
// wall clock, so that it does not come again where a record was removed, or on other storage.
//
// A claimant is a host's name for itself: the same at every call from that host, another than
// its peer's (two hosts that are both "localhost" would both be granted; /etc/machine-id is
// good). 1 to 255 printable ASCII characters. A guest's UUID has the canonical form, 36 characters;
// its case does not matter. Anything else is an Error.
//
// All calls may come from any thread, and return or throw within the timeout.
class Arbiter {
 public:
  virtual ~Arbiter() = default;

  // Makes a new generation for this guest, held by nobody, and returns it: more than every one
  // before. For `claimant` alone to call, when it starts to protect the guest that it runs. Throws
  // Error when the arbiter could not be asked or did not answer in time (a generation may then have
  // been made that nobody knows; call again), and when the newest generation was granted to
  // somebody else, who may be running the guest: protection must not start then.
  virtual std::uint64_t open(const std::string& guest_uuid, const std::string& claimant) = 0;

  // Asks for the right to go on alone with this guest.
  // true: granted, and to nobody else ever. The same claimant is granted again when it repeats the
  // claim, since an answer may have been lost.
  // false: the other side has it, or a newer generation was opened: the claimant must stop its
  // copy for good.
  // Throws Error when the arbiter could not be asked, did not answer in time, or answered what
  // makes no sense, as when it does not know the generation. Nothing is known then, not even
  // whether the claim was granted; the claimant may ask again, and does not go on meanwhile.
  [[nodiscard]] virtual bool claim(const std::string& guest_uuid, std::uint64_t generation,
                                   const std::string& claimant) = 0;
};

// The arbiter at `url`; throws Error with advice on anything but
//
//   etcd:http://10.0.0.1:2379,http://[fd00::2]:2379
//   etcd:https://etcd1.example:2379,https://etcd2.example:2379?cacert=FILE&cert=FILE&key=FILE
//     An etcd of version 3.4 or later: the endpoints are members of one cluster, tried in turn.
//     The port is 2379 unless given. Names are looked up here, once, however long that takes,
//     and not in the hour of need. cacert (PEM; otherwise the system's authorities) is what the
//     servers' certificates are checked against, cert and key (PEM) are shown to them.
//
//   file:/shared/folder
//     A folder on storage that both hosts see and that has POSIX record locks and hard links: NFS,
//     a cluster file system. It must exist.
//
// `timeout` is for each call of open() and claim(), whatever the number of endpoints: at least
// 100 ms. Makes no contact yet, but for looking up names and reading certificates.
std::unique_ptr<Arbiter> make_arbiter(const std::string& url, Duration timeout);

}  // namespace specrep

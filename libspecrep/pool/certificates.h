#pragma once

#include <chrono>
#include <string>

#include "libspecrep/pool/config.h"

// What the hosts of a pool know each other by: the pool has a certificate authority, whose key is
// on the coordinator, and each host a certificate that it signed. All of it is PEM text here. All
// throw Error.
namespace specrep::pool {

inline constexpr const char* kTlsFolder = "/etc/specrep/tls";
inline constexpr std::chrono::days kAuthorityLife{3653};  // ten years
inline constexpr std::chrono::days kCertificateLife{366};
// A certificate is renewed when it ends within this time.
inline constexpr std::chrono::days kRenewBefore{120};

// An EC P-256 key.
std::string make_key();

// The authority's certificate, which it signs itself.
std::string make_authority(const std::string& key, const std::string& pool_name);

// A request for a certificate, signed with the host's key, so that nobody else needs to have that.
std::string make_request(const std::string& key, const std::string& host_name);

// The certificate for a host, with the key of the request. Its name (the subject's common name) and
// addresses are those of `host`, not what the request says.
std::string sign_request(const std::string& request, const Host& host, const std::string& authority,
                         const std::string& authority_key);

struct CertificateFacts {
  std::string host;  // the subject's common name
  std::chrono::system_clock::time_point ends;
};
CertificateFacts read_certificate(const std::string& text);

// Whether `certificate` is of `key` and was signed by `authority`; neither may have ended.
bool belongs(const std::string& certificate, const std::string& key, const std::string& authority);

}  // namespace specrep::pool

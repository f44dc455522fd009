// Fences in etcd, over the JSON gateway of its v3 interface
// (https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/): bytes are base64, 64-bit numbers are
// strings, and what is false, zero or empty is left out.

#include <openssl/evp.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <nlohmann/json.hpp>
#include <vector>

#include "libspecrep/arbiter/fence_store.h"
#include "libspecrep/arbiter/http_post.h"
#include "libspecrep/error.h"

namespace specrep::arbiter {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using nlohmann::json;
using tcp = asio::ip::tcp;

constexpr const char* kKeyFolder = "/specrep/fence/";
constexpr const char* kDefaultPort = "2379";
constexpr std::size_t kEndpointsMax = 64;

TimePoint now() { return std::chrono::steady_clock::now(); }

std::string to_base64(const std::string& bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // EVP_EncodeBlock ends it with a zero
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

// Nothing unless it is what to_base64() makes of some bytes.
std::optional<std::string> from_base64(const std::string& text) {
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  // EVP_DecodeBlock counts the padding.
  const auto padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  bytes.resize(static_cast<std::size_t>(std::max(0, size - padding)));
  if (to_base64(bytes) != text) return std::nullopt;
  return bytes;
}

// etcd's words, once they have been understood.
struct Stored {
  std::string mod_revision = "0";  // "0": the key is not there
  std::optional<Fence> fence;
};

Error malformed(const std::string& what) { return Error("its answer makes no sense: " + what); }

// Every answer of etcd has a header; without one it is another's, or not whole.
json parse_answer(const std::string& body) {
  json answer = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) throw malformed("it is no JSON object");
  if (!answer.contains("header") || !answer["header"].is_object() ||
      !answer["header"].contains("revision"))
    throw malformed("it has no header");
  return answer;
}

bool is_revision(const json& value) {
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return !text.empty() && text.size() <= 19 && text[0] != '0' &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Null if it has none. Not a copy, as json's value() makes it: that of an answer of thousands of
// lists within each other takes more stack than there may be.
const json& member(const json& object, const char* name) {
  static const json none;
  const auto found = object.find(name);
  return found == object.end() ? none : *found;
}

class EtcdStore final : public FenceStore {
 public:
  explicit EtcdStore(std::vector<HttpEndpoint> endpoints) : endpoints_(std::move(endpoints)) {}

  std::optional<Fence> update(const std::string& guest_uuid, Change change,
                              TimePoint deadline) override {
    const std::string key = kKeyFolder + guest_uuid;
    for (;;) {
      const Stored stored = read(guest_uuid, key, deadline);
      const auto fence = change(stored.fence);
      if (!fence) return std::nullopt;
      // An answer may have been lost and the same transaction asked of the next endpoint: then it
      // fails, for its own first go, and the next turn sees what was written.
      if (compare_and_swap(key, stored.mod_revision, *fence, deadline)) return fence;
    }
  }

  std::string how_to_remove(const std::string& guest_uuid) const override {
    return "run `etcdctl del " + (kKeyFolder + guest_uuid) + "` (with ETCDCTL_API=3)";
  }

 private:
  Stored read(const std::string& guest_uuid, const std::string& key, TimePoint deadline) {
    // Linearizable, as etcd's reads are unless "serializable" is asked for: it comes from a
    // majority, and not from a member that was cut off.
    const json request = {{"key", to_base64(key)}};
    Stored stored;
    std::string text;
    ask("/v3/kv/range", request, deadline, [&](const json& answer) {
      stored.mod_revision = "0";
      if (!answer.contains("kvs")) {
        if (answer.contains("count")) throw malformed("it counts a key and does not give it");
        return;
      }
      const json& kvs = answer["kvs"];
      if (!kvs.is_array() || kvs.size() != 1 || !kvs[0].is_object() ||
          member(kvs[0], "key") != to_base64(key) || !is_revision(member(kvs[0], "mod_revision")))
        throw malformed("it has another key than was asked for");
      const json& value = member(kvs[0], "value");  // etcd leaves an empty one out
      const auto bytes = value.is_string() ? from_base64(value.get<std::string>())
                         : value.is_null() ? std::optional<std::string>("")
                                           : std::nullopt;
      if (!bytes) throw malformed("the value is not base64");
      stored.mod_revision = kvs[0]["mod_revision"].get<std::string>();
      text = *bytes;
    });
    // Not in there: what one member has, the next has as well.
    if (stored.mod_revision != "0")
      stored.fence = decode_fence(
          text, "etcd's key " + key,
          "see that its guest, or each guest of its host, runs on one host alone, then " +
              how_to_remove(guest_uuid) + " and start the protection again");
    return stored;
  }

  // Whether the key was still as `mod_revision` says, and has the fence now.
  bool compare_and_swap(const std::string& key, const std::string& mod_revision, const Fence& fence,
                        TimePoint deadline) {
    const json request = {
        {"compare", json::array({{{"key", to_base64(key)},
                                  {"target", "MOD"},
                                  {"result", "EQUAL"},
                                  {"mod_revision", mod_revision}}})},
        {"success",
         json::array({{{"request_put",
                        {{"key", to_base64(key)}, {"value", to_base64(encode_fence(fence))}}}}})}};
    bool swapped = false;
    ask("/v3/kv/txn", request, deadline, [&](const json& answer) {
      const json& succeeded = member(answer, "succeeded");
      if (!succeeded.is_boolean() && !succeeded.is_null())
        throw malformed("the transaction's result is no boolean");
      swapped = succeeded == true;
      if (!swapped) return;
      const json& responses = member(answer, "responses");
      if (!responses.is_array() || responses.size() != 1 || !responses[0].is_object() ||
          !responses[0].contains("response_put"))
        throw malformed("the transaction has not put what was asked for");
    });
    return swapped;
  }

  // Asks the endpoints in turn until `read` has understood an answer (it throws Error when not).
  template <typename Read>
  void ask(const std::string& target, const json& request, TimePoint deadline, Read read) {
    const std::string body = request.dump();
    const std::size_t first = good_endpoint_;
    std::string failures;
    for (std::size_t i = 0; i < endpoints_.size() && now() < deadline; ++i) {
      const std::size_t index = (first + i) % endpoints_.size();
      // Each has its share, so that one that swallows packets leaves time for the next.
      const auto share = (deadline - now()) / static_cast<int>(endpoints_.size() - i);
      try {
        read(parse_answer(http_post(endpoints_[index], target, body, now() + share)));
        good_endpoint_ = index;
        return;
      } catch (const std::exception& e) {  // Asio and OpenSSL throw their own
        failures += (failures.empty() ? "" : "; ") + endpoints_[index].url + ": " + e.what();
      }
    }
    throw Error("asking etcd at " + target + ": " + (failures.empty() ? "no time left" : failures),
                "see that etcd runs, that most of its members reach each other, and that this host "
                "reaches one of them");
  }

  const std::vector<HttpEndpoint> endpoints_;
  // The one to begin with: which answered last.
  std::atomic<std::size_t> good_endpoint_ = 0;
};

// The location and what its parts are called in messages.

struct TlsFiles {
  std::string cacert, cert, key;
  bool any() const { return !cacert.empty() || !cert.empty() || !key.empty(); }
};

Error bad_location(const std::string& location, const std::string& why) {
  return Error("'etcd:" + location + "' is not an arbiter: " + why,
               "give etcd:http://HOST:PORT[,http://HOST:PORT...], or the same with https and, at "
               "the end, ?cacert=FILE&cert=FILE&key=FILE");
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

TlsFiles parse_tls_files(const std::string& location, const std::string& parameters) {
  TlsFiles files;
  for (const std::string& parameter : split(parameters, '&')) {
    const auto equals = parameter.find('=');
    const std::string name = parameter.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : parameter.substr(equals + 1);
    std::string* const file = name == "cacert" ? &files.cacert
                              : name == "cert" ? &files.cert
                              : name == "key"  ? &files.key
                                               : nullptr;
    if (file == nullptr) throw bad_location(location, "there is no parameter '" + name + "'");
    if (value.empty() || !file->empty())
      throw bad_location(location, "parameter '" + name + "' takes one file");
    *file = value;
  }
  if (files.cert.empty() != files.key.empty())
    throw bad_location(location, "cert and key need each other");
  return files;
}

std::shared_ptr<asio::ssl::context> make_tls(const TlsFiles& files) {
  auto tls = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  const auto use = [](const std::string& file, auto load) {
    error_code error;
    load(error);
    if (error)
      throw Error("reading " + file + " for the arbiter: " + error.message(),
                  "give a file in PEM format that this user may read");
  };
  SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_3_VERSION);
  tls->set_verify_mode(asio::ssl::verify_peer);
  if (files.cacert.empty())
    use("the system's certificates", [&](error_code& e) { tls->set_default_verify_paths(e); });
  else
    use(files.cacert, [&](error_code& e) { tls->load_verify_file(files.cacert, e); });
  if (!files.cert.empty()) {
    use(files.cert, [&](error_code& e) { tls->use_certificate_chain_file(files.cert, e); });
    use(files.key,
        [&](error_code& e) { tls->use_private_key_file(files.key, asio::ssl::context::pem, e); });
  }
  return tls;
}

// http[s]://HOST[:PORT][/], without its address and context.
struct ParsedUrl {
  bool tls = false;
  std::string host;
  std::string port;
};

ParsedUrl parse_url(const std::string& location, const std::string& url) {
  ParsedUrl parsed;
  std::string rest;
  if (url.starts_with("http://")) {
    rest = url.substr(7);
  } else if (url.starts_with("https://")) {
    rest = url.substr(8);
    parsed.tls = true;
  } else {
    throw bad_location(location, "'" + url + "' does not begin with http:// or https://");
  }
  if (rest.ends_with('/')) rest.pop_back();
  std::size_t host_end = 0;
  if (rest.starts_with('[')) {
    host_end = rest.find(']');
    if (host_end == std::string::npos) throw bad_location(location, "'" + url + "' lacks a ]");
    parsed.host = rest.substr(1, host_end - 1);
    ++host_end;
  } else {
    host_end = std::min(rest.find(':'), rest.size());
    parsed.host = rest.substr(0, host_end);
  }
  const std::string port = rest.substr(host_end);
  parsed.port = port.empty() ? kDefaultPort : port.substr(1);
  const bool port_good = (port.empty() || port[0] == ':') && !parsed.port.empty() &&
                         parsed.port.size() <= 5 &&
                         std::all_of(parsed.port.begin(), parsed.port.end(),
                                     [](char c) { return c >= '0' && c <= '9'; }) &&
                         std::stoi(parsed.port) >= 1 && std::stoi(parsed.port) <= 65535;
  if (!port_good) throw bad_location(location, "'" + url + "' has no good port");
  if (parsed.host.empty() || parsed.host.find_first_of("/@?#[] ") != std::string::npos)
    throw bad_location(location, "'" + url + "' has no good host");
  return parsed;
}

}  // namespace

std::unique_ptr<FenceStore> make_etcd_store(const std::string& location) {
  const auto question_mark = location.find('?');
  TlsFiles files;
  if (question_mark != std::string::npos)
    files = parse_tls_files(location, location.substr(question_mark + 1));

  std::vector<HttpEndpoint> endpoints;
  std::shared_ptr<asio::ssl::context> tls;
  for (const std::string& url : split(location.substr(0, question_mark), ',')) {
    const ParsedUrl parsed = parse_url(location, url);
    if (parsed.tls && !tls) tls = make_tls(files);
    asio::io_context io;
    error_code error;
    const auto found =
        tcp::resolver(io).resolve(parsed.host, parsed.port, tcp::resolver::numeric_service, error);
    if (error)
      throw Error("looking up " + parsed.host + " for the arbiter: " + error.message(),
                  "put the name into /etc/hosts, or give the address");
    for (const auto& entry : found)
      endpoints.push_back({url, parsed.host, entry.endpoint(), parsed.tls ? tls : nullptr});
  }
  if (endpoints.size() > kEndpointsMax) throw bad_location(location, "too many endpoints");
  if (files.any() && !tls) throw bad_location(location, "certificates need https://");
  return std::make_unique<EtcdStore>(std::move(endpoints));
}

}  // namespace specrep::arbiter

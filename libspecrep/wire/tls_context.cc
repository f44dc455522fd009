#include "libspecrep/wire/tls_context.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <algorithm>

namespace specrep::wire {
namespace {

namespace ssl = boost::asio::ssl;

constexpr unsigned char kIdentity[] = {'s', 'p', 'e', 'c', 'r', 'e', 'p'};
// TLS_AES_128_GCM_SHA256: the suite's hash fixes the key's, and SHA-256 is the one of 32 bytes.
constexpr unsigned char kCipherSuite[] = {0x13, 0x01};
constexpr char kCipherSuiteName[] = "TLS_AES_128_GCM_SHA256";

// The key, as Asio's context carries it to OpenSSL's callbacks. (The context's app_data is Asio's
// own.)
int key_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// The external key in the shape that OpenSSL wants it: a session to be resumed.
SSL_SESSION* make_session(SSL* connection) {
  const auto* key = static_cast<const PreSharedKey*>(
      SSL_CTX_get_ex_data(SSL_get_SSL_CTX(connection), key_index()));
  const SSL_CIPHER* cipher = SSL_CIPHER_find(connection, kCipherSuite);
  SSL_SESSION* session = SSL_SESSION_new();
  if (key != nullptr && cipher != nullptr && session != nullptr &&
      SSL_SESSION_set1_master_key(session, key->data(), key->size()) == 1 &&
      SSL_SESSION_set_cipher(session, cipher) == 1 &&
      SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1)
    return session;
  SSL_SESSION_free(session);
  return nullptr;
}

int use_session(SSL* connection, const EVP_MD* digest, const unsigned char** identity,
                std::size_t* identity_bytes, SSL_SESSION** session) {
  *session = nullptr;
  // Another hash than ours was asked for: go on without a key, which then fails.
  if (digest != nullptr && !EVP_MD_is_a(digest, "SHA256")) return 1;
  *session = make_session(connection);
  *identity = kIdentity;
  *identity_bytes = sizeof kIdentity;
  return *session != nullptr;
}

int find_session(SSL* connection, const unsigned char* identity, std::size_t identity_bytes,
                 SSL_SESSION** session) {
  *session = nullptr;
  // An unknown identity is no error here: the handshake goes on without a key, and fails.
  if (!std::equal(identity, identity + identity_bytes, std::begin(kIdentity), std::end(kIdentity)))
    return 1;
  *session = make_session(connection);
  return *session != nullptr;
}

}  // namespace

TlsContext::TlsContext(const PreSharedKey& key) : key_(key), context_(ssl::context::tls) {
  SSL_CTX* native = context_.native_handle();
  if (SSL_CTX_set_ex_data(native, key_index(), &key_) != 1 ||
      SSL_CTX_set_min_proto_version(native, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(native, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(native, kCipherSuiteName) != 1 ||
      SSL_CTX_set_num_tickets(native, 0) != 1)
    throw Error("OpenSSL does not offer TLS 1.3 with " + std::string(kCipherSuiteName),
                "look at the system's OpenSSL configuration");
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_psk_use_session_callback(native, use_session);
  SSL_CTX_set_psk_find_session_callback(native, find_session);
}

TlsContext::~TlsContext() { OPENSSL_cleanse(key_.data(), key_.size()); }

std::unique_ptr<TlsStream> TlsContext::stream(boost::asio::ip::tcp::socket socket,
                                              ssl::stream_base::handshake_type side) {
  auto stream = std::make_unique<TlsStream>(std::move(socket), context_);
  // Only a client verifies; asking a server to would make it ask for a client's certificate.
  stream->set_verify_mode(side == ssl::stream_base::client ? ssl::verify_peer : ssl::verify_none);
  return stream;
}

bool TlsContext::authenticated(TlsStream& stream) {
  SSL* connection = stream.native_handle();
  // For OpenSSL an external key is a resumed session.
  return SSL_version(connection) == TLS1_3_VERSION && SSL_session_reused(connection) == 1;
}

PreSharedKey make_pre_shared_key() {
  PreSharedKey key;
  if (RAND_bytes(key.data(), static_cast<int>(key.size())) != 1)
    throw Error("OpenSSL has no random numbers for the data link's key");
  return key;
}

}  // namespace specrep::wire

#include "libspecrep/pool/certificates.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>
#include <set>

namespace specrep::pool {

namespace {

// Hosts' clocks may differ, and be wrong until they have asked for the time.
constexpr std::chrono::days kValidBefore{2};
constexpr int kSerialBits = 127;

template <auto free_it>
struct Free {
  void operator()(auto* it) const { free_it(it); }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Request = std::unique_ptr<X509_REQ, Free<X509_REQ_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;
using Serial = std::unique_ptr<BIGNUM, Free<BN_free>>;
using Store = std::unique_ptr<X509_STORE, Free<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Free<X509_STORE_CTX_free>>;

Error failed(const std::string& what) {
  char why[256] = "OpenSSL gives no reason";
  if (const unsigned long error = ERR_get_error()) ERR_error_string_n(error, why, sizeof why);
  ERR_clear_error();
  return Error("cannot " + what + ": " + why);
}

void check(bool good, const char* what) {
  if (!good) throw failed(what);
}

Bio reading(const std::string& text) {
  Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  check(bio != nullptr, "read PEM");
  return bio;
}

template <class Write>
std::string pem(const Write& write) {
  const Bio bio(BIO_new(BIO_s_mem()));
  check(bio && write(bio.get()) == 1, "write PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

// No key of ours has a password: without this OpenSSL would ask the terminal for one.
int no_password(char*, int, int, void*) { return -1; }

Key read_key(const std::string& text) {
  Key key(PEM_read_bio_PrivateKey(reading(text).get(), nullptr, no_password, nullptr));
  if (!key) throw failed("read a private key");
  return key;
}

Certificate read(const std::string& text) {
  Certificate certificate(PEM_read_bio_X509(reading(text).get(), nullptr, no_password, nullptr));
  if (!certificate) throw failed("read a certificate");
  return certificate;
}

std::string to_pem(X509* certificate) {
  return pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

void set_common_name(X509_NAME* subject, const std::string& name) {
  check(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(name.data()),
                                   static_cast<int>(name.size()), -1, 0) == 1,
        "name a certificate");
}

void extend(X509* certificate, X509* issuer, int what, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, what, value.c_str()));
  check(extension && X509_add_ext(certificate, extension.get(), -1) == 1, "extend a certificate");
}

Certificate begin_certificate(EVP_PKEY* key, std::chrono::days life) {
  Certificate certificate(X509_new());
  const Serial serial(BN_new());
  const auto seconds = [](std::chrono::days days) {
    return static_cast<long>(std::chrono::seconds(days).count());
  };
  check(certificate && serial &&
            BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
            BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get())) &&
            X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
            X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -seconds(kValidBefore)) &&
            X509_gmtime_adj(X509_getm_notAfter(certificate.get()), seconds(life)) &&
            X509_set_pubkey(certificate.get(), key) == 1,
        "make a certificate");
  return certificate;
}

std::string sign(X509* certificate, EVP_PKEY* key) {
  check(X509_sign(certificate, key, EVP_sha256()) > 0, "sign a certificate");
  return to_pem(certificate);
}

std::string alternative_names(const Host& host) {
  std::string names;
  for (const std::string& name :
       std::set<std::string>{host.name, host.management_address, host.replication_address}) {
    unsigned char parsed[sizeof(in6_addr)];
    const bool number = inet_pton(AF_INET, name.c_str(), parsed) == 1 ||
                        inet_pton(AF_INET6, name.c_str(), parsed) == 1;
    if (!name.empty())
      names += (names.empty() ? "" : ",") + std::string(number ? "IP:" : "DNS:") + name;
  }
  return names;
}

}  // namespace

std::string make_key() {
  const Key key(EVP_EC_gen("P-256"));
  check(key != nullptr, "make a key");
  return pem([&](BIO* bio) {
    return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
}

std::string make_authority(const std::string& key_text, const std::string& pool_name) {
  const Key key = read_key(key_text);
  const Certificate certificate = begin_certificate(key.get(), kAuthorityLife);
  X509* it = certificate.get();
  set_common_name(X509_get_subject_name(it), "specrep pool " + pool_name);
  check(X509_set_issuer_name(it, X509_get_subject_name(it)) == 1, "name a certificate");
  extend(it, it, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  extend(it, it, NID_key_usage, "critical,keyCertSign,cRLSign");
  extend(it, it, NID_subject_key_identifier, "hash");
  return sign(it, key.get());
}

std::string make_request(const std::string& key_text, const std::string& host_name) {
  const Key key = read_key(key_text);
  const Request request(X509_REQ_new());
  check(request != nullptr, "make a request for a certificate");
  set_common_name(X509_REQ_get_subject_name(request.get()), host_name);
  check(X509_REQ_set_pubkey(request.get(), key.get()) == 1 &&
            X509_REQ_sign(request.get(), key.get(), EVP_sha256()) > 0,
        "make a request for a certificate");
  return pem([&](BIO* bio) { return PEM_write_bio_X509_REQ(bio, request.get()); });
}

std::string sign_request(const std::string& request_text, const Host& host,
                         const std::string& authority_text, const std::string& authority_key) {
  const Request request(
      PEM_read_bio_X509_REQ(reading(request_text).get(), nullptr, no_password, nullptr));
  if (!request) throw failed("read a request for a certificate");
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (!key || X509_REQ_verify(request.get(), key) != 1)
    throw failed("take a request for a certificate that its own key has not signed");
  const Certificate authority = read(authority_text);
  const Certificate certificate = begin_certificate(key, kCertificateLife);
  X509* it = certificate.get();
  set_common_name(X509_get_subject_name(it), host.name);
  check(X509_set_issuer_name(it, X509_get_subject_name(authority.get())) == 1,
        "name a certificate");
  extend(it, authority.get(), NID_basic_constraints, "critical,CA:FALSE");
  extend(it, authority.get(), NID_key_usage, "critical,digitalSignature");
  extend(it, authority.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  extend(it, authority.get(), NID_subject_key_identifier, "hash");
  extend(it, authority.get(), NID_authority_key_identifier, "keyid");
  extend(it, authority.get(), NID_subject_alt_name, alternative_names(host));
  return sign(it, read_key(authority_key).get());
}

CertificateFacts read_certificate(const std::string& text) {
  const Certificate certificate = read(text);
  char name[256] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name,
                            sizeof name);
  std::tm ends{};
  check(ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &ends) == 1,
        "read when a certificate ends");
  return {name, std::chrono::system_clock::from_time_t(timegm(&ends))};
}

bool belongs(const std::string& certificate_text, const std::string& key_text,
             const std::string& authority_text) {
  const Certificate certificate = read(certificate_text);
  const Certificate authority = read(authority_text);
  const Key key = read_key(key_text);
  const Store store(X509_STORE_new());
  const StoreContext context(X509_STORE_CTX_new());
  check(store && context && X509_STORE_add_cert(store.get(), authority.get()) == 1 &&
            X509_STORE_CTX_init(context.get(), store.get(), certificate.get(), nullptr) == 1,
        "check a certificate");
  const bool good = X509_check_private_key(certificate.get(), key.get()) == 1 &&
                    X509_verify_cert(context.get()) == 1;
  ERR_clear_error();
  return good;
}

}  // namespace specrep::pool

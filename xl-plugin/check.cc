// xl remus-spec-check: says everything that would prevent protection, and changes nothing.

#include <iostream>

#include "libspecrep/error.h"
#include "libspecrep/xen/survey.h"
#include "tools/table.h"
#include "xl-plugin/command.h"
#include "xl-plugin/console.h"
#include "xl-plugin/far_side.h"

namespace specrep::xl {

namespace {

std::string severity_text(const wire::Finding& finding) {
  switch (finding.severity()) {
    case wire::Finding::OK:
      return "ok";
    case wire::Finding::WARNING:
      return "warning";
    default:
      return "PROBLEM";
  }
}

void print_table(const std::vector<wire::Finding>& findings) {
  tools::Table table({{""}, {"SUBJECT", false, 30}, {"FINDING"}});
  for (const wire::Finding& finding : findings) {
    table.add({severity_text(finding), finding.subject(), finding.what()});
    if (!finding.advice().empty()) table.note("-> " + finding.advice());
  }
  std::cout << table.text();
}

void print_json(const std::vector<wire::Finding>& findings) {
  nlohmann::json all = nlohmann::json::array();
  for (const wire::Finding& finding : findings)
    all.push_back({{"severity", severity_text(finding)},
                   {"subject", finding.subject()},
                   {"what", finding.what()},
                   {"advice", finding.advice()}});
  std::cout << all.dump(2) << "\n";
}

// The backup's answers; if it cannot be asked, that is a finding too.
std::vector<wire::Finding> ask(const std::string& host,
                               const std::optional<std::string>& ssh_command,
                               const xen::Domain& domain) {
  SignalFd signals;
  wire::Finding reached;
  reached.set_subject("way to the backup");
  try {
    FarSide far_side(host, ssh_command, signals);
    far_side.greet();
    reached.set_what(far_side.peer());
    std::vector<wire::Finding> findings = far_side.survey(xen::survey_request(domain));
    findings.insert(findings.begin(), reached);
    return findings;
  } catch (const Error& error) {
    reached.set_severity(wire::Finding::PROBLEM);
    reached.set_what(error.what());
    reached.set_advice(error.advice());
    return {reached};
  }
}

}  // namespace

int check(int argc, char** argv) {
  std::string name, host;
  std::optional<std::string> ssh_command;
  bool json = false, no_network_buffer = false, no_disk_replication = false, unsafe = false;
  CLI::App app("Says everything that would prevent the protection of a guest. Changes nothing.",
               "xl remus-spec-check");
  app.add_option("DOMAIN", name, "name or id of the guest")->required();
  app.add_option("HOST", host, "the host that would keep the second copy")->required();
  app.add_option("-s,--ssh", ssh_command,
                 "run this through sh instead of ssh; if empty, HOST is the whole command line")
      ->type_name("COMMAND");
  app.add_flag("-n,--no-network-buffer", no_network_buffer, "as it will be given to remus-spec");
  app.add_flag("-d,--no-disk-replication", no_disk_replication,
               "as it will be given to remus-spec");
  app.add_flag("-F,--unsafe", unsafe, "accepted, since remus-spec needs it with -n and -d");
  app.add_flag("--json", json, "an array with an object for each finding");
  if (const auto status = parse(app, argc, argv)) return *status;

  const xen::Xenctrl xc;
  const xen::Libxl libxl;
  const xen::Domain domain = xen::find_domain(libxl, xc, name);
  std::vector<wire::Finding> findings = xen::survey_guest(
      domain, {.network_buffering = !no_network_buffer, .disk_replication = !no_disk_replication});
  for (wire::Finding& finding : ask(host, ssh_command, domain))
    findings.push_back(std::move(finding));

  const bool refused = has_problem(findings);
  if (json) {
    print_json(findings);
  } else {
    print_table(findings);
    std::cout << "\n"
              << domain.name << (refused ? " cannot be protected by " : " can be protected by ")
              << host << "\n";
  }
  return refused ? kFailed : kOk;
}

}  // namespace specrep::xl

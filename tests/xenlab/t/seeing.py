"""top, the event log, the exporter and the report tell of a guest what happens to it, also at the host it fails over to."""

import json
import time

from explain import events, wait_for_failover

GUEST = "pvh"
EXPORTER = "/usr/local/libexec/specrep/specrep-exporter"
SERVICE = f"systemd-run -q --unit=lab-exporter -p Type=notify {EXPORTER}"
FIGURES = ("epoch_ms", "pause_ms", "output_delay_ms", "residual_pages", "bytes_per_s", "lag_ms")


def scrape(lab, host):
    """What the exporter says, by the text before the number."""
    text = lab.ssh(host, """python3 -c '
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9469/metrics", timeout=20).read().decode(), end="")'""").stdout
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines() if line and not line.startswith("#")}


def top(lab, host, count):
    shown = lab.ssh(host, f"xl remus-spec-top --json -n {count}", timeout=60 + 2 * count).stdout
    return [json.loads(line) for line in shown.splitlines()]


def report(lab, host):
    lab.ssh(host, f"specrep-report {GUEST} -o /root/report.html")
    return lab.ssh(host, "cat /root/report.html").stdout


def epochs_grow(seen):
    epochs = [display["guests"][0]["status"]["sums"]["epochs"] for display in seen]
    return epochs[0] < epochs[-1]


def run(lab):
    refused = lab.ssh(1, f"{EXPORTER} --listen 0.0.0.0:9469", check=False)
    assert refused.returncode == 1 and "--credentials" in refused.stderr, refused
    for host in (1, 2):
        lab.ssh(host, SERVICE)
    address = lab.GUEST_ADDRESSES[GUEST]
    with lab.Counter(address) as counter:
        counter.wait_for_answer(60)
        with lab.protect("-i 200 --timeout 3000") as protection:
            protection.wait_until_protected()
            counter.dirty(300)
            time.sleep(8)
            seen = top(lab, 1, 3)
            assert len(seen) == 3
            for display in seen:
                guest, = display["guests"]
                assert (guest["name"], guest["role"], guest["state"]) == (GUEST, "primary", "protected"), guest
                recent = guest["status"]["recent"]
                for figure in FIGURES:
                    assert recent[figure] > 0, (figure, recent)
                parts = recent["epoch_ms"] + recent["pause_ms"] + recent["lag_ms"]
                assert abs(recent["output_delay_ms"] - parts) < 0.1, recent
            # On a busy machine an epoch takes longer than three displays.
            lab.wait_for(lambda: epochs_grow(top(lab, 1, 3)), 60, "epochs that a live view sees grow")
            print(lab.ssh(1, "xl remus-spec-top -n 1").stdout)
            print(lab.ssh(1, "xl remus-spec-list").stdout)
            copy, = top(lab, 2, 1)[0]["guests"]
            assert copy["role"] == "backup" and copy["status"]["committed_epoch"] > 0, copy
            print(lab.ssh(2, "xl remus-spec-top -n 1").stdout)

            before = scrape(lab, 1)
            labels = f'{{guest="{GUEST}",role="primary"}}'
            assert before[f"specrep_guest_protected{labels}"] == 1, before
            assert 0.1 < before[f"specrep_output_delay_seconds{labels}"] < 60, before
            time.sleep(3)
            after = scrape(lab, 1)
            for counted in ("epochs", "commits", "wire_bytes", "run_seconds"):
                name = f"specrep_{counted}_total{labels}"
                assert after[name] > before[name], (name, before[name], after[name])
            at_backup = scrape(lab, 2)
            assert at_backup[f'specrep_guest_protected{{guest="{GUEST}",role="backup"}}'] == 1, at_backup
            assert at_backup[f'specrep_failovers_total{{guest="{GUEST}"}}'] == 0, at_backup

            logged = events(lab, 1, GUEST)
            kinds = [event["event"] for event in logged if event["event"] != "figures"]
            assert kinds == ["started", "protected"], kinds
            figures = [event for event in logged if event["event"] == "figures"]
            assert len(figures) >= 5 and figures[-1]["residual_pages"] > 0, figures
            assert lab.ssh(1, f"stat -c '%a %U' /var/log/specrep/{GUEST}.events").stdout == "600 root\n"
            page = report(lab, 1)
            for plot in ("timeline", "delay", "pause", "residual", "wire"):
                assert f'<svg id="{plot}"' in page, page[:2000]
            (lab.folder / "report.html").write_text(page)
            lab.power_cut(1)
        failover = wait_for_failover(lab, 2, GUEST, 120)
        assert failover["role"] == "backup" and failover["epoch"] > 0, failover
        lab.wait_for(lambda: lab.protections(2) == [], 60, "the end of the entry on host 2")
        kinds = [event["event"] for event in events(lab, 2, GUEST)]
        for kind in ("started", "protected", "primary-lost", "failover"):
            assert kind in kinds, kinds
        assert scrape(lab, 2)[f'specrep_failovers_total{{guest="{GUEST}"}}'] == 1
        assert "taken over: runs here" in report(lab, 2)

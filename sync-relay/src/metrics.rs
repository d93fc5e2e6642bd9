//! What is measured, in the text format of Prometheus.
//!
//! Labels hold the last digits of a tenant's id and never a name, neither a tenant's nor a
//! person's: metrics travel to places that are not the tenant's. Nor do they name devices: there is
//! no bound on how many there will have been.

mod fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::time::Duration;

use fieldmesh::api::Vitals;
use fieldmesh_http::{Measured, Validity};
use fieldmesh_model::TenantId;

use crate::acme::Counted;
use crate::fleet::{Figures, Noticed};
use crate::relay::ANSWERS;

/// Media type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is measured of the whole relay.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Measures {
    /// How long it has been running.
    pub(crate) uptime: Duration,
    /// Homes that could not be opened.
    pub(crate) broken: usize,
    /// Tenants that are served.
    pub(crate) served: usize,
    /// Those of them whose stores are open.
    pub(crate) open: usize,
    /// Tenant by tenant.
    pub(crate) tenants: Vec<TenantMeasures>,
}

/// What is measured of one tenant.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TenantMeasures {
    /// The last digits of its id.
    pub(crate) tenant: String,
    /// The size of its home on disk.
    pub(crate) stored_bytes: u64,
    /// How large it may be, where that is limited.
    pub(crate) stored_bytes_max: Option<u64>,
    /// The counts of its nodes; nothing while nobody has looked.
    pub(crate) vitals: Option<Vitals>,
    /// Whether it takes what comes.
    pub(crate) is_up: bool,
    /// What of it is known to be damaged; nothing while nobody has looked.
    pub(crate) damaged: Option<u64>,
    /// How operations of its apps were answered, in the order of [`ANSWERS`].
    pub(crate) answers: [u64; ANSWERS.len()],
    /// Refresh tokens that came again, or from another device.
    pub(crate) tokens_reused: u64,
    /// What was noticed of its apps.
    pub(crate) noticed: Noticed,
    /// Its devices.
    pub(crate) fleet: Figures,
}

/// One measure of every tenant.
struct PerTenant {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// Nothing where it is not known.
    value: fn(&TenantMeasures) -> Option<u64>,
}

const PER_TENANT: [PerTenant; 16] = [
    PerTenant {
        name: "connections",
        kind: "gauge",
        help: "Devices and relays connected.",
        value: |tenant| tenant.vitals.as_ref().map(|vitals| vitals.connections),
    },
    PerTenant {
        name: "connections_over_tcp",
        kind: "gauge",
        help: "Those of them whose network lets no UDP through.",
        value: |tenant| tenant.vitals.as_ref().map(|vitals| vitals.connections_over_tcp),
    },
    PerTenant {
        name: "batches_stored",
        kind: "gauge",
        help: "Batches in the store.",
        value: |tenant| tenant.vitals.as_ref().map(|vitals| vitals.batches),
    },
    PerTenant {
        name: "stored_bytes",
        kind: "gauge",
        help: "Bytes of the tenant's files on disk.",
        value: |tenant| Some(tenant.stored_bytes),
    },
    PerTenant {
        name: "stored_bytes_max",
        kind: "gauge",
        help: "How many they may be, where that is limited.",
        value: |tenant| tenant.stored_bytes_max,
    },
    PerTenant {
        name: "quota_refusals_total",
        kind: "counter",
        help: "How often something was not taken because the tenant may take no more.",
        value: |tenant| tenant.vitals.as_ref().map(|vitals| vitals.quota_refusals),
    },
    PerTenant {
        name: "received_bytes_total",
        kind: "counter",
        help: "Bytes of conversations received.",
        value: |tenant| tenant.vitals.as_ref().map(|vitals| vitals.bytes_received),
    },
    PerTenant {
        name: "sent_bytes_total",
        kind: "counter",
        help: "Bytes of conversations sent.",
        value: |tenant| tenant.vitals.as_ref().map(|vitals| vitals.bytes_sent),
    },
    PerTenant {
        name: "append_failures_total",
        kind: "counter",
        help: "How often the store did not take what a peer sent.",
        value: |tenant| tenant.vitals.as_ref().map(|vitals| vitals.append_failures),
    },
    PerTenant {
        name: "refresh_tokens_reused_total",
        kind: "counter",
        help: "Refresh tokens used again, or by another device; each ended its session.",
        value: |tenant| Some(tenant.tokens_reused),
    },
    PerTenant {
        name: "devices_changed_hands_total",
        kind: "counter",
        help: "How often the device of an app came with another person than the last time.",
        value: |tenant| Some(tenant.noticed.changed_hands),
    },
    PerTenant {
        name: "many_new_devices_total",
        kind: "counter",
        help: "Devices of apps that one person brought beyond five in a day.",
        value: |tenant| Some(tenant.noticed.many_new),
    },
    PerTenant {
        name: "deletions_total",
        kind: "counter",
        help: "Deletions by apps that were stored.",
        value: |tenant| Some(tenant.noticed.deleted),
    },
    PerTenant {
        name: "forbidden_operations_total",
        kind: "counter",
        help: "Operations of apps that whoever sent them may not do.",
        value: |tenant| Some(tenant.noticed.forbidden),
    },
    PerTenant {
        name: "store_up",
        kind: "gauge",
        help: "Whether the store takes what comes.",
        value: |tenant| Some(u64::from(tenant.is_up)),
    },
    PerTenant {
        name: "damaged",
        kind: "gauge",
        help: "Entries of the store, and files of people, that are known to be damaged.",
        value: |tenant| tenant.damaged,
    },
];

/// The measures as text.
pub(crate) fn render(measures: &Measures) -> String {
    let mut text = String::new();
    head(&mut text, "build_info", "gauge", "The version that runs.");
    line(&mut text, "build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    head(&mut text, "uptime_seconds", "gauge", "How long the relay has been running.");
    line(&mut text, "uptime_seconds", &[], measures.uptime.as_secs());
    head(&mut text, "tenants", "gauge", "Tenants that are served.");
    line(&mut text, "tenants", &[], measures.served);
    head(&mut text, "tenants_open", "gauge", "Tenants whose stores are open at the moment.");
    line(&mut text, "tenants_open", &[], measures.open);
    head(&mut text, "tenants_broken", "gauge", "Tenants whose homes could not be opened.");
    line(&mut text, "tenants_broken", &[], measures.broken);
    for measure in &PER_TENANT {
        head(&mut text, measure.name, measure.kind, measure.help);
        for tenant in &measures.tenants {
            if let Some(value) = (measure.value)(tenant) {
                line(&mut text, measure.name, &[("tenant", &tenant.tenant)], value);
            }
        }
    }
    head(&mut text, "operations_total", "counter", "Operations of apps by how they were answered.");
    for tenant in &measures.tenants {
        for (count, answer) in tenant.answers.iter().zip(ANSWERS) {
            let labels = [("tenant", tenant.tenant.as_str()), ("answer", answer)];
            line(&mut text, "operations_total", &labels, count);
        }
    }
    fleet::render(&mut text, &measures.tenants);
    text
}

/// The label of what is counted for no tenant that is served.
const OTHER: &str = "other";

/// Counts by tenant as they are shown: each label once, however many ids it may stand for, and all
/// that is of nobody who is served together.
pub(crate) fn by_label(
    counts: &[(String, u64)],
    served: &BTreeSet<String>,
) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (tenant, count) in counts {
        let label = tenant.parse().ok().map(|id: TenantId| id.short());
        let label = label.filter(|label| served.contains(label));
        *sums.entry(label.unwrap_or_else(|| OTHER.to_owned())).or_default() += count;
    }
    sums
}

/// Adds what is measured of requests over HTTP; of failures by tenant what [`by_label`] gives.
pub(crate) fn render_http(
    text: &mut String,
    measured: &Measured,
    failures: &BTreeMap<String, u64>,
) {
    head(text, "http_responses_total", "counter", "Answers by the class of their status.");
    for (count, class) in measured.answered.iter().zip(["1xx", "2xx", "3xx", "4xx", "5xx"]) {
        line(text, "http_responses_total", &[("status", class)], count);
    }
    // A tenant at its quota has alerts of its own.
    line(text, "http_responses_total", &[("status", "507")], measured.full);
    let help = "Answers of 5xx but 507 to requests whose token was of the tenant.";
    head(text, "http_failures_total", "counter", help);
    for (tenant, count) in failures {
        line(text, "http_failures_total", &[("tenant", tenant)], count);
    }
    head(text, "http_rate_limited_total", "counter", "Requests of who sent more than he may.");
    line(text, "http_rate_limited_total", &[], measured.refused_by_rate);
    head(text, "http_defects_total", "counter", "Panics of handlers; each has a line in the log.");
    line(text, "http_defects_total", &[], measured.defects);
    head(text, "http_live_streams", "gauge", "Live streams that are open.");
    line(text, "http_live_streams", &[], measured.live);
}

/// Adds from when to when the certificate of the port is good; zeros where there is none so far.
pub(crate) fn render_certificate(text: &mut String, validity: Option<Validity>) {
    let Validity { begins, ends } = validity.unwrap_or(Validity { begins: 0, ends: 0 });
    let help = "When the certificate of the port for apps began to be good; 0 where there is none.";
    head(text, "certificate_begins_timestamp_seconds", "gauge", help);
    line(text, "certificate_begins_timestamp_seconds", &[], begins);
    let help = "When the certificate of the port for apps expires; 0 where there is none.";
    head(text, "certificate_expires_timestamp_seconds", "gauge", help);
    line(text, "certificate_expires_timestamp_seconds", &[], ends);
}

/// Adds what became of orders with the authority that issues the certificate.
pub(crate) fn render_acme(text: &mut String, counted: &Counted) {
    head(
        text,
        "certificate_orders_total",
        "counter",
        "Certificates ordered, by what became of it.",
    );
    for (result, count) in [("obtained", counted.obtained), ("failed", counted.failed)] {
        line(text, "certificate_orders_total", &[("result", result)], count);
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP sync_relay_{name} {help}");
    let _ = writeln!(text, "# TYPE sync_relay_{name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) {
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let labels =
        if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "sync_relay_{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_has_its_help_its_kind_and_a_line_a_tenant() {
        let vitals = Vitals {
            connections: 3,
            connections_over_tcp: 1,
            batches: 1_200,
            bytes_received: 70_000,
            bytes_sent: 5,
            append_failures: 2,
            quota_refusals: 4,
            is_quota_used_up: true,
            fault: None,
            damaged: 3,
        };
        let measures = Measures {
            uptime: Duration::from_millis(61_500),
            broken: 1,
            served: 2,
            open: 1,
            tenants: vec![
                TenantMeasures {
                    tenant: "a1a1a1a1".into(),
                    stored_bytes: 4_096,
                    stored_bytes_max: Some(8_192),
                    vitals: Some(vitals),
                    is_up: false,
                    damaged: Some(4),
                    answers: [7, 2, 0, 0],
                    tokens_reused: 6,
                    noticed: Noticed { changed_hands: 1, many_new: 2, deleted: 3, forbidden: 4 },
                    fleet: Figures::default(),
                },
                TenantMeasures {
                    tenant: "b2b2b2b2".into(),
                    is_up: true,
                    ..TenantMeasures::default()
                },
            ],
        };
        let text = render(&measures);
        for line in [
            "sync_relay_uptime_seconds 61",
            "sync_relay_tenants 2",
            "sync_relay_tenants_open 1",
            "sync_relay_tenants_broken 1",
            "# TYPE sync_relay_received_bytes_total counter",
            "sync_relay_connections{tenant=\"a1a1a1a1\"} 3",
            "sync_relay_connections_over_tcp{tenant=\"a1a1a1a1\"} 1",
            "sync_relay_batches_stored{tenant=\"a1a1a1a1\"} 1200",
            "sync_relay_stored_bytes{tenant=\"a1a1a1a1\"} 4096",
            "sync_relay_stored_bytes_max{tenant=\"a1a1a1a1\"} 8192",
            "sync_relay_quota_refusals_total{tenant=\"a1a1a1a1\"} 4",
            "sync_relay_refresh_tokens_reused_total{tenant=\"a1a1a1a1\"} 6",
            "sync_relay_devices_changed_hands_total{tenant=\"a1a1a1a1\"} 1",
            "sync_relay_many_new_devices_total{tenant=\"a1a1a1a1\"} 2",
            "sync_relay_deletions_total{tenant=\"a1a1a1a1\"} 3",
            "sync_relay_forbidden_operations_total{tenant=\"a1a1a1a1\"} 4",
            "sync_relay_received_bytes_total{tenant=\"a1a1a1a1\"} 70000",
            "sync_relay_append_failures_total{tenant=\"a1a1a1a1\"} 2",
            "sync_relay_operations_total{tenant=\"a1a1a1a1\",answer=\"stored\"} 7",
            "sync_relay_operations_total{tenant=\"b2b2b2b2\",answer=\"conflict\"} 0",
            "sync_relay_store_up{tenant=\"a1a1a1a1\"} 0",
            "sync_relay_store_up{tenant=\"b2b2b2b2\"} 1",
            "sync_relay_damaged{tenant=\"a1a1a1a1\"} 4",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
        assert!(text.contains("sync_relay_build_info{version=\""));
        assert!(!text.contains("sync_relay_batches_stored{tenant=\"b2b2b2b2\"}"));
        let helps = text.lines().filter(|line| line.starts_with("# HELP")).count();
        assert_eq!(helps, 6 + PER_TENANT.len() + fleet::COUNT);
    }

    #[test]
    fn each_tenant_that_is_served_has_one_line_and_all_others_share_one() {
        let ends_alike = |front: u8| {
            let mut id = [7; 32];
            id[0] = front;
            TenantId::from_bytes(id)
        };
        let (one, two) = (ends_alike(1), ends_alike(2));
        assert_eq!(one.short(), two.short());
        let removed = TenantId::from_bytes([9; 32]).to_string();
        let counts = [
            (one.to_string(), 3),
            (two.to_string(), 4),
            (removed, 5),
            ("odd".into(), 6),
            (String::new(), 7),
        ];
        let failures = by_label(&counts, &[one.short()].into());
        let mut text = String::new();
        render_http(&mut text, &Measured::default(), &failures);
        let lines = text.lines().filter(|line| line.starts_with("sync_relay_http_failures_total"));
        let expected = [
            format!("sync_relay_http_failures_total{{tenant=\"{}\"}} 7", one.short()),
            "sync_relay_http_failures_total{tenant=\"other\"} 18".into(),
        ];
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }

    /// Every measure, by what it is.
    fn kinds() -> BTreeMap<String, String> {
        let mut text = render(&Measures::default());
        render_http(&mut text, &Measured::default(), &BTreeMap::new());
        render_certificate(&mut text, None);
        render_acme(&mut text, &Counted::default());
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        kinds.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
    }

    /// The measures that a text names.
    fn named(text: &str) -> BTreeSet<&str> {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let words = text.split(|letter| !is_name(letter));
        words.filter(|word| word.starts_with("sync_relay_")).collect()
    }

    #[test]
    fn every_alert_asks_for_what_is_measured() {
        let (kinds, asked) = (kinds(), named(include_str!("../packaging/alerts.yaml")));
        assert!(asked.len() > 5, "{asked:?}");
        for name in asked {
            assert!(kinds.contains_key(name), "nothing measures {name}");
        }
    }

    #[test]
    fn the_dashboard_shows_everything_that_is_measured_and_nothing_else() {
        let dashboard = include_str!("../packaging/dashboard.json");
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        let asked: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
        let (kinds, asked) = (kinds(), asked.join("\n"));
        let mut shown = BTreeSet::new();
        for name in named(&asked) {
            let of_histogram = name.strip_suffix("_bucket").filter(|_| !kinds.contains_key(name));
            let kind = kinds.get(of_histogram.unwrap_or(name));
            let kind = kind.unwrap_or_else(|| panic!("nothing measures {name}"));
            assert_eq!(kind == "histogram", of_histogram.is_some(), "{name} is a {kind}");
            shown.insert(of_histogram.unwrap_or(name).to_owned());
        }
        // The alert says when it is due, by how long the certificate is good in all.
        shown.insert("sync_relay_certificate_begins_timestamp_seconds".into());
        let all: BTreeSet<String> = kinds.into_keys().collect();
        assert_eq!(all.difference(&shown).collect::<Vec<_>>(), [] as [&String; 0], "not shown");
    }
}

//! `run --check-config`: what is set, and whether it can be used.

use fieldmesh_net::TcpPort;
use serde::Serialize;

use super::Context;
use crate::exit::Failure;
use crate::operations;
use crate::relay::{Quotas, Room};
use crate::settings::{HttpSettings, TlsSettings};

/// What a relay would start with.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    data: String,
    quic: String,
    tcp: String,
    tcp_warning: Option<String>,
    http: String,
    operations: Option<String>,
    secure: bool,
    certificate: Option<String>,
    certificate_warning: Option<String>,
    warnings: Vec<String>,
    domain: Option<String>,
    public_addresses: Vec<String>,
    open_tenants_max: usize,
    /// How many of them the system has room for, as the check is run.
    open_tenants_fitting: usize,
    /// What there is too little of for all of them.
    open_tenants_few: Option<&'static str>,
    tenants: Vec<String>,
    quotas: Vec<String>,
    log: String,
}

/// Reads everything that a start reads before it opens ports and stores.
pub(super) fn check(context: &Context<'_>) -> Result<(), Failure> {
    let settings = context.settings;
    let http = &settings.http;
    operations::check_tls(http)?;
    let plan = settings.tcp_plan()?;
    let room = Room::of_system();
    let checked = Checked {
        data: settings.data.display().to_string(),
        quic: settings.quic.to_string(),
        tcp: match plan.port {
            TcpPort::Off => "off".into(),
            TcpPort::Beside => settings.quic.to_string(),
            TcpPort::At(address) => address.to_string(),
        },
        tcp_warning: plan.warning,
        http: http.address.to_string(),
        operations: http.operations.map(|address| address.to_string()),
        secure: http.tls.is_some(),
        certificate: http.tls.as_ref().map(certificate),
        certificate_warning: certificate_warning(http),
        warnings: settings.warnings(),
        domain: http.shell.domain.clone(),
        public_addresses: settings.public_addresses.clone(),
        open_tenants_max: settings.open_tenants_max,
        open_tenants_fitting: settings.open_tenants_max.min(room.tenants()),
        open_tenants_few: room.few_for(settings.open_tenants_max),
        tenants: http.tenants.keys().cloned().collect(),
        quotas: quotas(&settings.quotas),
        log: context.lines.shown()?,
    };
    context.terminal.value(&checked, words)
}

/// What tenants may take of the disk.
fn quotas(quotas: &Quotas) -> Vec<String> {
    let said = quotas.said().map(|(name, grant)| format!("{name} {grant}"));
    std::iter::once(quotas.others().to_string()).chain(said).collect()
}

/// Where the certificate is from.
fn certificate(tls: &TlsSettings) -> String {
    match tls {
        TlsSettings::Files { certificate, .. } => certificate.display().to_string(),
        TlsSettings::Acme(acme) => {
            let domains: Vec<&str> = acme.domains.iter().map(String::as_str).collect();
            format!("obtained from {} for {}", acme.directory, domains.join(", "))
        }
    }
}

/// What the operator could not see while there is no certificate.
fn certificate_warning(http: &HttpSettings) -> Option<String> {
    let is_obtained = matches!(http.tls, Some(TlsSettings::Acme(_)));
    (is_obtained && http.operations.is_none()).then(|| {
        "until there is a certificate nobody can ask /readyz and /metrics; set operations".into()
    })
}

/// How many tenants a run from here keeps open.
fn open_at_a_time(checked: &Checked) -> String {
    let (set, fitting) = (checked.open_tenants_max, checked.open_tenants_fitting);
    match checked.open_tenants_few {
        None => set.to_string(),
        Some(few) => format!("{fitting} of the {set} that are set: few {few} are allowed here"),
    }
}

fn words(checked: &Checked) -> String {
    let or = |text: Option<&str>, other: &str| text.unwrap_or(other).to_owned();
    let listed = |list: &[String], none: &str| match list {
        [] => none.to_owned(),
        list => list.join(", "),
    };
    let lines = [
        ("data", checked.data.clone()),
        ("quic", checked.quic.clone()),
        ("tcp", checked.tcp.clone()),
        ("http", format!("{}{}", checked.http, if checked.secure { ", TLS" } else { "" })),
        ("certificate", or(checked.certificate.as_deref(), "none")),
        ("operations", or(checked.operations.as_deref(), "on the port for HTTP, from here")),
        ("domain", or(checked.domain.as_deref(), "none")),
        ("public", listed(&checked.public_addresses, "this machine's own addresses")),
        ("tenants", listed(&checked.tenants, "nothing said of any")),
        ("quota of each", checked.quotas.join(", ")),
        ("open at a time", open_at_a_time(checked)),
        ("log", checked.log.clone()),
    ];
    let mut text = "The configuration can be used.\n".to_owned();
    for (name, value) in lines {
        text.push_str(&format!("  {name:<15}{value}\n"));
    }
    let of_ports = checked.tcp_warning.iter().chain(&checked.certificate_warning);
    for warning in of_ports.chain(&checked.warnings) {
        text.push_str(&format!("Attention: {warning}.\n"));
    }
    text
}

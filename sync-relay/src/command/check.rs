//! `run --check-config`: what is set, and whether it can be used.

use fieldmesh_net::TcpPort;
use serde::Serialize;

use super::Context;
use crate::exit::Failure;
use crate::operations;

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
    domain: Option<String>,
    public_addresses: Vec<String>,
    open_tenants_max: usize,
    tenants: Vec<String>,
    log: String,
}

/// Reads everything that a start reads before it opens ports and stores.
pub(super) fn check(context: &Context<'_>) -> Result<(), Failure> {
    let settings = context.settings;
    let http = &settings.http;
    operations::certificates(http)?;
    let plan = settings.tcp_plan()?;
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
        domain: http.shell.domain.clone(),
        public_addresses: settings.public_addresses.clone(),
        open_tenants_max: settings.open_tenants_max,
        tenants: http.tenants.keys().cloned().collect(),
        log: context.lines.shown()?,
    };
    context.terminal.value(&checked, words)
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
        ("operations", or(checked.operations.as_deref(), "on the port for HTTP, from here")),
        ("domain", or(checked.domain.as_deref(), "none")),
        ("public", listed(&checked.public_addresses, "this machine's own addresses")),
        ("tenants", listed(&checked.tenants, "nothing said of any")),
        ("open at a time", checked.open_tenants_max.to_string()),
        ("log", checked.log.clone()),
    ];
    let mut text = "The configuration can be used.\n".to_owned();
    for (name, value) in lines {
        text.push_str(&format!("  {name:<15}{value}\n"));
    }
    if let Some(warning) = &checked.tcp_warning {
        text.push_str(&format!("Attention: {warning}.\n"));
    }
    text
}

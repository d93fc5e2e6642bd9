//! What can be typed about the port for HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::acme::AcmeArgs;

/// How apps and operators reach a relay over HTTP.
#[derive(Debug, Default, Args)]
pub(crate) struct HttpArgs {
    /// The TCP address for apps, /healthz and /readyz [default: 127.0.0.1:7880].
    #[arg(long, env = "SYNC_RELAY_HTTP", value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// A TCP address of its own for /metrics and the reasons of /healthz [default: that of --http,
    /// for requests from this machine].
    #[arg(long, env = "SYNC_RELAY_OPERATIONS", value_name = "ADDR")]
    pub(crate) operations: Option<SocketAddr>,
    /// A name by which the operator asks on that port, besides those of the relay; may be given
    /// again.
    #[arg(
        long = "operations-name",
        env = "SYNC_RELAY_OPERATIONS_NAMES",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(crate) operations_names: Vec<String>,
    /// The domain below which each tenant is reached by its slug.
    #[arg(long, env = "SYNC_RELAY_DOMAIN", value_name = "NAME")]
    pub(crate) domain: Option<String>,
    /// A file with the certificates of the port, in PEM; needs --tls-key.
    #[arg(long, env = "SYNC_RELAY_TLS_CERTIFICATE", value_name = "FILE")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// A file with the key of the first certificate, in PEM.
    #[arg(long, env = "SYNC_RELAY_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) acme: AcmeArgs,
    /// An address or network whose X-Forwarded-For is believed; may be given again.
    #[arg(
        long = "trusted-proxy",
        env = "SYNC_RELAY_TRUSTED_PROXIES",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    pub(crate) trusted_proxies: Vec<String>,
    /// An origin whose pages may send requests [default: all]; may be given again.
    #[arg(
        long = "allowed-origin",
        env = "SYNC_RELAY_ALLOWED_ORIGINS",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub(crate) allowed_origins: Vec<String>,
    /// How many requests an address may send in a second [default: 10].
    #[arg(long, env = "SYNC_RELAY_ADDRESS_REQUESTS_A_SECOND", value_name = "COUNT")]
    pub(crate) address_requests_a_second: Option<u32>,
    /// How often a user may sync in a minute [default: 30].
    #[arg(long, env = "SYNC_RELAY_SYNC_REQUESTS_A_MINUTE", value_name = "COUNT")]
    pub(crate) sync_requests_a_minute: Option<u32>,
    /// How many single operations a user may send in a minute [default: 600].
    #[arg(long, env = "SYNC_RELAY_STEP_REQUESTS_A_MINUTE", value_name = "COUNT")]
    pub(crate) step_requests_a_minute: Option<u32>,
    /// How many requests all users of a tenant may send in a second [default: 500].
    #[arg(long, env = "SYNC_RELAY_TENANT_REQUESTS_A_SECOND", value_name = "COUNT")]
    pub(crate) tenant_requests_a_second: Option<u32>,
}

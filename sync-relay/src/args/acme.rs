//! What can be typed about the authority that issues the certificate of the port for HTTP.

use std::path::PathBuf;

use clap::Args;

/// How a relay obtains a certificate by itself.
#[derive(Debug, Default, Args)]
pub(crate) struct AcmeArgs {
    /// A name for which to obtain a certificate by ACME; may be given again. Needs
    /// --acme-directory.
    #[arg(
        long = "acme-domain",
        env = "SYNC_RELAY_ACME_DOMAINS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(crate) acme_domains: Vec<String>,
    /// The directory of the authority, as https://…; none is asked unless it is named here.
    #[arg(long, env = "SYNC_RELAY_ACME_DIRECTORY", value_name = "URL")]
    pub(crate) acme_directory: Option<String>,
    /// The mail address to which the authority may write.
    #[arg(long, env = "SYNC_RELAY_ACME_CONTACT", value_name = "MAIL")]
    pub(crate) acme_contact: Option<String>,
    /// That the authority's terms of service were read and are agreed to.
    #[arg(
        long,
        env = "SYNC_RELAY_ACME_TERMS_AGREED",
        value_name = "true|false",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub(crate) acme_terms_agreed: Option<bool>,
    /// A file with the authorities that the directory's own certificate is checked by, in PEM
    /// [default: those of the system].
    #[arg(long, env = "SYNC_RELAY_ACME_ROOTS", value_name = "FILE")]
    pub(crate) acme_roots: Option<PathBuf>,
}

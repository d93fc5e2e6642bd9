//! Arguments of `claim`.

use std::time::Duration;

use clap::Args;

use super::duration;

/// `claim …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sync-relay claim                                    one line, for the crew's lead
  sync-relay claim --gateway                          the crew's people log in to apps here
  sync-relay claim --valid 2h
  sync-relay claim --list
  sync-relay claim --revoke 5f0c21a97b3e44d1

On the device that made the tenant: fieldmesh relay add CLAIM. It dials this relay, so only this
relay needs an open port; both prove who they are, and the relay serves the tenant at once.

A claim is good for one tenant. It is a secret until it is used: whoever has it may have this relay
store a tenant. This relay keeps only a hash of it. The relay has to run.

With --gateway the relay reads every record of the tenant and writes for the people whom `sync-relay
user add` lets log in; the lead is asked about that. It is decided when the relay is taken in: one
that stores and forwards for a tenant is not made its gateway later.")]
pub(crate) struct ClaimArgs {
    /// How long the claim is good for, like `90m`, `24h` or `7d`.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = duration::parse)]
    pub(crate) valid: Duration,
    /// Ask to be the tenant's gateway, at which its people log in to apps.
    #[arg(long, conflicts_with_all = ["list", "revoke"])]
    pub(crate) gateway: bool,
    /// List the claims: what became of each, and until when it is good.
    #[arg(long, conflicts_with_all = ["valid", "revoke"])]
    pub(crate) list: bool,
    /// Forget a claim; a tenant that was joined by it stays.
    #[arg(long, value_name = "ID", conflicts_with = "valid")]
    pub(crate) revoke: Option<String>,
}

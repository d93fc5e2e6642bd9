//! Arguments of `sync` and `run`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::times;

/// `sync …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh sync
  fieldmesh sync --with truck-7
  fieldmesh sync --with 192.168.1.20:7843 --timeout 60

It listens meanwhile, so two devices that both say `sync` find each other. It exits 5 when nobody
was reached, or when one of those named with --with was not.")]
pub(crate) struct SyncArgs {
    /// Only with this address, device name or device id; may be repeated.
    #[arg(long, value_name = "ADDR|DEVICE")]
    pub(crate) with: Vec<String>,
    /// How long to try in all, in seconds.
    #[arg(long, default_value = "30", value_name = "S", value_parser = times::seconds)]
    pub(crate) timeout: Duration,
    /// Do not look for nearby devices by mDNS.
    #[arg(long)]
    pub(crate) no_mdns: bool,
}

/// `run …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh run
  fieldmesh run --listen 0.0.0.0:7843 --relay relay.example.com:7843

One line on standard output says that it is ready. Stop it with Ctrl-C or `fieldmesh stop`; until
then the other commands on this home talk to it.")]
pub(crate) struct RunArgs {
    /// The address to listen on [default: the one used last, or any free port].
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// The address of a relay to stay connected to; may be repeated.
    #[arg(long, value_name = "ADDR")]
    pub(crate) relay: Vec<String>,
    /// Do not look for nearby devices by mDNS.
    #[arg(long)]
    pub(crate) no_mdns: bool,
}

//! Arguments of `demo`.

use clap::Args;

/// `demo …`
#[derive(Debug, Args)]
#[command(after_help = "\
A relay and three devices run as processes with homes in a temporary folder: they enrol, record
while apart, disagree about an entry, meet, lose power, and come home. Then every entry that was
acknowledged is looked for on every device. It takes less than a minute, needs no network and no
rights, and asks nothing. It exits 1 if anything is missing; homes and logs then stay.")]
pub(crate) struct DemoArgs {
    /// Keep the homes, and print commands to try on them.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Do without mDNS; a device is told the address of another instead.
    #[arg(long)]
    pub(crate) no_mdns: bool,
}

//! Arguments of `evict`.

use clap::Args;

/// `evict …`
#[derive(Debug, Args)]
#[command(after_help = "\
Only whole months go, and only what a relay has signed for: what is not safe, in conflict, refused
or damaged stays here, with its month and all later ones. Wells, whatever else has no time of its
own, and the crew's own collections stay too. The relay and other devices keep everything.

Examples:
  fieldmesh evict                          what this device holds
  fieldmesh evict --keep-months 3 --dry-run
  fieldmesh evict --before 2026-03         lets go what is older than March
  fieldmesh evict --auto 4                 from here on by itself: this month and the three
                                           before it stay, whatever is safe of older ones goes
  fieldmesh evict --auto off
  fieldmesh evict --back-to 2026-01        the next sync brings back what the relay still holds")]
pub(crate) struct EvictArgs {
    /// Let go what is older than this month, or than the month of this date.
    #[arg(long, value_name = "MONTH", group = "what")]
    pub(crate) before: Option<String>,
    /// Let go all but the last so many months, this one among them.
    #[arg(long, value_name = "N", group = "what")]
    pub(crate) keep_months: Option<u16>,
    /// Do the same once a day while the daemon runs, or `off`.
    #[arg(long, value_name = "N", group = "what", value_parser = auto)]
    pub(crate) auto: Option<Auto>,
    /// Want what was let go from this month on once more.
    #[arg(long, value_name = "MONTH", group = "what")]
    pub(crate) back_to: Option<String>,
    /// Only say what would go.
    #[arg(long, requires = "what")]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(long, requires = "what")]
    pub(crate) yes: bool,
}

/// How many months a device keeps by itself; `None` for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Auto(pub(crate) Option<u16>);

fn auto(text: &str) -> Result<Auto, String> {
    match text {
        "off" => Ok(Auto(None)),
        _ => match text.parse() {
            Ok(months) if months > 0 => Ok(Auto(Some(months))),
            _ => Err("give a number of months, or `off`".into()),
        },
    }
}

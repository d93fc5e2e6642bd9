//! What can be asked about a fleet.

use std::time::Duration;

use clap::Args;

use super::duration;

/// `fleet …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sync-relay fleet --tenant permian-west                    everybody
  sync-relay fleet --tenant permian-west --silent 72h       who was not heard for so long
  sync-relay fleet --tenant permian-west --failing --json   of whose attempts many fail

What the relay cannot know is shown as a dash, and is null in JSON.")]
pub(crate) struct FleetArgs {
    /// The tenant: its slug, its name, its id or the end of that.
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: String,
    /// Only devices that were heard, and not for so long, like `72h` or `7d`.
    #[arg(long, value_name = "TIME", value_parser = whole_hours)]
    pub(crate) silent: Option<u32>,
    /// Only devices of whose attempts of today and yesterday more than a tenth failed, of ten or
    /// more.
    #[arg(long)]
    pub(crate) failing: bool,
    /// Only devices of which operations wait to be processed.
    #[arg(long)]
    pub(crate) backlog: bool,
}

fn whole_hours(text: &str) -> Result<u32, String> {
    const HOUR: Duration = Duration::from_secs(3_600);
    let duration = duration::parse(text)?;
    let hours = duration.as_secs() / HOUR.as_secs();
    match u32::try_from(hours) {
        Ok(hours) if HOUR * hours == duration && hours > 0 => Ok(hours),
        _ => Err(format!("{text:?} is no number of whole hours; write it like 72h or 7d")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_given_in_whole_hours() {
        assert_eq!((whole_hours("72h"), whole_hours("7d")), (Ok(72), Ok(168)));
        for text in ["90m", "0h", "72", "soon"] {
            assert!(whole_hours(text).is_err(), "{text}");
        }
    }
}

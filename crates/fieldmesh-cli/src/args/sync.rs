//! Arguments of `sync` and `run`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use fieldmesh::api::{LinkClass, SyncSettingsChange};

use super::{LoopbackArgs, times};

/// `sync …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh sync
  fieldmesh sync --with truck-7
  fieldmesh sync --with 192.168.1.20:7843 --timeout 60
  fieldmesh sync --only well --only field_entry@2026-03

It listens meanwhile, so two devices that both say `sync` find each other. It exits 5 when nobody
was reached, or when one of those named with --with was not.

The options under \"By itself\" set what the daemon does; they stay set, and nothing is synced now:
  fieldmesh sync --pause
  fieldmesh sync --link 10.0.0.7=metered")]
pub(crate) struct SyncArgs {
    /// Only with this address, device name or device id; may be repeated.
    #[arg(long, value_name = "ADDR|DEVICE")]
    pub(crate) with: Vec<String>,
    /// Exchange only this collection, partition of it, or what is from this month on; may be
    /// repeated. `*` stands for every collection.
    #[arg(long, value_name = "COLLECTION[/PARTITION][@YYYY-MM]")]
    pub(crate) only: Vec<String>,
    /// How long to try in all, in seconds.
    #[arg(long, default_value = "30", value_name = "S", value_parser = times::seconds)]
    pub(crate) timeout: Duration,
    /// Do not look for nearby devices by mDNS.
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// With the daemon's relays and peers, unless a sync is under way, no relay answers or nothing
    /// is to be done; the answer says which.
    #[arg(long, conflicts_with_all = [
        "with", "only", "no_mdns", "timeout", "pause", "resume", "auto", "on_reconnect", "link",
    ])]
    pub(crate) now: bool,
    /// Put off everything that would start by itself, and end connections.
    #[arg(long, conflicts_with = "resume", help_heading = BY_ITSELF)]
    pub(crate) pause: bool,
    /// Take `--pause` back.
    #[arg(long, help_heading = BY_ITSELF)]
    pub(crate) resume: bool,
    /// Whether anything starts by itself.
    #[arg(long, value_name = "on|off", value_parser = switch, help_heading = BY_ITSELF)]
    pub(crate) auto: Option<bool>,
    /// Whether a sync starts when the relay answers again.
    #[arg(long, value_name = "on|off", value_parser = switch, help_heading = BY_ITSELF)]
    pub(crate) on_reconnect: Option<bool>,
    /// What the way to a place costs: unmetered, metered, satellite or nearby. A place is an
    /// address, a host, or the address of an interface of this device. By itself a metered way
    /// carries what is recorded for this month and the last, satellite only what is critical and
    /// who may do what; a sync that is asked for holds nothing back on this side.
    #[arg(long, value_name = "PLACE=CLASS", value_parser = link, help_heading = BY_ITSELF)]
    pub(crate) link: Vec<(String, LinkClass)>,
}

const BY_ITSELF: &str = "By itself";

impl SyncArgs {
    /// What is to be set, if anything is.
    pub(crate) fn change(&self) -> Option<SyncSettingsChange> {
        let change = SyncSettingsChange {
            auto_sync_enabled: self.auto,
            sync_on_reconnect: self.on_reconnect,
            paused: (self.pause || self.resume).then_some(self.pause),
            classes: self.link.iter().cloned().collect(),
        };
        (change != SyncSettingsChange::default()).then_some(change)
    }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write on or off".into()),
    }
}

fn link(text: &str) -> Result<(String, LinkClass), String> {
    let (place, class) = text.rsplit_once('=').ok_or("write PLACE=CLASS")?;
    let class = match class {
        "unmetered" => LinkClass::Unmetered,
        "metered" => LinkClass::Metered,
        "satellite" => LinkClass::Satellite,
        "nearby" => LinkClass::Nearby,
        _ => return Err("the class is unmetered, metered, satellite or nearby".into()),
    };
    if place.is_empty() {
        return Err("the place is missing".into());
    }
    Ok((place.into(), class))
}

/// `run …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh run
  fieldmesh run --listen 0.0.0.0:7843 --relay relay.example.com:7843
  fieldmesh run --http 127.0.0.1:7000 --http-origin http://localhost:5173
  fieldmesh run --http 127.0.0.1:7000 --http-apps
  fieldmesh run --http off

Apps on this device ask over HTTP; loopback.json in the home, which only you can read, has the
address and the token, and /v1/openapi.json there says what may be asked. One line on standard
output says that it is ready. Stop it with Ctrl-C or `fieldmesh stop`; until then the other commands
on this home talk to it.")]
pub(crate) struct RunArgs {
    /// The address to listen on [default: the one used last, or any free port].
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// The address of a relay to stay connected to; may be repeated.
    #[arg(long, value_name = "ADDR")]
    pub(crate) relay: Vec<String>,
    /// Exchange only this collection, partition of it, or what is from this month on; may be
    /// repeated. `*` stands for every collection.
    #[arg(long, value_name = "COLLECTION[/PARTITION][@YYYY-MM]")]
    pub(crate) only: Vec<String>,
    /// Do not look for nearby devices by mDNS.
    #[arg(long)]
    pub(crate) no_mdns: bool,
    #[command(flatten)]
    pub(crate) loopback: LoopbackArgs,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn change(line: &str) -> Option<SyncSettingsChange> {
        let Command::Sync(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("{line} is no sync")
        };
        args.change()
    }

    #[test]
    fn only_what_is_named_is_set() {
        assert_eq!(change("fieldmesh sync --with truck-7"), None);
        let paused = |paused| SyncSettingsChange { paused, ..SyncSettingsChange::default() };
        assert_eq!(change("fieldmesh sync --pause"), Some(paused(Some(true))));
        assert_eq!(change("fieldmesh sync --resume"), Some(paused(Some(false))));
        let set = change("fieldmesh sync --auto off --on-reconnect on --link [fd00::7]:1=metered");
        let expected = SyncSettingsChange {
            auto_sync_enabled: Some(false),
            sync_on_reconnect: Some(true),
            paused: None,
            classes: [("[fd00::7]:1".to_owned(), LinkClass::Metered)].into(),
        };
        assert_eq!(set, Some(expected));
    }

    #[test]
    fn a_class_that_nobody_knows_is_refused() {
        for text in ["10.0.0.7", "10.0.0.7=cheap", "=metered"] {
            assert!(link(text).is_err(), "{text}");
        }
        assert!(Cli::try_parse_from(["fieldmesh", "sync", "--pause", "--resume"]).is_err());
    }
}

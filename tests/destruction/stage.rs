//! Where a fault is tried: homes that key files open, copies of them, and the watched disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::device::{Device, minute_of_march};
use crate::relay::Relay;
use crate::site::Site;

/// The shim that stands between a program and its disk.
const SHIM: &str = include_str!("shim.c");
/// The file of a store that only takes room.
const RESERVE: &str = "reserve";
/// The file of a home with the port where it listened last.
const PORT: &str = "port";
/// The well that all entries are about.
pub(crate) const WELL: &str = "Alder 1";

/// A place with homes in it.
pub(crate) struct Stage {
    site: Site,
    shim: Option<PathBuf>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let site = Site::new();
        fs::create_dir(site.path("world")).unwrap();
        let shim = built(&site);
        Self { site, shim }
    }

    /// Whether there is a compiler to build the watched disk with.
    pub(crate) fn has_shim(&self) -> bool {
        self.shim.is_some()
    }

    /// A path beside the homes.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.site.path(name)
    }

    /// Writes a file beside the homes and gives its path.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        self.site.file(name, contents)
    }

    /// The folder with the homes and the keys to them, and nothing else.
    pub(crate) fn world(&self) -> PathBuf {
        self.site.path("world")
    }

    /// A device in the world.
    pub(crate) fn device(&self, name: &str) -> Device {
        self.device_in(&self.world(), name)
    }

    /// A device in a copy of the world.
    pub(crate) fn device_in(&self, world: &Path, name: &str) -> Device {
        let keys = world.join("config");
        let device = self.site.device(name).at_home(world.join(name));
        listen_elsewhere(&device.home);
        device.with(move |mut command| {
            command.env_remove("FIELDMESH_PASSPHRASE").env("XDG_CONFIG_HOME", &keys);
            command.env("FIELDMESH_LOG", "warn");
            command
        })
    }

    /// A device that has founded a tenant with the well.
    pub(crate) fn founder(&self) -> Device {
        let lead = self.device("lead");
        lead.found("Gulf Crew");
        lead.well(WELL);
        lead
    }

    /// A device that founds a tenant, another that joins it, and `count` entries that both have.
    pub(crate) fn crew(&self, count: usize) -> [Device; 2] {
        let [lead, hand] = ["lead", "hand"].map(|name| self.device(name));
        lead.found("Gulf Crew");
        let daemon = lead.daemon();
        hand.join(&lead.invite("manager"));
        lead.well(WELL);
        let half = count / 2;
        lead.ok(&["record", "field_entry", "--from", &self.file("old", rows(0..half))]);
        hand.sync(&daemon.address());
        hand.ok(&["record", "field_entry", "--from", &self.file("old", rows(half..count))]);
        hand.sync(&daemon.address());
        daemon.stop();
        [lead, hand]
    }

    /// Copies the home of a device into a folder of its own. The copy listens elsewhere: peers in
    /// another try remember the port of the original, and would take the copy for it.
    pub(crate) fn copy(&self, device: &Device, folder: &Path) -> Device {
        let home = folder.join(&device.name);
        copy(&device.home, &home);
        listen_elsewhere(&home);
        device.at_home(home)
    }

    /// A relay in a folder beside the homes.
    pub(crate) fn relay(&self, name: &str) -> Relay {
        self.site.relay_named(name).with(|mut command| {
            command.env("SYNC_RELAY_LOG", "warn");
            command.envs(NO_LIMITS.map(|name| (name, "100000")));
            command
        })
    }

    /// The same relay on a disk that is watched, see [`Stage::watched`].
    pub(crate) fn watched_relay(&self, relay: &Relay, settings: &[(&str, String)]) -> Relay {
        let shim = self.shim.clone().expect("whoever watches has asked for the shim");
        let settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        relay.with(move |mut command| {
            command.env("LD_PRELOAD", &shim).envs(settings.iter().cloned());
            command
        })
    }

    /// The same device on a disk that is watched: `settings` are those of the shim.
    pub(crate) fn watched(&self, device: &Device, settings: &[(&str, String)]) -> Device {
        let shim = self.shim.clone().expect("whoever watches has asked for the shim");
        let settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        device.with(move |mut command| {
            command.env("LD_PRELOAD", &shim).envs(settings.iter().cloned());
            command
        })
    }
}

/// What a relay is told so that no limit of rate is in the way.
const NO_LIMITS: [&str; 4] = [
    "SYNC_RELAY_ADDRESS_REQUESTS_A_SECOND",
    "SYNC_RELAY_SYNC_REQUESTS_A_MINUTE",
    "SYNC_RELAY_STEP_REQUESTS_A_MINUTE",
    "SYNC_RELAY_TENANT_REQUESTS_A_SECOND",
];

/// Has a home take any port that is free when it listens next.
fn listen_elsewhere(home: &Path) {
    // Whoever has listened nowhere so far has none.
    if let Ok(port) = fs::read_to_string(home.join(PORT)) {
        fs::write(home.join(PORT), format!("{:0>1$}\n", "", port.trim().len())).unwrap();
    }
}

/// Builds the shim, where there is a compiler.
fn built(site: &Site) -> Option<PathBuf> {
    let (source, shim) = (site.file("shim.c", SHIM), site.path("shim.so"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim);
    compiler.args([&source, "-ldl", "-lpthread"]);
    compiler.status().is_ok_and(|status| status.success()).then_some(shim)
}

/// JSON lines of entries, one for each number, which is its oil volume.
pub(crate) fn rows(numbers: impl Iterator<Item = usize>) -> String {
    let row = |number: usize| {
        let row = serde_json::json!({
            "wellId": WELL, "entryType": "PRODUCTION", "recordedAt": minute_of_march(number),
            "data": {"oilVolume": number}, "notes": format!("gauge {number} was read twice"),
        });
        format!("{row}\n")
    };
    numbers.map(row).collect()
}

/// Copies a file or a folder; the reserve of a store becomes a hole of the same length.
pub(crate) fn copy(from: &Path, to: &Path) {
    let found = fs::symlink_metadata(from).unwrap();
    if found.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
        fs::set_permissions(to, found.permissions()).unwrap();
    } else if from.ends_with(RESERVE) {
        fs::File::create(to).unwrap().set_len(found.len()).unwrap();
    } else {
        fs::copy(from, to).unwrap();
    }
}

//! The place of one test: a folder with homes, and nothing shared with other tests.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::device::Device;
use crate::process::program;
use crate::relay::Relay;

/// A folder of one test, removed at its end.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("fm-").tempdir().unwrap();
        for name in ["run", "config", "data"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A device whose home is not made so far.
    pub(crate) fn device(&self, name: &str) -> Device {
        Device::new(name, self.path(name), self.command("fieldmesh"))
    }

    /// The first device founds a tenant, the others join it as managers.
    pub(crate) fn crew<const N: usize>(&self, names: [&str; N]) -> [Device; N] {
        let devices = names.map(|name| self.device(name));
        let [lead, others @ ..] = devices.as_slice() else { panic!("a crew needs a device") };
        lead.found("Gulf Crew");
        let daemon = lead.daemon();
        for other in others {
            other.join(&lead.invite("manager"));
        }
        daemon.stop();
        devices
    }

    /// A relay that serves no tenant so far.
    pub(crate) fn relay(&self) -> Relay {
        self.relay_named("relay")
    }

    /// One of several relays.
    pub(crate) fn relay_named(&self, name: &str) -> Relay {
        Relay::new(self.path(name), self.command("sync-relay"))
    }

    /// A program in surroundings of its own.
    fn command(&self, name: &str) -> impl Fn() -> Command + Clone + Send + Sync + 'static {
        let folder = self.folder.path().to_owned();
        let program = program(name);
        move || {
            let mut command = Command::new(&program);
            for name in ["FIELDMESH_HOME", "FIELDMESH_LOG", "SYNC_RELAY_DATA", "SYNC_RELAY_CONFIG"]
            {
                command.env_remove(name);
            }
            command
                .current_dir(&folder)
                .env("HOME", &folder)
                .env("XDG_RUNTIME_DIR", folder.join("run"))
                .env("XDG_CONFIG_HOME", folder.join("config"))
                .env("XDG_DATA_HOME", folder.join("data"))
                .env("FIELDMESH_PASSPHRASE", "a long walk to the well")
                .env("TZ", "UTC");
            command
        }
    }
}

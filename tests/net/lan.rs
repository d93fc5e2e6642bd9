//! Three hosts on one network inside this machine, where this user may make them.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::device::Device;
use crate::process::skipped;
use crate::relay::Relay;

/// The names of the hosts; their addresses are 10.77.0.1 and so on.
const HOSTS: [&str; 3] = ["a", "b", "c"];

/// Distinguishes the networks of one process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Network namespaces on a bridge; removed at the end, with whatever it did to them.
pub(crate) struct Lan {
    prefix: String,
    _alone: File,
}

impl Lan {
    /// Makes the network; says why where that is not possible. One exists at a time.
    pub(crate) fn make() -> Option<Self> {
        let alone = File::create(std::env::temp_dir().join("fieldmesh-lan.lock")).unwrap();
        alone.lock().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let lan = Self { prefix: format!("fm{}{number}", std::process::id()), _alone: alone };
        match lan.build() {
            Ok(()) => Some(lan),
            Err(reason) => {
                skipped(&format!("several hosts need root and `ip netns`: {reason}"));
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        let switch = self.namespace("sw");
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        for (index, host) in HOSTS.iter().enumerate() {
            let namespace = self.namespace(host);
            let (port, address) = (format!("p{host}"), format!("10.77.0.{}/24", index + 1));
            ip(&["netns", "add", &namespace])?;
            ip(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                "netns", &namespace,
            ])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
            ip(&["-n", &namespace, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
        }
        Ok(())
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// The device on a host.
    pub(crate) fn device(&self, host: &str, device: &Device) -> Device {
        device.with(self.mover(host))
    }

    /// The relay on a host.
    pub(crate) fn relay(&self, host: &str, relay: &Relay) -> Relay {
        relay.with(self.mover(host))
    }

    /// Turns a program into the same one on a host.
    fn mover(&self, host: &str) -> impl Fn(Command) -> Command + Send + Sync + 'static {
        let namespace = self.namespace(host);
        move |command| {
            let mut moved = Command::new("ip");
            moved.args(["netns", "exec", &namespace]).arg(command.get_program());
            moved.args(command.get_args());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => moved.env(name, value),
                    None => moved.env_remove(name),
                };
            }
            if let Some(folder) = command.get_current_dir() {
                moved.current_dir(folder);
            }
            moved
        }
    }

    /// Pulls the cable of a host out of the switch.
    pub(crate) fn unplug(&self, host: &str) {
        self.switch_port(host, "down");
    }

    /// Puts it back.
    pub(crate) fn plug(&self, host: &str) {
        self.switch_port(host, "up");
    }

    fn switch_port(&self, host: &str, state: &str) {
        let (switch, port) = (self.namespace("sw"), format!("p{host}"));
        ip(&["-n", &switch, "link", "set", &port, state]).unwrap();
    }

    /// Gives a host another address instead of the one it has.
    pub(crate) fn readdress(&self, host: &str, old: &str, new: &str) {
        let namespace = self.namespace(host);
        let (old, new) = (format!("{old}/24"), format!("{new}/24"));
        ip(&["-n", &namespace, "addr", "del", &old, "dev", "eth0"]).unwrap();
        ip(&["-n", &namespace, "addr", "add", &new, "dev", "eth0"]).unwrap();
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in HOSTS.iter().chain(&["sw"]) {
            // What was not made cannot be removed.
            let _ = ip(&["netns", "del", &self.namespace(host)]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
